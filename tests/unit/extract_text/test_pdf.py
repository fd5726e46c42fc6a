"""PDF: text with its places, without what repeats; problems page by page."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from contracts.corpus import plain_text
from functions.extract_text import pdf
from functions.extract_text.core import Extracted, UnreadableError
from functions.extract_text.ocr import OcrError
from functions.extract_text.pdf import read_pdf
from tests.unit.extract_text.documents import expected, handbook, lines_pdf, raw_pdf, scanned_pdf, stream


def read(tmp_path: Path, data: bytes, ocr: pdf.Ocr | None = None) -> Extracted:
    """Return what is read of a PDF."""
    path = tmp_path / "document.pdf"
    path.write_bytes(data)
    return read_pdf(path, ocr)


def shown(found: Extracted) -> list[tuple[int, str, int | None, str]]:
    """Return page, kind, level and text at the span of each element."""
    texts = {page.number: page.text for page in found.pages}
    return [
        (each.span.page, each.kind, each.level, plain_text(texts[each.span.page][each.span.start : each.span.end]))
        for each in found.elements
    ]


def test_every_element_of_a_handbook_is_found_at_its_span_and_nothing_else(tmp_path: Path) -> None:
    found = read(tmp_path, handbook(5))
    assert found.paged
    assert [page.number for page in found.pages] == [1, 2, 3, 4, 5]
    assert shown(found) == [(page, *element) for page in range(1, 6) for element in expected(page)]
    assert not found.problems


def test_running_lines_stay_in_the_text_of_the_page(tmp_path: Path) -> None:
    page = read(tmp_path, handbook(3)).pages[1]
    assert "Acme Handbook 2026\n" in page.text
    assert "Page 2 of 3\n" in page.text


def test_spans_are_in_order_and_apart(tmp_path: Path) -> None:
    spans = [element.span for element in read(tmp_path, handbook(3)).elements]
    for one, two in pairwise(spans):
        assert one.page < two.page or one.end <= two.start


def test_chapter_names_beside_page_numbers_are_left_out(tmp_path: Path) -> None:
    import io

    from reportlab.pdfgen import canvas

    out = io.BytesIO()
    page = canvas.Canvas(out, pagesize=(600, 800))
    for number, chapter in enumerate(("Naming", "Naming", "Parsing", "Parsing", "Errors"), 1):
        page.drawString(72, 760, f"Chapter on {chapter} {number + 10}")
        page.drawString(72, 600, f"The {chapter.lower()} of thing {number} is done by hand.")
        page.showPage()
    page.save()
    texts = [text for *_, text in shown(read(tmp_path, out.getvalue()))]
    assert texts == [
        f"The {chapter} of thing {number} is done by hand."
        for number, chapter in enumerate(("naming", "naming", "parsing", "parsing", "errors"), 1)
    ]


def test_the_head_of_a_table_that_goes_on_at_the_top_of_pages_is_no_running_line(tmp_path: Path) -> None:
    import io

    from reportlab.pdfgen import canvas

    out = io.BytesIO()
    page = canvas.Canvas(out, pagesize=(600, 800))
    for number in range(1, 5):
        rows = [("Acme parts", "Issue 7"), ("Part", "Weight", "Store")]
        rows += [(f"P{number}{row}", f"{number + row} kg", f"hall {row}") for row in range(3)]
        for line, row in enumerate(rows):
            for cell, left in zip(row, (72, 300, 450) if line else (72, 400), strict=False):
                page.drawString(left, 775 - 18 * line, cell)
        page.drawString(72, 40, f"Page {number}")
        page.showPage()
    page.save()
    found = shown(read(tmp_path, out.getvalue()))
    assert [text for page, _, _, text in found if page == 2] == [
        "Part | Weight | Store",
        *(f"P2{row} | {2 + row} kg | hall {row}" for row in range(3)),
    ]
    assert {kind for _, kind, _, _ in found} == {"table"}


def test_a_heading_that_counts_with_the_pages_is_no_page_number(tmp_path: Path) -> None:
    data = handbook(4)  # "Operating mode 1" … stands at the top of each page, larger than the text
    assert [text for _, kind, level, text in shown(read(tmp_path, data)) if kind == "title" and level == 1] == [
        f"Operating mode {number}" for number in range(1, 5)
    ]


def test_a_word_with_a_hyphen_at_the_end_of_a_line_is_whole_again(tmp_path: Path) -> None:
    lines = [
        "The operators may change an inter-",
        "val under settings, after which a",
        "restart of the device is needed.",
    ]
    assert shown(read(tmp_path, lines_pdf(lines))) == [
        (
            1,
            "text",
            None,
            "The operators may change an interval under settings, after which a restart of the device is needed.",
        )
    ]


def test_numbered_steps_keep_their_numbers(tmp_path: Path) -> None:
    lines = ["1. Press the button.", "2. Wait for the light, which may take", "a minute.", "3. Open the lid."]
    assert shown(read(tmp_path, lines_pdf(lines))) == [
        (1, "list", None, "1. Press the button."),
        (1, "list", None, "2. Wait for the light, which may take a minute."),
        (1, "list", None, "3. Open the lid."),
    ]


def test_a_scanned_page_is_a_problem_that_says_what_to_install(tmp_path: Path) -> None:
    found = read(tmp_path, scanned_pdf("Hello", "The second page has text."))
    assert shown(found) == [(2, "text", None, "The second page has text.")]
    assert [(problem.page, problem.code) for problem in found.problems] == [(1, "scanned_page")]
    assert "Install tesseract" in found.problems[0].message
    assert found.pages[0].text == ""


def test_a_scanned_page_is_read_by_ocr_and_says_so(tmp_path: Path) -> None:
    sizes = []

    def ocr(width: int, height: int, grey: bytes) -> str:
        sizes.append((width, height))
        assert len(grey) == width * height
        assert min(grey) < 64 < 250 < max(grey)
        return "SAFETY\n\nDisconnect the power\nbefore you open it.\n\x0c"

    found = read(tmp_path, scanned_pdf("Hello", "The second page has text."), ocr)
    assert shown(found) == [
        (1, "title", 1, "SAFETY"),
        (1, "text", None, "Disconnect the power before you open it."),
        (2, "text", None, "The second page has text."),
    ]
    assert [(problem.page, problem.code) for problem in found.problems] == [(1, "ocr_page")]
    assert [(round(width, -1), round(height, -1)) for width, height in sizes] == [(2480, 3510)]  # A4 at 300 dpi


def test_ocr_that_fails_is_a_problem_of_the_page(tmp_path: Path) -> None:
    def ocr(*_: object) -> str:
        raise OcrError("it is broken.")

    found = read(tmp_path, scanned_pdf("Hello", "The second page has text."), ocr)
    assert [(problem.page, problem.code) for problem in found.problems] == [(1, "scanned_page")]
    assert found.problems[0].message.endswith("OCR failed: it is broken.")


def test_ocr_ends_at_its_limit_of_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "MAX_OCR_PAGES", 0)
    found = read(tmp_path, scanned_pdf("Hello", "The second page has text."), lambda *_: "never asked")
    assert found.pages[0].text == ""
    assert [(problem.page, problem.code) for problem in found.problems] == [(1, "scanned_page")]


def test_a_blank_page_is_no_problem(tmp_path: Path) -> None:
    found = read(tmp_path, lines_pdf(["The first page has text."], []))
    assert [page.text for page in found.pages] == ["The first page has text.", ""]
    assert not found.problems


def test_letters_beyond_the_basic_plane_do_not_move_spans(tmp_path: Path) -> None:
    cmap = "1 beginbfchar <41> <D83DDE00> endbfchar"
    data = raw_pdf(
        "<</Type /Catalog /Pages 2 0 R>>",
        "<</Type /Pages /Kids [3 0 R] /Count 1>>",
        "<</Type /Page /Parent 2 0 R /MediaBox [0 0 400 400] /Contents 4 0 R /Resources <</Font <</F 5 0 R>>>>>>",
        stream("BT /F 12 Tf 50 300 Td (AA smile) Tj 0 -14 Td (again and again.) Tj ET"),
        "<</Type /Font /Subtype /Type1 /BaseFont /Helvetica /ToUnicode 6 0 R>>",
        stream(f"begincmap 1 begincodespacerange <00> <FF> endcodespacerange {cmap} endcmap"),
    )
    assert shown(read(tmp_path, data)) == [(1, "text", None, "\U0001f600\U0001f600 smile again and again.")]


def test_a_font_without_letters_makes_a_page_unreadable(tmp_path: Path) -> None:
    pairs = " ".join(f"<{code:02X}> <E0{code:02X}>" for code in range(0x41, 0x5B))
    data = raw_pdf(
        "<</Type /Catalog /Pages 2 0 R>>",
        "<</Type /Pages /Kids [3 0 R] /Count 1>>",
        "<</Type /Page /Parent 2 0 R /MediaBox [0 0 400 400] /Contents 4 0 R /Resources <</Font <</F 5 0 R>>>>>>",
        stream("BT /F 12 Tf 50 300 Td (UNREADABLE) Tj ET"),
        "<</Type /Font /Subtype /Type1 /BaseFont /Helvetica /ToUnicode 6 0 R>>",
        stream(f"begincmap 1 begincodespacerange <00> <FF> endcodespacerange 26 beginbfchar {pairs} endbfchar endcmap"),
    )
    found = read(tmp_path, data)
    assert not found.elements
    assert [(problem.page, problem.code) for problem in found.problems] == [(1, "unreadable_page")]


def test_a_pdf_with_a_password_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="password") as refused:
        read(tmp_path, lines_pdf(["secret"], password="open"))
    assert refused.value.code == "encrypted"


@pytest.mark.parametrize("data", [b"%PDF-1.7\n", b"no PDF at all", handbook(1)[:1000]])
def test_a_broken_pdf_is_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="save it again") as refused:
        read(tmp_path, data)
    assert refused.value.code == "broken_document"


def test_more_pages_than_the_limit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "MAX_PAGES", 2)
    with pytest.raises(UnreadableError, match="2 pages") as refused:
        read(tmp_path, lines_pdf(["a"], ["b"], ["c"]))
    assert refused.value.code == "document_too_complex"


def test_more_characters_than_the_limit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "MAX_CHARACTERS", 20)
    with pytest.raises(UnreadableError, match="20 characters"):
        read(tmp_path, lines_pdf(["more than ten"], ["more than ten"]))
