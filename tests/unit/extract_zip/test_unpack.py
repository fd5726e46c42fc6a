"""What becomes of archives: of honest ones, of odd ones and of those that are made to do harm."""

import io
import json
import random
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest

from functions.extract_zip import core, unpack
from functions.extract_zip.core import Budget, Entry, label, unique
from tests.unit.extract_zip.archives import HOSTILE, TEXT, Raw, archive, end, end_64, nested, packed


def unpacked(data: bytes, tmp_path: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the result and what became of each member by its path, having looked at every file that was written."""
    (tmp_path / "members").mkdir()
    (tmp_path / "input").write_bytes(data)
    before = files(tmp_path)
    result = unpack.result(tmp_path / "input", tmp_path / "members", tmp_path / "members.jsonl")
    lines: list[dict[str, Any]] = []
    if result["ok"]:
        lines = [json.loads(line) for line in (tmp_path / "members.jsonl").read_text().splitlines()]
        taken = {f"members/{line['file']}" for line in lines if "file" in line}
        assert files(tmp_path) == before | taken | {"members.jsonl"}
    else:
        assert {name for name in files(tmp_path) - before if not name.endswith(".bin")} == set()
    found = {line.pop("path"): line for line in lines}
    assert len(found) == len(lines)
    return result, found


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def codes(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {path: line.get("code") or line["format"] for path, line in found.items()}


def test_every_member_is_taken_or_says_why_not(tmp_path: Path) -> None:
    inner = packed({"policies/leave.md": b"# Leave\n\nThirty days.\n", "same.txt": TEXT, ".DS_Store": b"x"})
    data = packed(
        {
            "handbook/": b"",
            "handbook/desk.txt": TEXT,
            "handbook/again.txt": TEXT,
            "handbook/blank.txt": b" \n\t",
            "handbook/nothing.txt": b"",
            "handbook/logo.png": b"\x89PNG\r\n\x1a\n\0\0",
            "inner.zip": inner,
            "__MACOSX/handbook/._desk.txt": b"\0\5",
            "Thumbs.db": b"\xd0\xcf\x11\xe0",
            "handbook/~$desk.docx": b"lock",
            "empty.zip": packed({}),
            "cut.zip": inner[:50],
        }
    )
    result, found = unpacked(data, tmp_path)
    assert result == {"ok": True}
    assert codes(found) == {
        "Thumbs.db": "boilerplate",
        "__MACOSX/handbook/._desk.txt": "boilerplate",
        "cut.zip": "broken",
        "empty.zip": "empty",
        "handbook/again.txt": "txt",
        "handbook/blank.txt": "empty",
        "handbook/desk.txt": "duplicate",
        "handbook/logo.png": "unsupported",
        "handbook/nothing.txt": "empty",
        "handbook/~$desk.docx": "boilerplate",
        "inner.zip/.DS_Store": "boilerplate",
        "inner.zip/policies/leave.md": "md",
        "inner.zip/same.txt": "duplicate",
    }
    assert "'handbook/again.txt'" in found["handbook/desk.txt"]["message"]
    taken = found["handbook/again.txt"]
    assert (tmp_path / "members" / taken["file"]).read_bytes() == TEXT
    assert (taken["bytes"], len(taken["sha256"])) == (len(TEXT), 64)


def unicode_path(name: str, of: bytes, version: int = 1) -> bytes:
    """Return Info-ZIP's extra field that says how a name is spelt."""
    content = bytes([version]) + zlib.crc32(of).to_bytes(4, "little") + name.encode()
    return struct.pack("<2H", 0x7075, len(content)) + content


def test_a_name_is_the_one_that_info_zip_wrote_beside_it(tmp_path: Path) -> None:
    other = struct.pack("<2H", 0x5455, 1) + b"\0"
    members = [
        Raw(b"?bung.txt", b"1" + TEXT, extra=other + unicode_path("Übung.txt", b"?bung.txt")),
        Raw(b"stale.txt", b"2" + TEXT, extra=unicode_path("alt.txt", b"other.txt")),
        Raw(b"later.txt", b"3" + TEXT, extra=unicode_path("neu.txt", b"later.txt", version=2)),
        Raw(b"out.txt", b"4" + TEXT, extra=unicode_path("../out.txt", b"out.txt")),
        Raw(b"\x9abung.txt", b"5" + TEXT),
    ]
    assert codes(unpacked(archive(members), tmp_path)[1]) == {
        "Übung.txt": "txt",
        "Übung.txt (2)": "txt",
        "later.txt": "txt",
        "out.txt": "unsafe_path",
        "stale.txt": "txt",
    }


@pytest.mark.parametrize("row", [b'{"messages": []}', b'{"prompt": "p", "completion": "c"}'])
def test_rows_in_an_archive_are_named_as_such_unless_there_are_documents_too(row: bytes, tmp_path: Path) -> None:
    rows = {"a.jsonl": row + b"\n" + row, "b/b.jsonl": row + b"\n\n" + row, ".DS_Store": b"x"}
    (tmp_path / "one").mkdir()
    result, _ = unpacked(packed(rows), tmp_path / "one")
    assert (result["ok"], result["code"]) == (False, "archive_of_rows")
    assert "'a.jsonl'" in result["message"]
    (tmp_path / "two").mkdir()
    assert unpacked(packed({**rows, "c.txt": TEXT}), tmp_path / "two")[0] == {"ok": True}


def test_the_order_of_packing_changes_nothing(tmp_path: Path) -> None:
    members = [(f"{n % 7}/{n % 3}.txt", b"%d" % (n % 11) + TEXT) for n in range(40)]
    seen = []
    for seed in range(5):
        random.Random(seed).shuffle(members)
        data = archive(Raw(name.encode(), content) for name, content in members)
        (tmp_path / str(seed)).mkdir()
        seen.append(unpacked(data, tmp_path / str(seed)))
    assert all(one == seen[0] for one in seen)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"/etc/passwd", "etc/passwd"),
        (rb"C:\Windows\win.ini", "Windows/win.ini"),
        (b"a.txt\0.exe", "a.txt_.exe"),
        (b"line\nbreak\x1b[2J.txt", "line_break_[2J.txt"),
        ("abc\u202etxt.exe".encode(), "abc_txt.exe"),
        (b".", "unnamed"),
        (b"notes..txt", "notes..txt"),
        ("a\u0308.txt".encode(), "ä.txt"),
        (b"\x81ber.txt", "über.txt"),
        ("Übersicht 概要.txt".encode(), "Übersicht 概要.txt"),
    ],
)
def test_a_name_is_a_label_and_never_a_path(name: bytes, shown: str, tmp_path: Path) -> None:
    _, found = unpacked(archive([Raw(name)]), tmp_path)
    assert list(found) == [shown]
    assert files(tmp_path / "members") == {"1.bin"}


@pytest.mark.parametrize("name", [b"../../../../etc/cron.d/job", rb"..\..\job", b"a/../../job", b"a/../job", b".."])
def test_a_name_that_leads_out_of_the_archive_is_skipped(name: bytes, tmp_path: Path) -> None:
    result, found = unpacked(archive([Raw(b"a.txt"), Raw(name, TEXT + b"b")]), tmp_path)
    assert result == {"ok": True}
    assert sorted(codes(found).values()) == ["txt", "unsafe_path"]
    assert not [path for path in found if ".." in path]


def test_members_of_one_name_are_told_apart(tmp_path: Path) -> None:
    _, found = unpacked(archive(Raw(b"a.txt", b"%d" % n + TEXT) for n in range(3)), tmp_path)
    assert codes(found) == {"a.txt": "txt", "a.txt (2)": "txt", "a.txt (3)": "txt"}
    taken: set[str] = set()
    long = [unique("x" * 5000 + ".txt", taken) for _ in range(3)]
    assert [len(path) for path in long] == [1024] * 3
    assert len(set(long)) == 3


def test_what_packers_do_in_their_own_way_is_read(tmp_path: Path) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise OSError

    streamed = Pipe()
    with zipfile.ZipFile(streamed, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("streamed.txt", TEXT)  # sizes stand behind the bytes
    large = io.BytesIO()
    with zipfile.ZipFile(large, "w") as target, target.open("large.txt", "w", force_zip64=True) as member:
        member.write(TEXT)
    plain = Raw(b"a.txt")
    whole = archive([plain])
    directory = len(whole) - 22 - len(plain.header + plain.packed)
    odd = {
        "streamed": streamed.getvalue(),
        "ZIP64": large.getvalue(),
        "ZIP64 end": whole[:-22] + end_64(1, directory, len(plain.header + plain.packed)),
        "a program before it": archive([plain], prefix=b"MZ" + b"\x90" * 5000),
        "a comment before and behind it": archive([plain], prefix=b"# comment\n" * 50, comment=b"made by hand"),
        "a comment like an end": archive([plain], comment=b"PK\5\6 is how it ends"),
        "stored": archive([Raw(b"a.txt", method=0)]),
        "more behind it": whole + b"\n",
        "a descriptor that lies": archive([Raw(b"a.txt", flags=8, descriptor=b"PK\7\x08" + b"\xff" * 12)]),
    }
    for number, (name, data) in enumerate(odd.items()):
        (tmp_path / str(number)).mkdir()
        result, found = unpacked(data, tmp_path / str(number))
        assert result == {"ok": True}, name
        assert list(codes(found).values()) == ["txt"], name
        assert (tmp_path / str(number) / "members" / "1.bin").read_bytes() == TEXT


@pytest.mark.parametrize("hostile", HOSTILE)
def test_an_archive_that_means_harm_is_refused_with_a_code(hostile: str, tmp_path: Path) -> None:
    make, code = HOSTILE[hostile]
    result, _ = unpacked(make(), tmp_path)
    assert (result["ok"], result["code"]) == (False, code)
    assert result["message"].endswith(".")


@pytest.mark.parametrize(
    ("member", "code", "words"),
    [
        (Raw(b"b.txt", bytes(2**16), size=1000), "broken", "more than the 1000 bytes"),
        (Raw(b"b.txt", size=10**4), "broken", f"unpacks to {len(TEXT)} bytes; its header says 10000"),
        (Raw(b"b.txt", method=0, size=10**4), "broken", "its header says 10000"),
        (Raw(b"b.txt", crc=1), "broken", "checksum"),
        (Raw(b"b.txt", packed=b"\xff" * 40), "broken", "cannot be unpacked"),
        (Raw(b"b.txt", packed_size=9), "broken", "middle"),
        (Raw(b"b.txt", local_name=b"c.txt"), "broken", "contradict"),
        (Raw(b"b.txt", offset=1), "broken", "points to where it is not"),
        (Raw(b"b.txt", packed_size=10**6), "broken", "reach beyond"),
        (Raw(b"b.txt", flags=1), "encrypted", "without a password"),
        (Raw(b"b.txt", method=9), "unsupported", "method 9"),
        (Raw(b"b.txt", b"/etc/shadow", mode=0o120777), "unsupported", "It is a link"),
    ],
)
def test_one_bad_member_leaves_the_others(member: Raw, code: str, words: str, tmp_path: Path) -> None:
    result, found = unpacked(archive([Raw(b"a.txt", TEXT + b"a"), member]), tmp_path)
    assert result == {"ok": True}
    assert codes(found) == {"a.txt": "txt", "b.txt": code}
    assert words in found["b.txt"]["message"]


def test_an_archive_too_deep_is_skipped_and_taken_where_it_is_not(tmp_path: Path) -> None:
    deep = packed({"a.txt": TEXT})
    _, found = unpacked(packed({"outer.zip": nested(1, deep), "plain.zip": deep}, zipfile.ZIP_STORED), tmp_path)
    assert codes(found) == {"outer.zip/0.zip": "unsupported", "plain.zip/a.txt": "txt"}


def test_an_office_document_is_no_archive_of_documents(tmp_path: Path) -> None:
    result, _ = unpacked(packed({"[Content_Types].xml": b"<Types/>", "word/document.xml": b"<w/>"}), tmp_path)
    assert (result["code"], "DOCX" in result["message"]) == ("not_an_archive", True)


def test_an_archive_of_nothing_usable_names_the_reasons(tmp_path: Path) -> None:
    data = packed({".hidden": b"x", "a.exe": b"MZ\0\0", "b.txt": b"", "c.txt": b""})
    result, _ = unpacked(data, tmp_path)
    assert result["code"] == "archive_empty"
    assert "(1 boilerplate, 2 empty, 1 unsupported)" in result["message"]
    assert "'a.exe'" in result["message"]


def test_an_archive_without_members_is_empty(tmp_path: Path) -> None:
    assert unpacked(end(0, 0, 0), tmp_path)[0]["code"] == "archive_empty"


def entry(size: int, packed_bytes: int, **more: Any) -> Entry:
    values = {"kind": "file", "method": 8, "encrypted": False, "crc": 0, "start": 40, "fault": None, **more}
    return Entry(name="a", size=size, packed=packed_bytes, **values)


def test_the_limits_are_those_that_are_told() -> None:
    budget = Budget(2**31)
    budget.charge([entry(2**29, 2**28)] * 4)
    with pytest.raises(core.ArchiveError) as refused:
        budget.charge([entry(1, 1)])
    assert refused.value.code == "archive_too_large"
    Budget(2**21).charge([entry(100 * 2**20, 2**20), entry(2**20, 1)])
    with pytest.raises(core.ArchiveError) as refused:
        Budget(2**21).charge([entry(100 * 2**20 + 1, 2**20)])
    assert refused.value.code == "archive_bomb"
    assert core.unread(entry(2**29, 2**28), "a") is None
    skip = core.unread(entry(2**29 + 1, 2**28), "a")
    assert skip is not None
    assert skip.code == "too_large"
    assert label("a/./b//../c") == "a/b/c"


def test_damaged_archives_have_a_verdict_and_never_a_crash(tmp_path: Path) -> None:
    inner = packed({"b.md": b"# B\n\nText.\n", "c.txt": TEXT * 3})
    whole = packed({"a.txt": TEXT, "inner.zip": inner, "d.csv": b"a,b\n1,2\n"})
    damaged = random.Random(4)
    verdicts = set()
    for number in range(1500):
        data = bytearray(whole)
        for _ in range(damaged.randint(1, 6)):
            place = damaged.randrange(len(data))
            if damaged.random() < 0.2:
                del data[place : place + damaged.randint(1, 30)]
            else:
                data[place] = damaged.choice((0, 0xFF, 0x7F, damaged.randrange(256)))
        folder = tmp_path / str(number)
        folder.mkdir()
        result, found = unpacked(bytes(data), folder)
        verdicts.add(result.get("code", "ok"))
        verdicts.update(code for code in codes(found).values())
    assert verdicts >= {"ok", "archive_broken", "broken", "txt"}
