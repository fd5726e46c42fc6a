"""Text, tables and records become elements that can be read by themselves."""

from __future__ import annotations

import codecs
import json

import pytest

from functions.extract_text import core, draft
from functions.extract_text.core import Extracted, UnreadableError, cleaned
from functions.extract_text.decode import decoded
from functions.extract_text.plain import read_plain
from functions.extract_text.rows import read_csv, read_json, read_jsonl


def shown(found: Extracted) -> list[tuple[str, int | None, str]]:
    """Return kind, level and text at the span of each element of the one page."""
    assert not found.paged
    (page,) = found.pages
    assert page.number == 1
    return [(each.kind, each.level, page.text[each.span.start : each.span.end]) for each in found.elements]


def texts(found: Extracted) -> list[str]:
    """Return the text at the span of each element."""
    return [text for *_, text in shown(found)]


def test_plain_text_has_paragraphs_lists_and_headings() -> None:
    text = """Operating manual
================

The device keeps a record
of every reading.

1.2 Safety

Before you open it:
- disconnect the power
- wait for a minute,
  at least
* open the lid

GENERAL TERMS

Nothing else applies, but
for the rest of it.
"""
    found = read_plain(text.encode())
    assert found.pages[0].text == text
    assert shown(found) == [
        ("title", 1, "Operating manual"),
        ("text", None, "The device keeps a record\nof every reading."),
        ("title", 2, "1.2 Safety"),
        ("text", None, "Before you open it:"),
        ("list", None, "- disconnect the power"),
        ("list", None, "- wait for a minute,\n  at least"),
        ("list", None, "* open the lid"),
        ("title", 1, "GENERAL TERMS"),
        ("text", None, "Nothing else applies, but\nfor the rest of it."),
    ]


def test_headings_of_restructured_text_and_asciidoc_are_headings() -> None:
    text = "=====\nRules\n=====\n\nKeys\n^^^^\n\nThey are brass.\n\n== Locks\n\nThey are iron.\n"
    assert shown(read_plain(text.encode())) == [
        ("title", 1, "Rules"),
        ("title", 4, "Keys"),
        ("text", None, "They are brass."),
        ("title", 2, "Locks"),
        ("text", None, "They are iron."),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "It ends here.",
        "why is it so",
        "A line that is much longer than any heading would be in a text like this one, and goes on",
    ],
)
def test_a_line_that_reads_like_a_sentence_is_no_heading(line: str) -> None:
    assert shown(read_plain(f"{line}\n\nMore.".encode()))[0][0] == "text"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (codecs.BOM_UTF8 + "Grüße €".encode(), "Grüße €"),
        (codecs.BOM_UTF16_LE + "Grüße €".encode("utf-16-le"), "Grüße €"),
        (codecs.BOM_UTF16_BE + "Grüße €".encode("utf-16-be"), "Grüße €"),
        (codecs.BOM_UTF32_LE + "Grüße €".encode("utf-32-le"), "Grüße €"),
        ("Grüße an alle".encode("utf-16-le"), "Grüße an alle"),
        ("Grüße an alle".encode("utf-16-be"), "Grüße an alle"),
        (b"one\r\ntwo\rthree\x0cfour", "one\ntwo\nthree\nfour"),
    ],
)
def test_unicode_of_every_kind_is_read_without_a_guess(data: bytes, text: str) -> None:
    assert decoded(data) == (text, ())


@pytest.mark.parametrize(
    ("data", "text", "encoding"),
    [
        ("Grüße “heute” für 5 €".encode("cp1252"), "Grüße “heute” für 5 €", "cp1252"),
        (b"Gr\xfc\xdfe und \x81 mehr", "Grüße und \ufffd mehr", "latin-1"),
        ('<meta charset="iso-8859-2">Łódź'.encode("iso-8859-2"), '<meta charset="iso-8859-2">Łódź', "iso8859-2"),
        (b'<meta charset="idna">Gr\xfc\xdfe', '<meta charset="idna">Grüße', "cp1252"),
    ],
)
def test_an_older_encoding_is_guessed_and_named(data: bytes, text: str, encoding: str) -> None:
    found, problems = decoded(data)
    assert found == text
    assert [problem.code for problem in problems] == ["guessed_encoding"]
    assert encoding in problems[0].message


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(UnreadableError) as refused:
        decoded(bytes(range(32)) * 8)
    assert refused.value.code == "broken_document"


def test_what_is_no_character_does_not_stay() -> None:
    assert cleaned("a\x00b\ud800c\u00adde\r\n") == "a\ufffdb\ufffdcde\n"


def test_a_table_says_the_column_of_each_cell() -> None:
    found = read_csv('Name;City;Note\nAnna;"Bonn; Rhein";\nBernd;Köln;"two\nlines"\n\n'.encode())
    assert shown(found) == [
        ("table", None, "Name: Anna; City: Bonn; Rhein"),
        ("table", None, "Name: Bernd; City: Köln; Note: two lines"),
    ]


def test_a_table_without_a_header_has_its_cells() -> None:
    assert texts(read_csv(b"1,one\n2,two\n")) == ["1 | one", "2 | two"]


def test_a_row_of_more_cells_than_the_header_loses_none() -> None:
    assert texts(read_csv(b"a,b\nc,d,e\n")) == ["c | d | e"]


@pytest.mark.parametrize("data", [b"," * 10**6, b"a,b\n" + b"," * 10**6, b'"' + b'","'.join([b"x"] * 1001) + b'"'])
def test_a_table_of_too_many_columns_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableError, match="1,000 columns") as refused:
        read_csv(data)
    assert refused.value.code == "document_too_complex"


def test_flat_objects_chats_and_nested_ones_become_readable() -> None:
    rows: list[object] = [
        {"name": "A1", "weight": 3.5, "sold": True, "note": None},
        {"messages": [{"role": "user", "content": "What?"}, {"role": "assistant", "content": [{"text": "That."}]}]},
        {"device": {"name": "A1", "ports": [80, 443]}},
        "a line",
    ]
    expected = [
        ("table", None, "name: A1; weight: 3.5; sold: true"),
        ("list", None, "user: What?\nassistant: That."),
        ("list", None, "device.name: A1\ndevice.ports: 80\ndevice.ports: 443"),
        ("list", None, "a line"),
    ]
    assert shown(read_json(json.dumps(rows).encode())) == expected
    assert shown(read_jsonl("\n".join(map(json.dumps, rows)).encode())) == expected


def test_each_entry_of_an_object_is_an_element() -> None:
    assert texts(read_json(b'{"a": {"b": 1}, "c": [2, "\\ud800"]}')) == ["a.b: 1", "c: 2\nc: \ufffd"]


def test_json_that_is_broken_is_refused_with_its_place() -> None:
    with pytest.raises(UnreadableError, match="line 2, column 1") as refused:
        read_json(b'{"a":\n}')
    assert refused.value.code == "broken_document"


def test_a_number_of_too_many_digits_is_refused() -> None:
    with pytest.raises(UnreadableError, match="too many digits"):
        read_json(b"9" * 5000)


def test_a_broken_row_is_a_problem_and_the_others_stay() -> None:
    found = read_jsonl(b'{"a": 1}\n\n{"a": \n{"a": 2}\n')
    assert texts(found) == ["a: 1", "a: 2"]
    assert [(problem.code, problem.page) for problem in found.problems] == [("broken_row", None)]
    assert found.problems[0].message.startswith("Line 3 ")


def test_more_than_the_limits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft, "MAX_CHARACTERS", 50)
    with pytest.raises(UnreadableError, match="50 characters"):
        read_csv(b"a\n" + b"0123456789\n" * 6)
    monkeypatch.setattr(draft, "MAX_CHARACTERS", 10**6)
    monkeypatch.setattr(draft, "MAX_ELEMENTS", 5)
    with pytest.raises(UnreadableError, match="5 paragraphs and rows"):
        read_csv(b"a\n" + b"0123456789\n" * 6)
    monkeypatch.setattr(core, "MAX_CHARACTERS", 5)
    with pytest.raises(UnreadableError, match="5 characters"):
        core.settled(read_plain(b"six characters"))
