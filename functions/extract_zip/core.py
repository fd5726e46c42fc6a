"""What an archive may be: limits, names that are labels, which members are documents."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from contracts.blobs import BlobRef
from contracts.events.files import FileRejected
from contracts.formats import Skip

MAX_ENTRIES = 10_000
"""Entries of an archive and of those within it."""
MAX_BYTES = 2 * 2**30
"""Bytes of an archive, and of all that is unpacked from it."""
MEMBER_BYTES = 512 * 2**20
MAX_RATIO = 100
"""Bytes unpacked for each packed one."""
RATIO_FROM = 2**20
"""Bytes that may be unpacked at any ratio: so much of a blank form harms nobody."""
MAX_LEVEL = 2
"""An archive may hold archives, and those may not."""
PATH_LETTERS = 1024

_SEPARATOR = re.compile(r"[/\\]")
_BOILERPLATE = frozenset(
    {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "$recycle.bin", "system volume information"}
)
# Control characters, separators of lines and paragraphs, marks that turn the direction of writing, lone surrogates.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class ArchiveError(Exception):
    """The archive as a whole is refused."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of an archive's directory, believed by nobody."""

    name: str
    """As it stands there: no path."""
    kind: Literal["file", "directory", "link", "device"]
    method: int
    """0: stored, 8: Deflate."""
    encrypted: bool
    crc: int
    packed: int
    """Bytes in the archive."""
    size: int
    """Bytes that it says to unpack to."""
    start: int
    """Where its bytes begin in the file; 0: nowhere."""
    fault: str | None
    """What is wrong with its headers."""


@dataclass(slots=True)
class Budget:
    """What an archive, and those within it, may still unpack; raises ArchiveError beyond."""

    packed: int
    """Bytes of the archive that was uploaded."""
    entries: int = 0
    bytes: int = 0

    def charge(self, members: Sequence[Entry]) -> None:
        """Count members before one of them is unpacked; none unpacks to more than it says."""
        for member in members:
            _check_ratio(member.size, member.packed)
        self.bytes += sum(member.size for member in members)
        _check_ratio(self.bytes, self.packed)
        if self.bytes > MAX_BYTES:
            text = f"The archive unpacks to {self.bytes} bytes; {MAX_BYTES} is the most. Split it."
            raise ArchiveError("archive_too_large", text)


def _check_ratio(size: int, packed: int) -> None:
    if size > RATIO_FROM and size > MAX_RATIO * packed:
        text = f"The archive unpacks {packed} bytes to {size}, more than {MAX_RATIO} for one, as no documents do."
        raise ArchiveError("archive_bomb", f"{text} Upload the documents themselves.")


def label(name: str) -> str:
    """Return a member's name as something to show, never a path on a disk: relative, printable, `/` between parts."""
    parts = _SEPARATOR.split(unicodedata.normalize("NFC", name))
    if len(parts) > 1 and re.fullmatch("[A-Za-z]:", parts[0]):
        del parts[0]
    shown = "/".join(_UNPRINTABLE.sub("_", part) for part in parts if part not in ("", ".", ".."))
    return shown or "unnamed"


def unique(path: str, taken: set[str]) -> str:
    """Return `path`, at most 1,024 letters of its end and numbered if it is `taken`, and add it there."""
    shown, number = _cut(path, ""), 1
    while shown in taken:
        number += 1
        shown = _cut(path, f" ({number})")
    taken.add(shown)
    return shown


def _cut(path: str, suffix: str) -> str:
    room = PATH_LETTERS - len(suffix)
    return (path if len(path) <= room else f"…{path[1 - room :]}") + suffix


def unread(entry: Entry, path: str) -> Skip | None:
    """Return why a member, shown as `path`, is skipped without a look at its bytes, or None."""
    if ".." in _SEPARATOR.split(entry.name):
        return Skip("unsafe_path", "Its name leads out of the archive. Pack it again without `..` in names.")
    if any(_is_boilerplate(part) for part in path.split("/")):
        return Skip("boilerplate", "It belongs to the system that packed the archive, not to the documents.")
    if entry.kind != "file":
        return Skip("unsupported", f"It is a {entry.kind}, not a document. Pack the document itself.")
    if entry.encrypted:
        return Skip("encrypted", "It is encrypted. Pack it without a password.")
    if entry.fault is not None:
        return Skip("broken", f"{entry.fault} Pack it again.")
    if entry.size == 0:
        return Skip("empty", "It has no content.")
    if entry.method not in (0, 8):
        return Skip("unsupported", f"It is compressed by method {entry.method}. Pack it with Deflate, as is usual.")
    if entry.size > MEMBER_BYTES and entry.size <= MAX_RATIO * entry.packed:
        return Skip("too_large", f"It has {entry.size} bytes; {MEMBER_BYTES} is the most. Split it.")
    return None


def _is_boilerplate(part: str) -> bool:
    return part.startswith((".", "~$")) or part.lower() in _BOILERPLATE


def nothing_usable(skipped: Sequence[tuple[str, Skip]]) -> ArchiveError:
    """Return the refusal of an archive all of whose members, each with its path, were skipped."""
    counts = Counter(skip.code for _, skip in skipped)
    if counts["encrypted"] and counts.keys() <= {"encrypted", "boilerplate"}:
        return ArchiveError(
            "archive_encrypted", "Every document in the archive is encrypted. Pack it without a password."
        )
    if not skipped:
        return ArchiveError("archive_empty", "There is no document in the archive. Pack at least one.")
    listed = ", ".join(f"{count} {code}" for code, count in sorted(counts.items()))
    path, skip = next(((path, skip) for path, skip in skipped if skip.code != "boilerplate"), skipped[0])
    text = f"No document in the archive can be used ({listed}). The first, {path[-200:]!r}: {skip.message}"
    return ArchiveError("archive_empty", text)


def size_refusal(blob: BlobRef) -> FileRejected | None:
    """Return the refusal of an archive that is too large."""
    if blob.bytes <= MAX_BYTES:
        return None
    text = f"The archive has {blob.bytes} bytes; {MAX_BYTES} is the most. Split it."
    return FileRejected(code="archive_too_large", message=text, param="file")
