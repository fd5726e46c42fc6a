"""Reading ZIP archives that somebody may have made to do harm.

Python 3.11's zipfile lets members share bytes (CVE-2024-0450), reads a directory of any size and keeps every entry of
it; here nothing is believed before it is checked. Format: APPNOTE.TXT 6.3.10 of PKWARE.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from itertools import pairwise
from typing import BinaryIO, Literal

from functions.extract_zip.core import ArchiveError, Entry

DIRECTORY_BYTES = 16 * 2**20
"""10,000 entries with names of a usual length take 1 MiB."""
PIECE = 2**18

_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_ENCRYPTED, _UTF8 = 0x1, 0x800
_ZIP64, _UNICODE_PATH = 0x1, 0x7075  # kinds of extra fields
_SHORT, _LONG = 0xFFFF, 0xFFFFFFFF  # in their place stands a ZIP64 number


class MemberError(Exception):
    """The bytes of one member are not what its headers say."""


def read_directory(stream: BinaryIO, most: int) -> list[Entry]:
    """Return the entries of an archive, `most` at the most; ArchiveError when there is no believing it."""
    count, size, start, before = _find_directory(stream)
    if count > most:
        raise _too_many(count, most)
    if size > DIRECTORY_BYTES:
        text = f"The archive's directory has {size} bytes; {DIRECTORY_BYTES} is the most. Use shorter names."
        raise ArchiveError("directory_too_large", text)
    stream.seek(start)
    directory = stream.read(size)
    entries: list[Entry] = []
    extents: list[tuple[int, int, str]] = []
    at = 0
    while at < size:
        if len(entries) == most:
            raise _too_many(most + 1, most)
        at, entry, header = _entry(stream, directory, at, before, start)
        entries.append(entry)
        if entry.start:
            extents.append((header, entry.start + (entry.packed if entry.fault is None else 0), entry.name))
    if len(entries) != count:
        raise _broken(f"its directory lists {len(entries)} entries and says {count}")
    extents.sort()
    for (_, end, first), (begin, _, second) in pairwise(extents):
        if begin < end:
            text = (
                f"Members of the archive share bytes ({first[:100]!r} and {second[:100]!r}), as no packer makes them."
            )
            raise ArchiveError("archive_overlap", f"{text} Pack the documents again.")
    return entries


def inflate(stream: BinaryIO, entry: Entry) -> Iterator[bytes]:
    """Yield a member's bytes in pieces of 256 KiB at most; MemberError when they are not what its headers say."""
    size, crc = 0, 0
    for piece in (_stored if entry.method == 0 else _deflated)(stream, entry):
        size += len(piece)
        if size > entry.size:
            raise MemberError(f"It unpacks to more than the {entry.size} bytes that its header says.")
        crc = zlib.crc32(piece, crc)
        yield piece
    if size != entry.size:
        raise MemberError(f"It unpacks to {size} bytes; its header says {entry.size}.")
    if crc != entry.crc:
        raise MemberError("Its bytes do not have the checksum that its header says.")


def _stored(stream: BinaryIO, entry: Entry) -> Iterator[bytes]:
    stream.seek(entry.start)
    left = entry.packed
    while left and (piece := stream.read(min(left, PIECE))):
        left -= len(piece)
        yield piece


def _deflated(stream: BinaryIO, entry: Entry) -> Iterator[bytes]:
    decoder = zlib.decompressobj(-zlib.MAX_WBITS)
    stream.seek(entry.start)
    left, packed = entry.packed, b""
    while not decoder.eof:
        if not packed:
            packed = stream.read(min(left, PIECE))
            left -= len(packed)
        ended = not packed
        try:
            piece = decoder.decompress(packed, PIECE)
        except zlib.error as error:
            raise MemberError(f"It cannot be unpacked: {error}.") from error
        packed = decoder.unconsumed_tail
        if piece:
            yield piece
        elif ended and not decoder.eof:
            raise MemberError("It ends in the middle.")


def _find_directory(stream: BinaryIO) -> tuple[int, int, int, int]:
    """Return how many entries the directory says it has, its bytes, where it begins, and what lies before the archive.

    The last end record counts. What lies before the archive, as in one that unpacks itself, moves every offset.
    """
    stream.seek(0, 2)
    length = stream.tell()
    tail_at = max(0, length - _END.size - _SHORT)
    stream.seek(tail_at)
    tail = stream.read()
    found = len(tail)
    while (found := tail.rfind(b"PK\5\6", 0, found)) >= 0:
        if found + _END.size <= len(tail):
            _, disk, first_disk, here, count, size, offset, comment = _END.unpack_from(tail, found)
            if found + _END.size + comment <= len(tail):
                break
    else:
        raise _broken("it has no directory at its end, so it was cut off or is no ZIP")
    end = tail_at + found
    if _SHORT in (count, here) or _LONG in (size, offset):
        larger = _larger_end(stream, end)
        if larger is not None:
            end, disk, first_disk, here, count, size, offset = larger
    if disk or first_disk or here != count:
        raise _broken("it is one part of several")
    before = end - size - offset
    if before < 0:
        raise _broken("its directory does not lie where its end says")
    return count, size, end - size, before


def _larger_end(stream: BinaryIO, end: int) -> tuple[int, int, int, int, int, int, int] | None:
    """Return position, disks, counts, size and offset from the ZIP64 end record, or None when there is none."""
    at = end - _LOCATOR.size - _END_64.size
    if at < 0:
        return None
    stream.seek(at)
    record = stream.read(_END_64.size + _LOCATOR.size)
    if not record.startswith(b"PK\6\7", _END_64.size):
        return None
    signature, _, _, _, disk, first_disk, here, count, size, offset = _END_64.unpack_from(record)
    if signature != b"PK\6\6":
        raise _broken("its ZIP64 end record is missing")
    return at, disk, first_disk, here, count, size, offset


def _entry(stream: BinaryIO, directory: bytes, at: int, before: int, limit: int) -> tuple[int, Entry, int]:
    """Return where the next entry begins, this one, and where its local header does."""
    if at + _CENTRAL.size > len(directory) or not directory.startswith(b"PK\1\2", at):
        raise _broken("its directory cannot be read")
    fields = _CENTRAL.unpack_from(directory, at)
    flags, method, crc, packed, size = fields[3], fields[4], fields[7], fields[8], fields[9]
    name_length, extra_length, comment_length, attributes, offset = *fields[10:13], fields[15], fields[16]
    name_at = at + _CENTRAL.size
    extra_at = name_at + name_length
    following = extra_at + extra_length + comment_length
    if following > len(directory):
        raise _broken("its directory cannot be read")
    raw = directory[name_at:extra_at]
    extra = _fields(directory[extra_at : extra_at + extra_length])
    size, packed, offset = _long_numbers(extra.get(_ZIP64, b""), size, packed, offset)
    header = before + offset
    start, encrypted, fault = _local(stream, header, limit, raw, method)
    if fault is None and start + packed > limit:
        fault = "Its bytes reach beyond where the archive's members end."
    entry = Entry(
        name=_decoded(raw, flags, extra.get(_UNICODE_PATH, b"")),
        kind=_kind(raw, attributes >> 16),
        method=method,
        encrypted=encrypted or bool(flags & _ENCRYPTED),
        crc=crc,
        packed=packed,
        size=size,
        start=start,
        fault=fault,
    )
    return following, entry, header


def _fields(extra: bytes) -> dict[int, bytes]:
    """Return kind → content of a header's extra fields, of two of a kind the first."""
    found: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        found.setdefault(kind, extra[at + 4 : at + 4 + length])
        at += 4 + length
    return found


def _long_numbers(field: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """Return the numbers with those of the ZIP64 field in place of the ones that say to look there."""
    numbers = [size, packed, offset]
    missing = [place for place, number in enumerate(numbers) if number == _LONG]
    if len(field) < 8 * len(missing):
        raise _broken("a ZIP64 number of its directory is missing")
    for index, place in enumerate(missing):
        numbers[place] = int.from_bytes(field[8 * index : 8 * index + 8], "little")
    return numbers[0], numbers[1], numbers[2]


def _local(stream: BinaryIO, header: int, limit: int, name: bytes, method: int) -> tuple[int, bool, str | None]:
    """Return where a member's bytes begin (0: nowhere), whether they are encrypted, what is wrong with its header."""
    nowhere = "The archive's directory points to where it is not."
    if header + _LOCAL.size > limit:
        return 0, False, nowhere
    stream.seek(header)
    raw = stream.read(_LOCAL.size)
    if not raw.startswith(b"PK\3\4"):
        return 0, False, nowhere
    _, _, flags, local_method, _, _, _, _, _, name_length, extra_length = _LOCAL.unpack(raw)
    fault = None
    if stream.read(name_length) != name or local_method != method:
        fault = "Its two headers in the archive contradict each other."
    return header + _LOCAL.size + name_length + extra_length, bool(flags & _ENCRYPTED), fault


def _decoded(raw: bytes, flags: int, unicode_path: bytes) -> str:
    """Return a name's text: as Info-ZIP's field has it, if it is of this name; many write UTF-8 without saying so."""
    if unicode_path[:1] == b"\1" and unicode_path[1:5] == zlib.crc32(raw).to_bytes(4, "little"):
        return unicode_path[5:].decode(errors="replace")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode(errors="replace") if flags & _UTF8 else raw.decode("cp437")


def _kind(name: bytes, mode: int) -> Literal["file", "directory", "link", "device"]:
    if name.endswith((b"/", b"\\")):
        return "directory"
    match mode & 0xF000:  # of a Unix file: what it is
        case 0 | 0x8000:
            return "file"
        case 0x4000:
            return "directory"
        case 0xA000:
            return "link"
        case _:
            return "device"


def _broken(why: str) -> ArchiveError:
    return ArchiveError("archive_broken", f"The file is not a whole ZIP archive: {why}. Pack it again.")


def _too_many(count: int, most: int) -> ArchiveError:
    text = f"The archive, or one within it, has {count} entries or more, where {most} are the most. Split it."
    return ArchiveError("too_many_entries", text)
