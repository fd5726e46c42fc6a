"""Unpack an archive: `python -m functions.extract_zip.unpack spec.json`.

The spec names three paths: `input`, `folder` (a taken member is written there as `<n>.bin`, never under a name of its
own) and `members` (what became of each, JSON lines: path, bytes, sha256, code and message, or format and file). The
result is printed as one JSON object. Memory does not grow with the archive.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from contracts.formats import HEAD, Format, Skip, begins_rows, container, sniff
from functions._shared.child import answer
from functions.extract_zip.core import (
    MAX_ENTRIES,
    MAX_LEVEL,
    ArchiveError,
    Budget,
    Entry,
    label,
    nothing_usable,
    unique,
    unread,
)
from functions.extract_zip.directory import MemberError, inflate, read_directory

MOST_ERRORS = 100
TOO_LARGE = frozenset({"too_many_entries", "directory_too_large"})
"""Why an archive within is skipped for its size: codes of `read_directory`."""


@dataclass(frozen=True, slots=True)
class FoundMember:
    """What became of a member."""

    path: str
    bytes: int
    sha256: str
    """Empty for one whose bytes were not read."""
    outcome: Format | Skip
    file: str = ""
    """Under which name its bytes are in the folder, when it was taken."""

    def line(self) -> dict[str, Any]:
        """Return it as JSON."""
        shown: dict[str, Any] = {"path": self.path, "bytes": self.bytes, "sha256": self.sha256}
        if isinstance(self.outcome, Skip):
            return {**shown, "code": self.outcome.code, "message": self.outcome.message}
        return {**shown, "format": self.outcome, "file": self.file}


class Unpacker:
    """Unpacks an archive into `folder`, members in the order of their names, so that packing order changes nothing."""

    def __init__(self, folder: Path, packed: int) -> None:
        self.found: list[FoundMember] = []
        self._folder = folder
        self._budget = Budget(packed)
        self._paths: set[str] = set()
        self._first: dict[str, str] = {}
        self._rows: list[str] = []
        self._files = 0

    def unpack(self, archive: Path) -> None:
        """Find out what becomes of each member; ArchiveError refuses the whole."""
        with archive.open("rb") as stream:
            entries = read_directory(stream, MAX_ENTRIES)
            stream.seek(0)
            kind = container({entry.name for entry in entries}, stream.read(HEAD))
            if kind != "zip":
                advice = kind.message if isinstance(kind, Skip) else f"It is {kind.upper()}: upload it as a document."
                raise ArchiveError("not_an_archive", f"The file is no archive of documents. {advice}")
            self._members(stream, entries, "", 1)
        skipped = [(found.path, found.outcome) for found in self.found if isinstance(found.outcome, Skip)]
        if len(skipped) == len(self.found):
            raise nothing_usable(skipped)
        if len(skipped) + len(self._rows) == len(self.found):
            text = f"The archive holds rows for training ({self._rows[0][-200:]!r}), not documents to make rows of."
            raise ArchiveError("archive_of_rows", f"{text} Upload each file of rows by itself, not in an archive.")

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The first members that were skipped, as errors of a file show where they are."""
        skips = ((number, each) for number, each in enumerate(self.found, 1) if isinstance(each.outcome, Skip))
        shown = ({"line": number, **each.line()} for number, each in skips)
        named = ("line", "path", "code", "message")
        return [{name: each[name] for name in named} for each in shown if each["code"] != "boilerplate"][:MOST_ERRORS]

    def _members(self, stream: BinaryIO, entries: list[Entry], prefix: str, level: int) -> None:
        self._budget.entries += len(entries)
        members = [(prefix + label(entry.name), entry) for entry in entries if entry.kind != "directory"]
        members.sort(key=lambda member: (member[0], member[1].crc, member[1].size))
        skips = [unread(entry, path) for path, entry in members]
        self._budget.charge([entry for (_, entry), skip in zip(members, skips, strict=True) if skip is None])
        for (named, entry), skip in zip(members, skips, strict=True):
            path = unique(named, self._paths)
            if skip is not None:
                self.found.append(FoundMember(path, entry.size, "", skip))
            else:
                self._member(stream, entry, path, level)

    def _member(self, stream: BinaryIO, entry: Entry, path: str, level: int) -> None:
        self._files += 1
        file = self._folder / f"{self._files}.bin"
        digest = ""
        outcome: Format | Skip | None
        try:
            digest, head = _write(stream, entry, file)
        except MemberError as error:
            outcome = Skip("broken", f"{error} Pack it again.")
        else:
            outcome = self._outcome(file, head, entry.size, digest, path, level)
        if not isinstance(outcome, Skip):
            self._first[digest] = path
        if outcome is None or isinstance(outcome, Skip):
            file.unlink()
        if outcome is not None:
            self.found.append(FoundMember(path, entry.size, digest, outcome, file.name))

    def _outcome(self, file: Path, head: bytes, size: int, digest: str, path: str, level: int) -> Format | Skip | None:
        """Return what the bytes are; None for an archive, whose members were added in its place."""
        same = self._first.get(digest)
        if same is not None:
            return Skip("duplicate", f"It has the same bytes as {same[-200:]!r}.")
        outcome = sniff(head, size)
        if outcome in ("json", "jsonl") and begins_rows(head):
            self._rows.append(path)
        if outcome != "zip":
            return outcome
        with file.open("rb") as stream:
            try:
                entries = read_directory(stream, MAX_ENTRIES)
            except ArchiveError as error:
                return Skip("too_large" if error.code in TOO_LARGE else "broken", str(error))
            outcome = container({entry.name for entry in entries}, head)
            if outcome != "zip":
                return outcome
            if level == MAX_LEVEL:
                return Skip("unsupported", "It is an archive in an archive in an archive. Pack its documents directly.")
            if not entries:
                return Skip("empty", "It is an archive without members.")
            if len(entries) > MAX_ENTRIES - self._budget.entries:
                text = f"With its {len(entries)} entries there are more than {MAX_ENTRIES} in the archive. Split it."
                raise ArchiveError("too_many_entries", text)
            self._members(stream, entries, f"{path}/", level + 1)
        return None


def _write(stream: BinaryIO, entry: Entry, file: Path) -> tuple[str, bytes]:
    """Write a member to `file`; return its SHA-256 and its head."""
    digest, head = hashlib.sha256(), b""
    with file.open("xb") as out:
        for piece in inflate(stream, entry):
            digest.update(piece)
            if len(head) < HEAD:
                head += piece[: HEAD - len(head)]
            out.write(piece)
    return digest.hexdigest(), head


def result(archive: Path, folder: Path, members: Path) -> dict[str, Any]:
    """Return how it went as JSON, having written members into `folder` and what became of each to `members`."""
    unpacker = Unpacker(folder, archive.stat().st_size)
    try:
        unpacker.unpack(archive)
    except ArchiveError as error:
        return {"ok": False, "code": error.code, "message": str(error), "errors": unpacker.errors}
    with members.open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(found.line()) + "\n" for found in unpacker.found)
    return {"ok": True}


def main(spec: dict[str, Any]) -> dict[str, Any]:
    """Unpack the archive that the spec names and return the result."""
    return result(Path(spec["input"]), Path(spec["folder"]), Path(spec["members"]))


if __name__ == "__main__":
    sys.exit(answer(main))
