"""Archives made by hand, byte by byte, so that they can be wrong in ways that no packer knows."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

TEXT = b"All visitors sign in at the front desk and wear a badge while they are in the building.\n"
LONG = 0xFFFFFFFF


@dataclass
class Raw:
    """A member: what its two headers say and which bytes lie behind the local one."""

    name: bytes
    content: bytes = TEXT
    method: int = 8
    flags: int = 0
    mode: int = 0o100644
    packed: bytes = b""
    size: int | None = None
    packed_size: int | None = None
    crc: int | None = None
    local_name: bytes | None = None
    offset: int | None = None
    extra: bytes = b""
    descriptor: bytes = b""
    header: bytes = field(default=b"", init=False)

    def __post_init__(self) -> None:
        if not self.packed:
            self.packed = deflated(self.content) if self.method == 8 else self.content
        self.size = len(self.content) if self.size is None else self.size
        self.crc = zlib.crc32(self.content) if self.crc is None else self.crc
        self.packed_size = len(self.packed) if self.packed_size is None else self.packed_size
        name = self.name if self.local_name is None else self.local_name
        fixed = (b"PK\3\4", 20, self.flags, self.method, 0, 0, 0, 0, 0, len(name), 0)
        self.header = struct.pack("<4s5H3L2H", *fixed) + name

    def central(self, offset: int) -> bytes:
        """Return its entry in the directory."""
        offset = offset if self.offset is None else self.offset
        sizes = (self.crc, self.packed_size, self.size, len(self.name), len(self.extra), 0, 0, 0)
        fixed = struct.pack(
            "<4s6H3L5H2L", b"PK\1\2", 3 << 8, 20, self.flags, self.method, 0, 0, *sizes, self.mode << 16, offset
        )
        return fixed + self.name + self.extra


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def end(count: int, size: int, offset: int, comment: bytes = b"", disk: int = 0) -> bytes:
    return struct.pack("<4s4H2LH", b"PK\5\6", disk, disk, count, count, size, offset, len(comment)) + comment


def end_64(count: int, size: int, offset: int) -> bytes:
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset)
    return record + struct.pack("<4sLQL", b"PK\6\7", 0, offset + size, 1) + end(0xFFFF, LONG, LONG)


def archive(members: Iterable[Raw], comment: bytes = b"", prefix: bytes = b"", count: int | None = None) -> bytes:
    """Return the archive of `members`; what `prefix` holds lies before it."""
    body, directory, listed = bytearray(), bytearray(), 0
    for member in members:
        directory += member.central(len(body))
        body += member.header + member.packed + member.descriptor
        listed += 1
    tail = end(min(listed if count is None else count, 0xFFFF), len(directory), len(body), comment)
    return prefix + bytes(body + directory) + tail


def packed(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return an archive as Python packs it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as target:
        for name, data in members.items():
            target.writestr(name, data)
    return out.getvalue()


def overlapping(count: int, kernel: int) -> bytes:
    """Return a bomb in the manner of Fifield (USENIX WOOT 2019): each member quotes the next one's local header.

    A stored Deflate block holds the header that follows, so that all members end in the same packed kernel and each
    is whole by itself: bytes are shared, no checksum is wrong and no ratio within one member is high.
    """
    content, bits = bytes(kernel), deflated(bytes(kernel))
    body, places = bits, []
    for number in reversed(range(count)):
        quoting = Raw(b"%d.txt" % number, content, packed=body)
        places.append(quoting)
        whole = quoting.header
        block = b"\0" + struct.pack("<2H", len(whole), 0xFFFF ^ len(whole)) + whole
        content, body = whole + content, block + body
    places.reverse()
    start = places[0].header + places[0].packed
    directory, offset = b"", 0
    for place in places:
        offset = len(start) - len(place.header) - len(place.packed)
        directory += place.central(offset)
    return start + directory + end(count, len(directory), len(start))


def bomb(size: int = 20 * 2**20) -> bytes:
    return packed({"zeros.txt": bytes(size)})


def nested(levels: int, inner: bytes) -> bytes:
    for level in range(levels):
        inner = packed({f"{level}.zip": inner}, zipfile.ZIP_STORED)
    return inner


def lying_directory(count: int, size: int, offset: int) -> bytes:
    """Return an archive whose ZIP64 end record says these numbers."""
    whole = archive([Raw(b"a.txt")])
    return whole[: whole.rindex(b"PK\5\6")] + end_64(count, size, offset)


def number_64(*numbers: int) -> bytes:
    return struct.pack(f"<2H{len(numbers)}Q", 1, 8 * len(numbers), *numbers)


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "overlapping members": (lambda: overlapping(100, 2**20), "archive_overlap"),
    "one member many times": (lambda: archive([Raw(b"a.txt"), *[Raw(b"a.txt", offset=0)] * 99]), "archive_overlap"),
    "one member by many names": (
        lambda: archive([Raw(b"a.txt"), *[Raw(b"%d.txt" % n, offset=0) for n in range(99)]]),
        "archive_overlap",
    ),
    "a ratio bomb": (bomb, "archive_bomb"),
    "a bomb of many small bombs": (
        lambda: archive(Raw(b"%d.txt" % n, b"%d" % n + bytes(2**20 - 9)) for n in range(200)),
        "archive_bomb",
    ),
    "a bomb in an archive": (lambda: nested(1, bomb()), "archive_bomb"),
    "an archive of bombs that are small alone": (
        lambda: packed({f"{n}.zip": packed({f"{n}.txt": b"%d" % n + bytes(2**20 - 9)}) for n in range(200)}),
        "archive_bomb",
    ),
    "archives within archives": (lambda: nested(5, bomb()), "archive_empty"),
    "a size that is a lie": (lambda: archive([Raw(b"a.txt", bytes(2**24), size=1000)]), "archive_empty"),
    "a link to a secret": (lambda: archive([Raw(b"a.txt", b"/etc/passwd", mode=0o120777)]), "archive_empty"),
    "a device": (lambda: archive([Raw(b"a.txt", mode=0o020666)]), "archive_empty"),
    "encrypted members": (lambda: archive([Raw(b"a.txt", flags=1), Raw(b"b.txt", flags=1)]), "archive_encrypted"),
    "100,000 empty members": (lambda: archive(Raw(b"%d" % n, b"") for n in range(100_000)), "too_many_entries"),
    "100,000 empty members that are said to be one": (
        lambda: archive((Raw(b"%d" % n, b"") for n in range(100_000)), count=1),
        "too_many_entries",
    ),
    "100,000 empty members in an archive": (
        lambda: nested(1, archive(Raw(b"%d" % n, b"") for n in range(100_000))),
        "archive_empty",
    ),
    "archives of 9,000 members each": (
        lambda: packed({f"{n}.zip": archive(Raw(b"%d-%d" % (n, m), b"") for m in range(9_000)) for n in range(2)}),
        "too_many_entries",
    ),
    "a directory of 20 MB": (
        lambda: archive(Raw(b"%0300d" % n, b"", extra=b"\0" * 60_000) for n in range(400)),
        "directory_too_large",
    ),
    "the first half": (lambda: packed({"a.txt": TEXT, "b.txt": TEXT * 9})[:120], "archive_broken"),
    "no archive at all": (lambda: b"PK\3\4" + bytes(1000), "archive_broken"),
    "one part of several": (lambda: archive([Raw(b"a.txt")])[:-22] + end(1, 51, 90, disk=3), "archive_broken"),
    "a directory of 2**63 entries": (lambda: lying_directory(2**63, 51, 0), "too_many_entries"),
    "a directory of 2**63 bytes": (lambda: lying_directory(1, 2**63, 0), "archive_broken"),
    "a directory at 2**63": (lambda: lying_directory(1, 51, 2**63), "archive_broken"),
    "a member of 2**60 bytes": (
        lambda: archive([Raw(b"a.txt", size=LONG, extra=number_64(2**60))]),
        "archive_bomb",
    ),
    "a member that reaches to 2**60": (
        lambda: archive([Raw(b"a.txt", packed_size=LONG, extra=number_64(2**60))]),
        "archive_empty",
    ),
    "a member at 2**63": (lambda: archive([Raw(b"a.txt", offset=LONG, extra=number_64(2**63))]), "archive_empty"),
    "a ZIP64 number that is missing": (lambda: archive([Raw(b"a.txt", size=LONG)]), "archive_broken"),
}
"""What somebody may send to do harm, and the code that answers it."""
