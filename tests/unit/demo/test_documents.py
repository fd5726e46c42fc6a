"""The handbook that ships: the same bytes each time, as long as it says, and readable by who reads documents."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from itertools import combinations
from pathlib import Path

import pytest

from functions.extract_text.core import Extracted, settled
from functions.extract_text.read import read
from infra.demo import archive, documents
from infra.demo.documents import FILES
from infra.demo.handbook import COMPANY, HandbookGrid, Manual, handbook

FOLDER = archive.FOLDER


def machines(manual: Manual) -> dict[str, list[str]]:
    """Section → its paragraphs."""
    return {s.title: [b for b in s.blocks if isinstance(b, str)] for s in manual.sections if s.level == 2}


@pytest.fixture(scope="module")
def read_back() -> dict[str, Extracted]:
    return {name: settled(read(FOLDER / name, name.rpartition(".")[2])) for name in FILES}


def plain(extracted: Extracted) -> str:
    return " ".join(" ".join(page.text for page in extracted.pages).split())


def titles(extracted: Extracted) -> list[str]:
    text = {page.number: page.text for page in extracted.pages}
    return [
        " ".join(text[e.span.page][e.span.start : e.span.end].split()) for e in extracted.elements if e.kind == "title"
    ]


def test_the_files_that_ship_say_what_the_script_writes(tmp_path: Path, read_back: dict[str, Extracted]) -> None:
    for path in documents.write(tmp_path):  # bytes would differ with another library of compression
        assert settled(read(path, path.suffix[1:])) == read_back[path.name], f"{path.name}: run the script again"


def test_the_script_writes_the_same_bytes_each_time(tmp_path: Path) -> None:
    documents.write(tmp_path / "other")
    for path in documents.write(tmp_path / "one"):
        assert path.read_bytes() == (tmp_path / "other" / path.name).read_bytes()


def test_another_seed_is_another_handbook(tmp_path: Path) -> None:
    for path in documents.write(tmp_path, seed=1):
        assert path.read_bytes() != (FOLDER / path.name).read_bytes()


def test_it_has_thirty_pages_and_is_small(read_back: dict[str, Extracted]) -> None:
    assert len(read_back["machines.pdf"].pages) >= 30
    assert sum((FOLDER / name).stat().st_size for name in FILES) < 1_500_000


def test_the_archive_holds_the_documents_alone_and_is_the_same_each_time() -> None:
    content = archive.handbook_zip()
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        assert opened.namelist() == sorted(FILES)
        assert {opened.getinfo(name).date_time for name in FILES} == {(2024, 1, 1, 0, 0, 0)}
    assert hashlib.sha256(archive.handbook_zip()).digest() == hashlib.sha256(content).digest()


@pytest.mark.parametrize(
    ("name", "manual"),
    [
        ("machines.pdf", handbook().machines),
        ("workshop.docx", handbook().workshop),
        ("kitchen.md", handbook().kitchen),
        ("yard.txt", handbook().yard),
    ],
)
def test_every_machine_is_read_back_as_a_heading_with_its_sentences(
    name: str, manual: Manual, read_back: dict[str, Extracted]
) -> None:
    said = plain(read_back[name])
    assert set(machines(manual)) <= set(titles(read_back[name]))
    for paragraphs in machines(manual).values():
        assert len(paragraphs) == 3
        assert all(paragraph in said for paragraph in paragraphs)


def test_the_pdf_s_running_lines_and_page_numbers_are_no_text_of_it(read_back: dict[str, Extracted]) -> None:
    found = read_back["machines.pdf"]
    texts = {page.number: page.text for page in found.pages}
    assert all(f"{COMPANY} · Machines" in text and f"Page {number}" in text for number, text in texts.items())
    for element in found.elements:
        said = texts[element.span.page][element.span.start : element.span.end]
        assert "·" not in said
        assert not re.search(r"Page \d+", said)


def test_the_parts_are_read_back_as_rows_with_named_cells(read_back: dict[str, Extracted]) -> None:
    parts = handbook().parts
    said = plain(read_back["parts.csv"])
    for row in parts.rows:
        assert "; ".join(f"{column}: {value}" for column, value in zip(parts.columns, row, strict=True)) in said


def test_no_machine_stands_in_two_documents() -> None:
    book = handbook()
    manuals = [set(machines(manual)) for manual in (book.machines, book.workshop, book.kitchen, book.yard)]
    manuals.append({row[0] for row in book.parts.rows})
    assert all(not one & other for one, other in combinations(manuals, 2))
    assert [len(each) for each in manuals] == [36, 14, 10, 10, 30]


def test_a_machine_s_facts_are_nine_and_no_two_on_one_matter() -> None:
    for machine, paragraphs in machines(handbook().machines).items():
        facts = [said for said in re.split(r"(?<=\.) ", " ".join(paragraphs)) if machine in said]
        assert len(facts) == 9
        matters = {re.sub(r"\d.*| hall .*|(?<=by ).*", "", said) for said in facts}
        assert len(matters) == 9, facts


def test_tables_have_a_value_in_each_column() -> None:
    book = handbook()
    grids = [b for s in book.machines.sections for b in s.blocks if isinstance(b, HandbookGrid)]
    assert len(grids) == 4
    assert all(len(row) == len(grid.columns) and all(row) for grid in grids for row in grid.rows)
