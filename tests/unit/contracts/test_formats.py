"""What a document is, by its content."""

import io
import json
import time
import zipfile

import pytest
from docx import Document
from reportlab.pdfgen.canvas import Canvas

from contracts.formats import HEAD, Skip, begins, container, sniff
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
        ("{\\rtf1 text}", "rtf"),
        ("From: a@example.org\nTo: b@example.org\nSubject: Keys\nDate: Fri, 06 Mar 2026\n\nThe key.\n", "eml"),
        ("Return-Path: <a@b.org>\r\nReceived: by x\r\n\tfor y\r\nMIME-Version: 1.0\r\n\r\n# Key\r\n", "eml"),
        ("Name: a\nPrice: b\nColour: c\n\nNo mail.\n", "txt"),
        ("From a@b Fri Mar 06\nFrom: a\nSubject: b\nDate: c\n\nA mailbox.\n", "unsupported"),
        ('.\\" made by hand\n.TH LS 1\n.SH NAME\n', "unsupported"),
        ("<p>It is **never** lent.</p>\n<p># not a heading</p>\n", "html"),
        ("<h1>Setup</h1>\n<pre>\n\n# install\n\nrun **it**\n</pre>\n\n<p>[x](y.html)</p>\n", "html"),
        ('<?xml version="1.0"?><invoice/>', "unsupported"),
        (bytes(range(1, 256)) * 4, "unsupported"),
        (packed({"a.txt": b"a"}), "zip"),
    ],
)
def test_a_document_is_known_by_its_content(data: bytes | str, format: str) -> None:
    assert found(data) == format


@pytest.mark.parametrize(
    ("names", "format"),
    [
        (["[Content_Types].xml", "xl/workbook.xml"], "xlsx"),
        (["[Content_Types].xml", "ppt/presentation.xml"], "pptx"),
        (["[Content_Types].xml", "word/document2.xml"], "docx"),
        (["[Content_Types].xml", "xl/workbook.bin"], "unsupported"),
        (["[Content_Types].xml", "visio/document.xml"], "unsupported"),
        (["mimetype", "content.xml"], "odt"),
        (["mimetype", "META-INF/container.xml"], "epub"),
        (["mimetype", "mine.txt"], "zip"),
        (["Index/Document.iwa"], "unsupported"),
        (["META-INF/MANIFEST.MF"], "unsupported"),
        (["report.docx", "docs/word/document.xml"], "zip"),
    ],
    ids=str,
)
def test_a_zip_is_a_document_or_an_archive_by_the_names_in_it(names: list[str], format: str) -> None:
    outcome = container(names)
    assert (outcome.code if isinstance(outcome, Skip) else outcome) == format


def test_a_zip_is_known_by_its_first_members_however_they_were_written() -> None:
    out = io.BytesIO()
    Document().save(out)
    assert container({entry.name for entry in read_directory(out, 10_000)}) == "docx"
    assert begins(out.getvalue()) == "docx"

    class Pipe(io.BytesIO):  # what cannot be gone back in gets the lengths behind the members
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise io.UnsupportedOperation

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("[Content_Types].xml", "_rels/.rels", "xl/workbook.xml"):
            archive.writestr(name, "<x/>" * 50)
    assert begins(pipe.getvalue()) == "xlsx"
    for kind, format in (("vnd.oasis.opendocument.spreadsheet", "ods"), ("epub+zip", "epub")):
        stored = io.BytesIO()
        with zipfile.ZipFile(stored, "w") as archive:
            archive.writestr("mimetype", f"application/{kind}")
        assert begins(stored.getvalue()) == format
    assert begins(packed({"notes.txt": b"a", "rows.xlsx": b"b"})) == "zip"


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        ("WordDocument", "Word document of the old kind"),
        ("Workbook", "Excel workbook of the old kind"),
        ("PowerPoint Document", "PowerPoint"),
        ("EncryptedPackage", "with a password"),
        ("Nothing", "of the old kind"),
    ],
)
def test_an_old_office_document_is_named_with_what_to_save_it_as(stream: str, said: str) -> None:
    outcome = sniff(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600) + f"{stream}\0".encode("utf-16-le"), 10**6)
    assert isinstance(outcome, Skip)
    assert said in outcome.message
    assert "Save it" in outcome.message


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
        "<p>\n\n",
        "<pre",
        "a: b\n",
        ".\n",
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
