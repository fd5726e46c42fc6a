"""Workbooks, slides, OpenDocument, books, RTF and mails are read as their programs show them, or refused in words."""

from __future__ import annotations

import base64
import datetime as dt
import io
import time
import zipfile
import zlib
from collections.abc import Mapping
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook
from pptx import Presentation
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches

from contracts.formats import sniff
from functions.extract_text.cells import shown
from functions.extract_text.core import Extracted, UnreadableError
from functions.extract_text.odf import OFFICE, TABLE, TEXT
from functions.extract_text.read import read
from tests.unit.extract_text.documents import entity_bomb, lines_pdf, word_bomb
from tests.unit.extract_text.documents import word as word_document

BUGS = Path(__file__).parents[4] / "shared/data/bugs/21-not-documents"


_DAY = dt.datetime.fromisoformat("2026-03-01")
_HOUR = dt.datetime.fromisoformat("2026-03-01 14:05")
_ENTITY = "<!DOCTYPE x [<!ENTITY a 'b'>]><x/>"
_COMPOUND = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
_OLD_WORD = _COMPOUND + "WordDocument\0".encode("utf-16-le")


def found(data: bytes, format: str, folder: Path) -> Extracted:
    path = folder / "content"
    path.write_bytes(data)
    return read(path, format)


def pieces(read: Extracted) -> list[tuple[int, str, str]]:
    """Return page, kind and text of each element."""
    texts = {page.number: page.text for page in read.pages}
    return [
        (each.span.page, each.kind, texts[each.span.page][each.span.start : each.span.end]) for each in read.elements
    ]


def texts(read: Extracted) -> list[str]:
    return [text for *_, text in pieces(read)]


def packed(parts: Mapping[str, str | bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()


def workbook() -> bytes:
    book = Workbook()
    sheet = book.active
    sheet.title = "Prices"
    sheet.append(["Price list 2026"])
    sheet.append(["Article", "Price", "From", "Share", "Twice"])
    sheet.append(["Bolt", 1234.5, dt.date(2026, 3, 1), 0.125, "=B3*2"])
    sheet.append(["Nut", -2.5, dt.date(2026, 4, 1), 0.5, None])
    sheet.append(["Hidden", 1, None, None, None])
    sheet.row_dimensions[5].hidden = True
    sheet.append([])
    sheet.append(["Washer", 3, None, None, None])
    for row in (3, 4):
        for column, form in ((2, '#,##0.00 "€"'), (3, "DD.MM.YYYY"), (4, "0.0%")):
            sheet.cell(row, column).number_format = form
    book.create_sheet("Secret").sheet_state = "hidden"
    book["Secret"].append(["not", "shown"])
    shifts = book.create_sheet("Shifts")
    shifts.append(["Name", "Wage", "Active"])
    shifts.append(["Anna", 99, True])
    shifts.column_dimensions["B"].hidden = True
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


@pytest.mark.parametrize("format", ["xlsx", "docx"])
def test_a_workbook_has_the_cells_that_excel_shows_whatever_its_name_says(format: str, tmp_path: Path) -> None:
    read = found(workbook(), format, tmp_path)
    assert pieces(read) == [
        (1, "title", "Prices"),
        (1, "text", "Price list 2026"),
        (1, "table", "Article: Bolt; Price: 1,234.50 €; From: 01.03.2026; Share: 12.5%"),
        (1, "table", "Article: Nut; Price: -2.50 €; From: 01.04.2026; Share: 50.0%"),
        (1, "table", "Article: Washer; Price: 3"),
        (1, "title", "Shifts"),
        (1, "table", "Name: Anna; Active: TRUE"),
    ]
    assert [problem.code for problem in read.problems] == ["unread_formula"]


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (3, "General", "3"),
        (0.1 + 0.2, "General", "0.3"),
        (1e15, "General", "1e+15"),
        (1234567, "#,##0", "1,234,567"),
        (1234567, '#,##0,"k"', "1,235k"),
        (-5, "#,##0;(#,##0)", "(5)"),
        (0, '0.00;-0.00;"none"', "none"),
        (7, "000", "007"),
        (1.5, "0.0##", "1.5"),
        (12.5, "_-* #,##0.00\\ [$€-407]_-", "12.50 €"),
        (0.256, "0%", "26%"),
        (12345, "0.00E+00", "1.23E+04"),
        (3, '0 "apples"', "3 apples"),
        (_DAY, "mm-dd-yy", "2026-03-01"),
        (_HOUR, "yyyy-mm-dd hh:mm", "2026-03-01 14:05"),
        (_HOUR, "h:mm AM/PM", "2:05 PM"),
        (_DAY, "[$-407]d. mmmm yyyy", "1. March 2026"),
        (dt.time(8, 30), "h:mm", "8:30"),
        (dt.timedelta(hours=30), "[h]:mm:ss", "30:00:00"),
        (False, "General", "FALSE"),
        ("text", "@", "text"),
    ],
)
def test_a_cell_is_shown_by_its_format(value: Any, form: str, text: str) -> None:
    assert shown(value, form) == text


def test_a_workbook_of_rows_to_train_on_is_refused_with_what_to_do(tmp_path: Path) -> None:
    book = Workbook()
    book.active.append(["prompt", "completion"])
    book.active.append(["What?", "That."])
    out = io.BytesIO()
    book.save(out)
    with pytest.raises(UnreadableError, match="Save it as CSV") as refused:
        found(out.getvalue(), "xlsx", tmp_path)
    assert refused.value.code == "rows_in_workbook"


def slides() -> bytes:
    show = Presentation()
    first = show.slides.add_slide(show.slide_layouts[1])
    first.shapes.title.text = "Pump rules"
    frame = first.placeholders[1].text_frame
    frame.text = "Open the valve"
    frame.add_paragraph().text = "Close the valve"
    first.notes_slide.notes_text_frame.text = "Say it twice."
    secret = show.slides.add_slide(show.slide_layouts[5])
    secret.shapes.title.text = "Secret"
    secret.element.set("show", "0")
    third = show.slides.add_slide(show.slide_layouts[5])
    third.shapes.title.text = "Numbers"
    table = third.shapes.add_table(2, 2, Inches(1), Inches(4), Inches(4), Inches(1)).table
    for at, text in enumerate(("Key", "Room", "brass", "12")):
        table.cell(at // 2, at % 2).text = text
    box = third.shapes.add_group_shape().shapes.add_textbox(Inches(1), Inches(2), Inches(2), Inches(1))
    box.text_frame.text = "In a group."
    data: Any = CategoryChartData()  # type: ignore[no-untyped-call]
    data.categories = ["2024", "2025"]
    data.add_series("Litres", (1.5, 2))
    third.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, Inches(1), Inches(5), Inches(4), Inches(2), data)
    out = io.BytesIO()
    show.save(out)
    return out.getvalue()


def test_slides_are_pages_with_their_notes_tables_charts_and_groups_and_hidden_ones_are_not(tmp_path: Path) -> None:
    read = found(slides(), "pptx", tmp_path)
    assert read.paged
    assert pieces(read) == [
        (1, "title", "Pump rules"),
        (1, "list", "Open the valve"),
        (1, "list", "Close the valve"),
        (1, "text", "Say it twice."),
        (3, "title", "Numbers"),
        (3, "text", "In a group."),
        (3, "table", "Key | Room"),
        (3, "table", "brass | 12"),
        (3, "table", "| Litres"),
        (3, "table", "2024 | 1.5"),
        (3, "table", "2025 | 2"),
    ]


def open_document(kind: str, body: str) -> bytes:
    names = {"office": OFFICE, "text": TEXT, "table": TABLE}
    declared = " ".join(f'xmlns:{short}="{name.strip("{}")}"' for short, name in names.items())
    declared += ' xmlns:style="urn:oasis:names:tc:opendocument:xmlns:style:1.0"'
    declared += ' xmlns:draw="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0"'
    styles = (
        '<office:automatic-styles><style:style style:name="T1" style:family="text"><style:text-properties '
        'text:display="none"/></style:style></office:automatic-styles>'
    )
    content = f"<office:body><office:{kind}>{body}</office:{kind}></office:body>"
    return packed(
        {
            "mimetype": f"application/vnd.oasis.opendocument.{kind}",
            "content.xml": f"<office:document-content {declared}>{styles}{content}</office:document-content>",
        }
    )


def test_an_open_document_text_has_what_is_shown(tmp_path: Path) -> None:
    body = (
        "<text:tracked-changes><text:changed-region><text:deletion><text:p>GONE</text:p></text:deletion>"
        "</text:changed-region></text:tracked-changes>"
        '<text:h text:outline-level="2">Keys</text:h>'
        '<text:p>The  valve<text:s text:c="2"/>is<text:span text:style-name="T1"> GONE</text:span> open<text:note>'
        "<text:note-citation>1</text:note-citation><text:note-body><text:p>Since May.</text:p></text:note-body>"
        "</text:note>.<office:annotation><text:p>GONE</text:p></office:annotation></text:p>"
        "<text:p>Look.<draw:frame><draw:text-box><text:p>In a box.</text:p></draw:text-box></draw:frame></text:p>"
        '<text:section text:display="none"><text:p>GONE</text:p></text:section>'
        "<text:list><text:list-item><text:p>one</text:p></text:list-item></text:list>"
        "<table:table><table:table-row><table:table-cell><text:p>a</text:p></table:table-cell><table:table-cell>"
        "<text:p>b</text:p></table:table-cell></table:table-row></table:table>"
    )
    assert pieces(found(open_document("text", body), "odt", tmp_path)) == [
        (1, "title", "Keys"),
        (1, "text", "The valve  is open."),
        (1, "text", "Since May."),
        (1, "text", "Look."),
        (1, "text", "In a box."),
        (1, "list", "one"),
        (1, "table", "a | b"),
    ]


def test_a_sheet_that_repeats_empty_cells_a_million_times_is_small(tmp_path: Path) -> None:
    def row(*cells: str, repeated: int = 1) -> str:
        made = "".join(f"<table:table-cell><text:p>{cell}</text:p></table:table-cell>" for cell in cells)
        rest = '<table:table-cell table:number-columns-repeated="16384"/>'
        return f'<table:table-row table:number-rows-repeated="{repeated}">{made}{rest}</table:table-row>'

    body = (
        f'<table:table table:name="Keys">{row("Key", "Room")}{row("brass", "12")}{row(repeated=1048576)}</table:table>'
    )
    read = found(open_document("spreadsheet", body), "ods", tmp_path)
    assert texts(read) == ["Keys", "Key: brass; Room: 12"]


def book(extra: Mapping[str, str] | None = None) -> bytes:
    page = (
        '<?xml version="1.0"?><!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.1//EN" '
        '"http://www.w3.org/TR/xhtml11/DTD/xhtml11.dtd"><html xmlns="http://www.w3.org/1999/xhtml"><body>{}</body></html>'
    )
    items = '<item id="{0}" href="{0}.xhtml" media-type="application/xhtml+xml"{1}/>'
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf"><manifest>'
        + items.format("one", "")
        + items.format("two", "")
        + items.format("nav", ' properties="nav"')
        + items.format("lost", "")
        + "</manifest><spine>"
        + "".join(f'<itemref idref="{name}"/>' for name in ("nav", "two", "one", "lost"))
        + "</spine></package>"
    )
    container = (
        '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="OPS/book.opf"/></rootfiles></container>'
    )
    return packed(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": container,
            "OPS/book.opf": package,
            "OPS/one.xhtml": page.format("<h1>Second</h1><p>The lamp is green.</p>"),
            "OPS/two.xhtml": page.format("<h1>First</h1><p>The tank is blue.</p>"),
            "OPS/nav.xhtml": page.format("<nav><ol><li>First</li></ol></nav>"),
            **(extra or {}),
        }
    )


def test_a_book_has_the_pages_of_its_spine_in_order_and_names_what_is_missing(tmp_path: Path) -> None:
    read = found(book(), "epub", tmp_path)
    assert texts(read) == ["First", "The tank is blue.", "Second", "The lamp is green."]
    assert [problem.code for problem in read.problems] == ["page_missing"]


def test_a_protected_book_is_refused(tmp_path: Path) -> None:
    locked = '<encryption><e xmlns:x="x"><EncryptionMethod Algorithm="aes"/></e></encryption>'
    with pytest.raises(UnreadableError) as refused:
        found(book({"META-INF/encryption.xml": locked}), "epub", tmp_path)
    assert refused.value.code == "encrypted"


def test_rtf_has_its_text_and_rows_without_what_is_hidden_or_deleted(tmp_path: Path) -> None:
    source = (
        r"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Arial;}}{\b 1.2 Keys}\par Gr\'fc\'dfe {\v GONE}an{\deleted  GONE} alle"
        r"\v  GONE\v0 .\par\trowd\cellx100\cellx200 Key\cell Room\cell\row\trowd\cellx100\cellx200 brass\cell "
        r"12\cell\row\pard End{\footnote Lost.}.\par}"
    )
    read = found(source.encode(), "rtf", tmp_path)
    assert pieces(read) == [
        (1, "title", "1.2 Keys"),
        (1, "text", "Grüße an alle."),
        (1, "table", "Key | Room"),
        (1, "table", "brass | 12"),
        (1, "text", "End."),
    ]
    assert ["footnotes" in problem.message for problem in read.problems] == [True]


def test_rtf_of_many_groups_takes_no_time(tmp_path: Path) -> None:
    began = time.process_time()
    found(b"{\\rtf1 x" + b"{\\v\\b0 a" * 20_000 + b"}" * 20_000 + b" end\\par}", "rtf", tmp_path)
    assert time.process_time() - began < 5


def mail(html: bool = False) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = "Schlüssel für März"
    message["From"] = "Jürgen <j@example.org>"
    message["To"] = "a@example.org"
    message["Date"] = "Fri, 06 Mar 2026 10:00:00 +0100"
    if html:
        message.set_content("<h2>Keys</h2><p>The key is brass.</p>", subtype="html")
    else:
        message.set_content("The key is brass.\n\n> Which key\n> is it?\n")
    return message


HEAD = "From: Jürgen <j@example.org>\nTo: a@example.org\nDate: Fri, 06 Mar 2026 10:00:00 +0100"


def test_a_mail_has_its_subject_sender_text_and_the_documents_attached(tmp_path: Path) -> None:
    message = mail()
    message.add_attachment(word_document(), maintype="application", subtype="octet-stream", filename="rules.docx")
    message.add_attachment(b"\x89PNG\r\n\x1a\n", maintype="image", subtype="png", filename="logo.png")
    message.add_attachment(mail(html=True))
    read = found(message.as_bytes(), "eml", tmp_path)
    assert pieces(read)[:5] == [
        (1, "title", "Schlüssel für März"),
        (1, "text", HEAD),
        (1, "text", "The key is brass."),
        (1, "text", "Which key\nis it?"),
        (1, "title", "rules.docx"),
    ]
    assert "The device keeps a record of every reading." in texts(read)
    assert texts(read)[-2:] == ["Keys", "The key is brass."]
    assert [problem.message for problem in read.problems] == [
        "What is attached as 'logo.png' was not read. It is an image. Save it as PDF with its text."
    ]
    assert not [path for path in tmp_path.iterdir() if path.name != "content"]


OUTLOOK = (
    "eNrtWN1qE0EUPpM0G5vY2op4UcQseCO9WJJGiBWpLdhiEUWkUPAmbuuaLCabkF2lfRwfwAvfoDde6wN4oQ9i4jezs3UastnZpC1U8oWz87cz38yZ"
    "OXPO5sf35V+fv678piFsUJb6g3kylDomRWCJRBsv9weDQVQ9mOFK4Q8kg33LQuYgObmfXK7J/Az/L15TB7+ATNomD2mPjikNblOORWPxM1RcyIj6"
    "k7B5Z1SfPG/Phvk6fl2wdvB0kAbkIvVR+0mUfZQ7mFmFLCqPGKtMmTN3ju6839I/fp8+0gGeATUkTx1SpirVRFoZvQyBVfBHdqPLzzV0J4G/IpjL"
    "OvwsI3Wqy59VNmbc+iu0pcVvKPe+Dn8udB+J/DV6qsWfdv/5fN8p/B7Z1MZpc1Gre+4i3IcHjLiXNc+e6i85fw+Mh+DrxrDX6Z5yGsJfhEfEGPfB"
    "/K5enJDfhuYDPA+pmXoGj5X1Fyfkv2z757p6mHD+QtuvSFkba/9p+edFPx1+rfuHFeSYuvyFIfubUv/sRkr7Lwq7SVp/Wer+/O3/uox1kvmrWvwL"
    "ckxdfv7+SiL/Oli3tfxP2vUvavCHNr52Ied/2P7j+as6/Iyf5Zsp9K/P/+DC138emCT+Ub/ponh/TsnnlXyczHD1Mfxtf+YbHyjBB/F46e5pmZZ4"
    "+Zksb+KeEv8RnLzZ//blJyvhZjGkPergObzMMWzPpPfwMz2kLxCJ9EQsooM9vOeg1wcxjglvxcc6wAg2cj6seQH+jssG6vfxtivGjno8EW2TY5de"
    "YcYWvRRfUU7q/jvC97YRx5kYyxO+10RU5cr8Jp5HIj7tUgt5S2ipgdXwee+hxHvase/pri5LuZqh7H2GMVFePd33vCjfGtZ/0zFbdrtrur7Z6DmO"
    "ZxUKu4HZtL2Gb7qeGaC9abdaVsw0WnLOFrR3BJkUJWJlQ/HrJeqvGzLWGYctzGAaxGv+cvpPi7+wQiLQ"
)
"""A mail in Outlook's form with a text attached, made by extract-msg's OleWriter: zlib, then base64."""


def test_a_mail_as_outlook_saves_it_has_the_same_parts(tmp_path: Path) -> None:
    data = zlib.decompress(base64.b64decode(OUTLOOK))
    assert sniff(data, len(data)) == "msg"
    read = found(data, "msg", tmp_path)
    assert (texts(read), read.problems) == (
        [
            "Keys for March",
            "To: Al <a@example.org>\nDate: 2026-03-07 00:00",
            "The key is brass.",
            "Which key?",
            "lamp.txt",
            "The lamp is green.",
            "It hangs in the hall.",
        ],
        (),
    )


def test_mails_within_mails_end_at_a_depth(tmp_path: Path) -> None:
    message = mail()
    for _ in range(30):
        outer = mail()
        outer.add_attachment(message)
        message = outer
    read = found(message.as_bytes(), "eml", tmp_path)
    assert len([text for text in texts(read) if text == "The key is brass."]) == 3
    assert ["mails deep" in problem.message for problem in read.problems] == [True]


@pytest.mark.parametrize(
    ("format", "data", "code"),
    [
        ("xlsx", word_bomb(), "document_too_complex"),
        ("docx", entity_bomb(), "xml_doctype"),
        ("xlsx", packed({"[Content_Types].xml": "", "xl/workbook.xml": _ENTITY}), "xml_doctype"),
        ("epub", packed({"mimetype": "", "META-INF/container.xml": "", "a.xhtml": _ENTITY}), "xml_doctype"),
        ("pptx", packed({"[Content_Types].xml": "", "ppt/presentation.xml": "<x/>"}), "broken_document"),
        ("odt", packed({"mimetype": "", "content.xml": "x"}), "broken_document"),
        ("docx", lines_pdf(["x"]), "broken_document"),
        ("docx", _OLD_WORD, "unsupported_format"),
        ("msg", _COMPOUND, "broken_document"),
    ],
    ids=[
        "bomb", "entities", "entities in a sheet", "entities in a book", "no slides", "no text", "a PDF", "old Word",
        "no mail",
    ],
)  # fmt: skip
def test_what_is_hostile_or_broken_is_refused_with_a_code(format: str, data: bytes, code: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableError) as refused:
        found(data, format, tmp_path)
    assert refused.value.code == code


@pytest.mark.skipif(not BUGS.exists(), reason="../shared is not beside the checkout")
@pytest.mark.parametrize("name", ["rows.xlsx", "slides.pptx", "rules.odt"])
def test_a_shell_of_a_document_is_refused_as_what_it_is_with_what_to_save_it_as(name: str, tmp_path: Path) -> None:
    format = name.rpartition(".")[2]
    with pytest.raises(UnreadableError) as refused:
        found((BUGS / name).read_bytes(), format, tmp_path)
    assert {"xlsx": "Excel", "pptx": "PowerPoint", "odt": "OpenDocument"}[format] in str(refused.value)
    assert f"save it as .{format} again" in str(refused.value)
