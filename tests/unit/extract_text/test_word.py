"""Word documents are read as Word shows them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from functions.extract_text.core import Extracted, UnreadableError
from functions.extract_text.office import read_office
from tests.unit.extract_text.word_cases import CASES, STYLES, para, run, table, word

BUG = Path(__file__).parents[4] / "shared/data/bugs/17-docx-parts/rules.docx"
DRAWN = "<w:r><w:drawing><a:graphic><a:graphicData><pic:pic/></a:graphicData></a:graphic></w:drawing></w:r>"


def read(data: bytes, folder: Path) -> Extracted:
    path = folder / "content"
    path.write_bytes(data)
    return read_office(path, "docx")


def lines(found: Extracted) -> list[str]:
    return [found.pages[0].text[each.span.start : each.span.end] for each in found.elements]


@pytest.mark.parametrize("name", CASES)
def test_what_word_shows_is_there_once_and_in_order(name: str, tmp_path: Path) -> None:
    body, shown = CASES[name]
    found = read(word(body), tmp_path)
    assert (lines(found), found.problems) == (shown, ())


@pytest.mark.skipif(not BUG.exists(), reason="../shared is not beside the checkout")
def test_a_document_of_all_parts_has_each_of_them_once_and_nothing_that_is_not_shown(tmp_path: Path) -> None:
    found = read(BUG.read_bytes(), tmp_path)
    text = found.pages[0].text
    for part in (
        "INSERTED", "MOVEDHERE", "LINKTEXT", "INLINESDT", "BLOCKSDT", "BOXTEXT", "FOOTNOTE", "ENDNOTE", "FIELDRESULT",
        "SIMPLEFIELD", "SMARTTAG", "CELLSDT", "NESTED",
    ):  # fmt: skip
        assert text.count(part) == 1, part
    for part in ("DELETED", "MOVEDAWAY", "HIDDEN", "FIELDCODE", "COMMENT"):
        assert part not in text


def test_headings_have_levels_whatever_their_style_is_called(tmp_path: Path) -> None:
    found = read(word(CASES["headings"][0]), tmp_path)
    assert [(each.kind, each.level) for each in found.elements] == [("title", 1), ("title", 2), ("text", None)]


def test_what_cannot_be_read_is_named_and_the_rest_stays(tmp_path: Path) -> None:
    body = (
        para(run("The plan: ") + DRAWN + DRAWN)
        + '<w:altChunk r:id="x"/>'
        + para("<w:r><w:object><o:OLEObject/></w:object></w:r>" + run("It is old."))
        + para('<w:r><w:sym w:font="House Signs" w:char="F0AB"/></w:r>')
    )
    found = read(word(body), tmp_path)
    assert lines(found) == ["The plan:", "It is old.", "\ufffd"]
    assert [(each.code, each.message.split()[0]) for each in found.problems] == [
        ("unread_picture", "2"),
        ("unread_embedded_object", "1"),
        ("unread_embedded_document", "1"),
        ("unread_symbol", "1"),
    ]


def test_text_is_hidden_by_the_documents_defaults_and_by_a_paragraphs_style(tmp_path: Path) -> None:
    veiled = para(run("GONE") + run("Two.", '<w:vanish w:val="0"/>'), '<w:pStyle w:val="Veil"/>')
    assert lines(read(word(para(run("One.")) + veiled), tmp_path)) == ["One.", "Two."]
    defaults = "<w:docDefaults><w:rPrDefault><w:rPr><w:vanish/></w:rPr></w:rPrDefault></w:docDefaults>"
    body = para(run("GONE") + run("Two.", '<w:vanish w:val="false"/>'))
    assert lines(read(word(body, defaults + STYLES), tmp_path)) == ["Two."]


def changed(data: bytes, name: Callable[[str], str], content: Callable[[bytes], bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(out, "w") as after:
        for member in before.namelist():
            after.writestr(name(member), content(before.read(member)))
    return out.getvalue()


@pytest.mark.parametrize("kind", ["strict", "with macros", "main part of another name"])
def test_a_document_of_another_variant_is_read_as_any_other(kind: str, tmp_path: Path) -> None:
    data = word(CASES["numbers"][0] + CASES["footnote"][0])
    same: Callable[[str], str] = str
    if kind == "strict":
        data = changed(
            data,
            same,
            lambda part: part.replace(
                b"schemas.openxmlformats.org/wordprocessingml/2006/", b"purl.oclc.org/ooxml/wordprocessingml/"
            ).replace(b"schemas.openxmlformats.org/officeDocument/2006/", b"purl.oclc.org/ooxml/officeDocument/"),
        )
    elif kind == "with macros":
        data = changed(
            data,
            same,
            lambda part: part.replace(
                b"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main",
                b"application/vnd.ms-word.document.macroEnabled.main",
            ),
        )
    else:
        data = changed(
            data,
            lambda name: name.replace("document.xml", "document2.xml"),
            lambda part: part.replace(b"word/document.xml", b"word/document2.xml"),
        )
    assert lines(read(data, tmp_path)) == [*CASES["numbers"][1], *CASES["footnote"][1]]


def test_a_document_nested_too_deeply_is_refused_in_words(tmp_path: Path) -> None:
    deep = "<w:sdt><w:sdtContent>" * 5000 + para(run("x")) + "</w:sdtContent></w:sdt>" * 5000
    with pytest.raises(UnreadableError, match="not a Word document that can be read") as refused:
        read(word(deep), tmp_path)
    assert refused.value.code == "broken_document"


def test_a_table_of_many_rows_keeps_all_of_them(tmp_path: Path) -> None:
    rows = [f"<w:tc>{para(run(f'pump {n}'))}</w:tc><w:tc>{para(run(str(n)))}</w:tc>" for n in range(300)]
    assert lines(read(word(table(*rows)), tmp_path)) == [f"pump {n} | {n}" for n in range(300)]
