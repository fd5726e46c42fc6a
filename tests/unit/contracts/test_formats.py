"""What a document is, by its content."""

import io
import json
import time

import pytest
from docx import Document
from reportlab.pdfgen.canvas import Canvas

from contracts.formats import HEAD, Skip, container, sniff
from functions.extract_zip.directory import read_directory
from tests.unit.extract_zip.archives import packed

PROSE = "Visitors, contractors and suppliers sign in at the desk.\nThey wear a badge, which they return.\n"


def found(data: bytes | str) -> str:
    """Return the format of a whole document, or the code of why it is none."""
    data = data if isinstance(data, bytes) else data.encode()
    outcome = sniff(data[:HEAD], len(data))
    return outcome.code if isinstance(outcome, Skip) else outcome


def pdf() -> bytes:
    out = io.BytesIO()
    canvas = Canvas(out)
    canvas.drawString(72, 720, "A page")
    canvas.save()
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "format"),
    [
        (PROSE, "txt"),
        ("Grüße aus Köln — überall.\n".encode("cp1252"), "txt"),
        (PROSE.encode("utf-16"), "txt"),
        (b"\xef\xbb\xbf" + PROSE.encode(), "txt"),
        ("[1] Knuth, The Art of Computer Programming\n[2] Hopper\n", "txt"),
        ("{placeholder} is replaced by a name.\n", "txt"),
        ("Dear all,\nplease note\n", "txt"),
        ("def total(rows):\n    # of all rows\n    return sum(rows)\n", "txt"),
        ("# Copyright of somebody\nimport os\n\nos.run(*a, **b, **c)\nhandlers[name](event)\n", "txt"),
        ("1 page\x0c2 pages\n", "txt"),
        ("# Title\n\nSome text.\n", "md"),
        ("# Title", "md"),
        ("It is **never** lent.\n", "md"),
        ("Some text.\n\n## Part\nMore text.\n", "md"),
        ("Title\n=====\n\nText.\n", "md"),
        ("See [the manual](manual.html) for more.\n", "md"),
        ("[The manual](manual.html)\n", "md"),
        ("| a | b |\n|---|---|\n| 1 | 2 |\n", "md"),
        ("Run\n\n```sh\nmake\n```\n", "md"),
        ('<p align="center">Logo</p>\n\n# Project\n\nText\n', "md"),
        ("<!DOCTYPE html><html><body>Hi</body></html>", "html"),
        ("<!-- saved -->\n<!-- again --><HTML>\n<p># no heading</p>", "html"),
        ('<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "x">\n<html/>', "html"),
        ("<h1>Rules</h1><p>One</p>", "html"),
        ("name,price\nbolt,1\nnut,2\n", "csv"),
        ("name;price\r\nbolt;1,50\r\nnut;2,50\r\n", "csv"),
        ("name\tprice\nbolt\t1\n", "csv"),
        ('q,a\n"one, two\nthree","see [x](y)"\n', "csv"),
        ("a," * 10**6 + "a\n" + "1," * 10**6 + "1\n", "csv"),
        ('{"a": 1}', "json"),
        ('{\n  "a": [1, 2]\n}\n', "json"),
        ('[{"a": 1}, {"a": 2}]', "json"),
        (json.dumps([{"a": "b" * 100}] * 10**4), "json"),
        ("[" * 10**5, "json"),
        ('{"a": 1}\n{"a": 2}\n', "jsonl"),
        ('{"a": 1}\r\n\r\n{"a": 2}', "jsonl"),
        ('{"a": 1}\n' * 10**5, "jsonl"),
        (pdf(), "pdf"),
        (b"\0\xff\xfe\x80 printer's preamble\n" + pdf(), "pdf"),
        (" \r\n\t", "empty"),
        (b"\xef\xbb\xbf\n", "empty"),
        (b"\x7fELF\2\1\1\0\0\0", "unsupported"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "unsupported"),
        (b"\x89PNG\r\n\x1a\n", "unsupported"),
        (b"\x1f\x8b\x08\0", "unsupported"),
        ("{\\rtf1 text}", "unsupported"),
        ('<?xml version="1.0"?><invoice/>', "unsupported"),
        (bytes(range(1, 256)) * 4, "unsupported"),
        (packed({"a.txt": b"a"}), "zip"),
    ],
)
def test_a_document_is_known_by_its_content(data: bytes | str, format: str) -> None:
    assert found(data) == format


def test_a_zip_is_a_document_or_an_archive_by_the_names_in_it() -> None:
    out = io.BytesIO()
    Document().save(out)
    assert container({entry.name for entry in read_directory(out, 10_000)}) == "docx"
    for names in ({"[Content_Types].xml", "xl/workbook.xml"}, {"mimetype"}, {"META-INF/MANIFEST.MF"}):
        skip = container(names)
        assert isinstance(skip, Skip)
        assert skip.code == "unsupported"
    assert container({"report.docx", "docs/word/document.xml"}) == "zip"


@pytest.mark.parametrize(
    "unit",
    [
        "[",
        "](",
        "](a",
        "a](",
        "a](a",
        "**a",
        "#",
        "\n#",
        "\n\n",
        "\n ",
        "<!--",
        "<!---->",
        "<?",
        '"',
        ",",
        "=\n===",
        "|---",
        "- \n",
    ],
)
def test_no_text_takes_long_to_know(unit: str) -> None:
    """Ten thousand awkward documents must not take an hour: four times the text costs nowhere near sixteen times."""

    def seconds(size: int) -> float:
        data = (unit * (size // len(unit) + 1)).encode()[:size]
        found = []
        for _ in range(5):
            began = time.process_time()
            sniff(data, 2**29)
            found.append(time.process_time() - began)
        return min(found)

    assert seconds(HEAD) < 9 * seconds(HEAD // 4) + 0.002
