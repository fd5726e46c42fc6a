"""PDF: turned pages, columns however they are drawn, broken words, and lines that are no part of the text."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from reportlab.pdfgen import canvas

from functions.extract_text.pdf import read_pdf
from tests.unit.extract_text.documents import lines_pdf
from tests.unit.extract_text.test_pdf import read, shown

CASE = Path(__file__).parents[3].parent / "shared/data/bugs/15-pdf-ligatures-hyphens/page.pdf"
LEFT = [f"The pump of hall {number} is checked each day" for number in range(8)]
RIGHT = [f"whereas the valve of tank {number} is not oiled" for number in range(8)]


def drawn(draw: Callable[[canvas.Canvas], None], turn: int = 0) -> bytes:
    """Return a PDF of one page of 600 x 800 points, shown turned by `turn` degrees with the clock."""
    out = io.BytesIO()
    page = canvas.Canvas(out, pagesize=(600, 800))
    page.setPageRotation(turn)
    draw(page)
    page.showPage()
    page.save()
    return out.getvalue()


def pages_pdf(pages: list[list[tuple[float, float, str]]], size: int = 10) -> bytes:
    """Return a PDF with a page for each list of (x, y, words)."""
    out = io.BytesIO()
    page = canvas.Canvas(out, pagesize=(600, 800))
    for each in pages:
        page.setFont("Helvetica", size)
        for x, y, words in each:
            page.drawString(x, y, words)
        page.showPage()
    page.save()
    return out.getvalue()


def texts(tmp_path: Path, data: bytes) -> list[str]:
    """Return the text of each element."""
    return [text for *_, text in shown(read(tmp_path, data))]


def two(tmp_path: Path, line: str, following: str, *others: str) -> str:
    """Return the first paragraph of a page whose first line is followed by another."""
    return texts(tmp_path, lines_pdf([line, following, *others]))[0]


@pytest.mark.parametrize("turned", [0, 90, 180, 270])
def test_a_turned_page_is_read_as_it_is_shown(turned: int, tmp_path: Path) -> None:
    def draw(page: canvas.Canvas) -> None:
        page.translate(*{0: (0, 0), 90: (600, 0), 180: (600, 800), 270: (0, 800)}[turned])
        page.rotate(turned)
        for number, line in enumerate(LEFT):
            page.drawString(72, 560 - 14 * number, line)

    for page_turn in (0, turned):  # what is drawn turned may or may not be shown upright
        assert texts(tmp_path, drawn(draw, page_turn)) == [" ".join(LEFT)]


def test_running_heads_of_turned_pages_are_left_out(tmp_path: Path) -> None:
    out = io.BytesIO()
    page = canvas.Canvas(out, pagesize=(600, 800))
    for number in range(1, 5):
        page.translate(600, 0)
        page.rotate(90)
        page.drawString(72, 570, "Acme Handbook")
        page.drawString(72, 300, f"The thing {number} is described here.")
        page.showPage()
    page.save()
    assert texts(tmp_path, out.getvalue()) == [f"The thing {number} is described here." for number in range(1, 5)]


def test_a_word_across_the_page_is_no_part_of_its_text(tmp_path: Path) -> None:
    def draw(page: canvas.Canvas) -> None:
        page.saveState()
        page.translate(100, 200)
        page.rotate(45)
        page.setFont("Helvetica", 60)
        page.drawString(0, 0, "CONFIDENTIAL")
        page.restoreState()
        for number, line in enumerate(LEFT):
            page.drawString(72, 560 - 14 * number, line)

    assert texts(tmp_path, drawn(draw)) == [" ".join(LEFT)]


def by_lines(page: canvas.Canvas, shift: float) -> None:
    """Draw two columns line by line, the right one lower by `shift` points."""
    page.drawString(60, 700, "A title that stands across both of the columns of the page, as titles do")
    for number, (left, right) in enumerate(zip(LEFT, RIGHT, strict=True)):
        page.drawString(60, 660 - 14 * number, left)
        page.drawString(320, 660 - 14 * number - shift, right)


def by_columns(page: canvas.Canvas, first: int) -> None:
    """Draw two columns one after the other, the left one first or second."""
    page.drawString(60, 700, "A title that stands across both of the columns of the page, as titles do")
    for column in (first, 1 - first):
        for number, line in enumerate((LEFT, RIGHT)[column]):
            page.drawString((60, 320)[column], 660 - 14 * number, line)


@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(lambda page: by_lines(page, 0), id="line by line"),
        pytest.param(lambda page: by_lines(page, 6), id="line by line, not level"),
        pytest.param(lambda page: by_columns(page, 0), id="left first"),
        pytest.param(lambda page: by_columns(page, 1), id="right first"),
    ],
)
def test_columns_are_read_one_after_the_other_however_they_are_drawn(
    draw: Callable[[canvas.Canvas], None], tmp_path: Path
) -> None:
    assert " ".join(texts(tmp_path, drawn(draw))) == " ".join(
        ["A title that stands across both of the columns of the page, as titles do", *LEFT, *RIGHT]
    )


def test_what_is_drawn_last_and_stands_at_the_top_is_read_first(tmp_path: Path) -> None:
    lines = [(72.0, 600.0 - 14 * number, line) for number, line in enumerate(LEFT)]
    data = pages_pdf([[*lines, (72, 700, "This is said before all else.")]])
    assert texts(tmp_path, data) == ["This is said before all else.", " ".join(LEFT)]


def test_a_table_is_no_columns(tmp_path: Path) -> None:
    rows = [(f"-o{number}", f"writes what came of step {number} to a file") for number in range(6)]
    cells = [
        (x, 600.0 - 14 * number, word)
        for number, row in enumerate(rows)
        for x, word in zip((72.0, 200.0), row, strict=True)
    ]
    assert texts(tmp_path, pages_pdf([cells])) == [" | ".join(row) for row in rows]


@pytest.mark.parametrize(
    ("first", "second", "whole"),
    [
        ("The office may change an inter-", "val under settings.", "an interval under"),
        ("Order the part with number X-", "200 from the store.", "number X-200 from"),
        ("It is a filter of the class 3-", "4 and not of another.", "class 3-4 and"),
        ("The server speaks UTF-", "based encodings alone.", "speaks UTF-based encodings"),
        ("It is told by the Debian-", "Projekt to everyone.", "Debian-Projekt to"),
        ("Man braucht Ein-", "und Ausgabe an jeder Stelle.", "Ein- und Ausgabe"),
        (
            "The words of the pages that are meant for it are of the power-",
            "enhancing kind.",
            "the power-enhancing kind",
        ),
    ],
)
def test_a_hyphen_at_a_lines_end_stays_where_it_belongs(first: str, second: str, whole: str, tmp_path: Path) -> None:
    assert whole in two(tmp_path, first, second)


@pytest.mark.parametrize(
    ("elsewhere", "whole"), [("a netboot image", "a netboot is"), ("a net-boot image", "a net-boot is")]
)
def test_a_broken_word_is_written_as_it_is_elsewhere_in_the_document(
    elsewhere: str, whole: str, tmp_path: Path
) -> None:
    assert whole in two(tmp_path, "What is called a net-", f"boot is made of {elsewhere}.")


def test_the_case_of_ligatures_and_hyphens(tmp_path: Path) -> None:
    if not CASE.exists():
        pytest.skip("../shared is not beside the checkout")
    text = read_pdf(CASE, None).pages[0].text
    for words in (
        "office",
        "flow of",
        "find each",
        "paper work",
        "permitted to",
        "X-200",
        "Y-350",
        "power-enhancing",
        "3-4",
    ):
        assert words in text
    assert "\u00ad" not in text
    assert text == unicodedata.normalize("NFC", text)


HEADS = ["C.1. DECIDING ON SIZES", "C.2. THE TREE", "C.3. RECOMMENDED SCHEMES", "C.4. DEVICE NAMES", "C.5. PROGRAMS"]


def test_a_running_head_that_names_each_pages_section_is_left_out(tmp_path: Path) -> None:
    pages = [
        [
            (72.0, 770.0, "APPENDIX C. PARTITIONING"),
            (380.0, 770.0, head),
            (72.0, 700.0, f"The words of page {number} are these."),
            (300.0, 30.0, str(80 + number)),
        ]
        for number, head in enumerate(HEADS)
    ]
    assert texts(tmp_path, pages_pdf(pages)) == [f"The words of page {number} are these." for number in range(5)]


def test_running_heads_of_odd_and_even_pages_are_left_out(tmp_path: Path) -> None:
    pages = [
        [
            (72.0 if number % 2 else 400.0, 770.0, "Acme Handbook" if number % 2 else f"Chapter {1 + number // 6}"),
            (72.0, 700.0, f"The words of page {number} are these."),
        ]
        for number in range(12)
    ]
    assert texts(tmp_path, pages_pdf(pages)) == [f"The words of page {number} are these." for number in range(12)]


def test_the_first_lines_of_pages_are_no_running_heads(tmp_path: Path) -> None:
    pages = [[(72.0, 770.0, f"{word} is what this page is about.")] for word in ("Air", "Oil", "Water", "Steam", "Gas")]
    assert len(texts(tmp_path, pages_pdf(pages))) == 5


def test_a_table_of_contents_is_left_out_with_its_heading(tmp_path: Path) -> None:
    dots = " . . . . . . . . . . . . . . . . "
    entries = [
        "Contents",
        "1 Welcome to the house",
        f"1.1 What is a house?{dots}2",
        "1.2 How a house with many rooms and windows in all",
        f"directions is built{dots}4",
        "2 Rooms",
        f"2.1 Kitchen{dots}8",
        f"2.2 Bath{dots}xii",
    ]
    contents = [(72.0, 700.0 - 14 * number, line) for number, line in enumerate(entries)]
    contents[2:2] = [(500.0, 700.0 - 14, "1")]  # chapters have no dots
    contents[7:7] = [(500.0, 700.0 - 14 * 5, "7")]
    data = pages_pdf([contents, [(72, 700, "A house is where people live... and work.")]])
    assert texts(tmp_path, data) == ["A house is where people live... and work."]


def test_a_table_of_contents_without_dots_is_left_out(tmp_path: Path) -> None:
    names = ("Welcome", "What it needs", "Where to begin", "How it goes on", "When it fails", "Who helps")
    contents = [(72.0, 700.0 - 14 * number, name) for number, name in enumerate(names)]
    contents += [(500.0, 700.0 - 14 * number, str(3 + 4 * number)) for number in range(6)]
    contents.sort(key=lambda place: -place[1])
    data = pages_pdf([contents, [(72, 700, "It begins here.")]])
    assert texts(tmp_path, data) == ["It begins here."]


def test_prices_in_a_table_are_no_table_of_contents(tmp_path: Path) -> None:
    rows = [("Hammer", "12"), ("Saw", "9"), ("Drill", "30"), ("Nail", "1"), ("Bolt", "2"), ("Nut", "1")]
    cells = [
        (x, 700.0 - 14 * at, word) for at, row in enumerate(rows) for x, word in zip((72.0, 300.0), row, strict=True)
    ]
    assert texts(tmp_path, pages_pdf([cells])) == [" | ".join(row) for row in rows]


def test_the_index_of_a_document_is_left_out(tmp_path: Path) -> None:
    body = [[(72.0, 700.0, f"Page {number} tells of thing {number}.")] for number in range(9)]
    words = (
        "bolt",
        "cable",
        "drill",
        "engine",
        "filter",
        "gear",
        "hammer",
        "iron",
        "jack",
        "key",
        "lamp",
        "motor",
        "oil",
    )
    index = [(72.0, 700.0 - 14 * at, f"{word}, {3 + at % 4}, {7 + at % 3}") for at, word in enumerate(words)]
    found = texts(tmp_path, pages_pdf([*body, index]))
    assert found == [f"Page {number} tells of thing {number}." for number in range(9)]


def test_the_name_of_a_box_is_no_heading(tmp_path: Path) -> None:
    out = io.BytesIO()
    page = canvas.Canvas(out, pagesize=(600, 800))
    for number, (font, size, words) in enumerate(
        [
            ("Helvetica-Bold", 16, "Installing"),
            ("Helvetica", 10, "First of all a disk is needed."),
            ("Helvetica-Bold", 12, "NOTE"),
            ("Helvetica", 10, "A tape will do as well."),
        ]
    ):
        page.setFont(font, size)
        page.drawString(72, 700 - 40 * number, words)
    page.showPage()
    page.save()
    assert [(kind, text) for _, kind, _, text in shown(read(tmp_path, out.getvalue()))] == [
        ("title", "Installing"),
        ("text", "First of all a disk is needed."),
        ("text", "NOTE"),
        ("text", "A tape will do as well."),
    ]


def test_a_cell_of_several_lines_is_whole(tmp_path: Path) -> None:
    """The others of its row stand at its first line, or in its middle."""
    cells = [
        (72.0, 700.0, "Option"), (200.0, 700.0, "What it does"),
        (72.0, 686.0, "-a"), (200.0, 686.0, "takes all of it"),
        (72.0, 672.0, "-b"), (200.0, 672.0, "takes what is left when the inter-"), (200.0, 658.0, "val is over"),
        (72.0, 630.0, "-c"), (200.0, 637.0, "takes what stands"), (200.0, 623.0, "in the middle"),
        (72.0, 609.0, "--long-option"), (72.0, 595.0, "--or-this"), (200.0, 602.0, "takes two names"),
        (72.0, 560.0, "The text goes on below the table and is a paragraph."),
    ]  # fmt: skip
    assert [(kind, text) for _, kind, _, text in shown(read(tmp_path, pages_pdf([cells])))] == [
        ("table", "Option | What it does"),
        ("table", "-a | takes all of it"),
        ("table", "-b | takes what is left when the interval is over"),
        ("table", "-c | takes what stands in the middle"),
        ("table", "--long-option --or-this | takes two names"),
        ("text", "The text goes on below the table and is a paragraph."),
    ]


def test_what_stands_outside_the_page_is_not_read(tmp_path: Path) -> None:
    data = pages_pdf([[(72, 700, "This is on the page."), (72, -40, "This is below it."), (700, 700, "Beside.")]])
    assert texts(tmp_path, data) == ["This is on the page."]


def styled_pdf(lines: list[tuple[str, int, str]]) -> bytes:
    """Return a PDF of one page with these lines: font, size and words, 40 points apart."""
    out = io.BytesIO()
    page = canvas.Canvas(out, pagesize=(600, 1200))
    for number, (font, size, words) in enumerate(lines):
        page.setFont(font, size)
        page.drawString(72, 1100 - 40 * number, words)
    page.showPage()
    page.save()
    return out.getvalue()


def test_numbered_items_are_no_headings_where_headings_stand_out(tmp_path: Path) -> None:
    bold, plain = "Helvetica-Bold", "Helvetica"
    data = styled_pdf(
        [
            (bold, 20, "The archive"),
            (bold, 14, "1.1 What is free"),
            (plain, 10, "These are the rules, of which there are many more than can be said here."),
            (bold, 10, "1. Redistribution"),
            (plain, 10, "2. To leave the program"),
            (plain, 10, "It is asked whether what was done is to be kept, and then it ends."),
            (bold, 14, "1.2 What is not"),
            (plain, 10, "All that is not free, whatever it is that keeps it from being so."),
        ]
    )
    assert [(kind, level, text) for _, kind, level, text in shown(read(tmp_path, data)) if kind != "text"] == [
        ("title", 1, "The archive"),
        ("title", 2, "1.1 What is free"),
        ("title", 3, "1. Redistribution"),
        ("list", None, "2. To leave the program"),
        ("title", 2, "1.2 What is not"),
    ]


def test_a_paragraph_goes_on_in_the_next_column(tmp_path: Path) -> None:
    def draw(page: canvas.Canvas) -> None:
        for number in range(6):
            page.drawString(60, 660 - 14 * number, f"The pump of the hall is checked each day {number}")
            page.drawString(320, 660 - 14 * number, f"and the valve of the tank is oiled each {number}")

    assert len(texts(tmp_path, drawn(draw))) == 1


def test_a_footnotes_number_stands_in_its_line_and_parts_none(tmp_path: Path) -> None:
    out = io.BytesIO()
    page = canvas.Canvas(out, pagesize=(600, 800))

    def line(y: float, words: str, mark: str, rest: str) -> None:
        text = page.beginText(72, y)
        for size, rise, part in ((10, 0, words), (6, 4, mark), (10, 0, rest)):
            text.setFont("Helvetica", size)
            text.setRise(rise)
            text.textOut(part)
        page.drawText(text)

    line(700, "It can be disabled, which is useful for others", "1", ") at its start.")
    line(660, "", "1", " These are the others.")
    page.showPage()
    page.save()
    assert texts(tmp_path, out.getvalue()) == [
        "It can be disabled, which is useful for others1) at its start.",
        "1 These are the others.",
    ]
