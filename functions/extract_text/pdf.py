"""PDF through pdfium: each page's text, and its lines with their places; scanned pages through OCR."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pypdfium2 as pdfium
import pypdfium2.raw as raw

from contracts.corpus import Element, Page
from contracts.events.corpus import Problem
from functions.extract_text.core import MAX_CHARACTERS, MAX_PAGES, Extracted, UnreadableError, cleaned, too_complex
from functions.extract_text.layout import Line, Sheet, elements_of
from functions.extract_text.ocr import OcrError, recognised
from functions.extract_text.plain import BULLET
from functions.extract_text.plain import elements_of as plain_elements_of

Ocr = Callable[[int, int, bytes], str]
"""Width, height and grey pixels of a page to its text."""

MAX_OCR_PAGES = 200
_CELL_GAP = 1.0
"""White space between the parts of a line that stand apart, in heights of its font."""
_UNREADABLE = re.compile("[\ufffd\ue000-\uf8ff]")
_MAX_UNREADABLE = 0.3
_DRAWN = 50
"""Shapes on a page without text from which they may be letters."""
_HYPHEN = "\ufffe"
"""What pdfium says for one at a line's end, within a word."""
_OCR_SCALE = 300 / 72
_OCR_PIXELS = 12_000_000
_BOLD = re.compile(rb"bold|black|heavy|semibold|demi", re.I)
_INSTALL = "Install tesseract, so that it is on the worker's PATH, and upload the document again."


@dataclass(slots=True)
class _Reading:
    """What has been read so far."""

    ocr: Ocr | None
    pages: list[Page] = field(default_factory=list)
    sheets: list[Sheet] = field(default_factory=list)
    recognised: list[Element] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    characters: int = 0
    ocr_pages: int = 0

    def problem(self, number: int, code: str, message: str) -> None:
        self.problems.append(Problem(page=number, code=code, message=f"Page {number} {message}"))


def read_pdf(path: Path, ocr: Ocr | None = recognised) -> Extracted:
    """Return the text and elements of a PDF; `ocr` reads pages that are images, None: they are problems."""
    document = _opened(path)
    try:
        if len(document) > MAX_PAGES:
            raise too_complex(f"{MAX_PAGES:,} pages")
        reading = _Reading(ocr)
        for number in range(1, len(document) + 1):
            _read_page(document, number, reading)
            reading.characters += len(reading.pages[-1].text)
            if reading.characters > MAX_CHARACTERS:
                raise too_complex(f"{MAX_CHARACTERS:,} characters")
    finally:
        document.close()
    elements = sorted([*elements_of(reading.sheets), *reading.recognised], key=lambda element: element.span.page)
    return Extracted(tuple(reading.pages), tuple(elements), True, tuple(reading.problems))


def _opened(path: Path) -> Any:
    try:
        return pdfium.PdfDocument(path)
    except pdfium.PdfiumError as error:
        if error.err_code in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY):
            message = "The PDF is protected by a password. Save it without one and upload it again."
            raise UnreadableError("encrypted", message) from error
        message = "The PDF is broken: its structure cannot be read. Open it in a viewer, save it again and upload that."
        raise UnreadableError("broken_document", message) from error


def _read_page(document: Any, number: int, reading: _Reading) -> None:
    try:
        page = document[number - 1]
    except pdfium.PdfiumError:
        reading.pages.append(Page(number=number, text=""))
        reading.problem(number, "unreadable_page", "is broken and was left out. Save the PDF again and upload that.")
        return
    try:
        height = page.get_height()
        text, lines = _text_of(page)
        garbled = len(_UNREADABLE.findall(text)) > _MAX_UNREADABLE * len(text)
        if text.strip() and not garbled:
            reading.pages.append(Page(number=number, text=text))
            reading.sheets.append(Sheet(number, height, lines))
        else:
            seen = _recognised(page, number, reading, garbled) if garbled or _is_drawn(page) else ""
            reading.pages.append(Page(number=number, text=seen))
            reading.recognised += plain_elements_of(seen, number)
    finally:
        page.close()


def _text_of(page: Any) -> tuple[str, list[Line]]:
    """Return a page's text, a line for each of its lines, and where these stand."""
    textpage = page.get_textpage()
    try:
        lines: list[Line] = []
        parts: list[str] = []
        length = at = 0
        for content in textpage.get_text_range(errors="surrogatepass").split("\r\n"):
            text = cleaned(content).rstrip().replace("\n", " ")
            if text.strip():
                lines.append(_line(textpage, content, at, length, text))
                parts.append(text)
                length += len(text) + 1
            at += len(content) + 2 + sum(letter > "\uffff" for letter in content)  # pdfium counts in UTF-16
        return "\n".join(parts), lines
    finally:
        textpage.close()


def _line(textpage: Any, content: str, at: int, start: int, text: str) -> Line:
    """Return the line `text`, whose place in the page's text is `start` and in pdfium's text `at`."""
    mark = BULLET.match(content)  # a bullet's font says nothing of the line's
    first = mark.end() if mark else len(content) - len(content.lstrip())
    last = len(content.rstrip()) - 1
    half = (first + last) // 2
    half += content[half].isspace()  # a space may have been guessed, and has no font then
    begin, middle = _index(textpage, at + first), _index(textpage, at + half)
    box, font = _box(textpage, begin), _box(textpage, middle)
    height = max(box.top - box.bottom, font.top - font.bottom)  # a word may be in another font, which is smaller
    base = _baseline(textpage, begin)
    # pdfium makes one line of two that a hyphen joins
    last_base = _baseline(textpage, _index(textpage, at + last)) if _HYPHEN in content else base
    lefts: list[float] = []
    right = 0.0
    for part_left, part_right in _parts(textpage, begin, len(content) - first):
        if not lefts or part_left - right > _CELL_GAP * height:
            lefts.append(part_left)
        right = part_right
    cells = tuple(lefts) or (box.left,)
    bold = _is_bold(textpage, begin) and _is_bold(textpage, middle)
    return Line(start, start + len(text), text, cells[0], right, base, last_base, height, bold, cells)


def _index(textpage: Any, at: int) -> int:
    """Return the index among pdfium's characters of the one at `at` in its text; 0: it has none."""
    index: int = raw.FPDFText_GetCharIndexFromTextIndex(textpage, at)
    return max(index, 0)


def _box(textpage: Any, index: int) -> Any:
    """Return the place of a character, as large as its font has it; zeros: it has none."""
    box = raw.FS_RECTF()
    raw.FPDFText_GetLooseCharBox(textpage, index, box)
    return box


def _baseline(textpage: Any, index: int) -> float:
    x, y = ctypes.c_double(), ctypes.c_double()
    raw.FPDFText_GetCharOrigin(textpage, index, x, y)
    return y.value


def _is_bold(textpage: Any, index: int) -> bool:
    name = ctypes.create_string_buffer(96)
    raw.FPDFText_GetFontInfo(textpage, index, name, len(name), ctypes.c_int())
    return _BOLD.search(name.value) is not None


def _parts(textpage: Any, index: int, count: int) -> Iterator[tuple[float, float]]:
    """Yield left and right of each part of a line that pdfium keeps together."""
    left, top, right, bottom = (ctypes.c_double() for _ in range(4))
    for part in range(raw.FPDFText_CountRects(textpage, index, count)):
        if raw.FPDFText_GetRect(textpage, part, left, top, right, bottom):
            yield left.value, right.value


def _is_drawn(page: Any) -> bool:
    """Return whether a page without text shows something that may be text."""
    shown = list(islice(page.get_objects([raw.FPDF_PAGEOBJ_IMAGE, raw.FPDF_PAGEOBJ_PATH], max_depth=5), _DRAWN))
    return len(shown) == _DRAWN or any(each.type == raw.FPDF_PAGEOBJ_IMAGE for each in shown)


def _recognised(page: Any, number: int, reading: _Reading, garbled: bool) -> str:
    """Return the text that OCR sees on a page, having noted that it had to look, or why it could not."""
    what = "has text in a font without letters" if garbled else "is an image without text"
    code = "unreadable_page" if garbled else "scanned_page"
    if reading.ocr is None:
        reading.problem(number, code, f"{what}. {_INSTALL}")
        return ""
    if reading.ocr_pages >= MAX_OCR_PAGES:
        reading.problem(
            number, code, f"{what}, and {MAX_OCR_PAGES} pages were read by OCR before it. Split the document."
        )
        return ""
    reading.ocr_pages += 1
    try:
        text = cleaned(reading.ocr(*_pixels(page)))
    except OcrError as error:
        reading.problem(number, code, f"{what}, and OCR failed: {error}")
        return ""
    if text.strip():
        reading.problem(
            number, "ocr_page", f"{what}; it was read by OCR, which makes mistakes. Check what is made of it."
        )
    else:
        reading.problem(number, code, f"{what}, and OCR found none. Scan it again, with more contrast, if it has any.")
    return text.strip()


def _pixels(page: Any) -> tuple[int, int, bytes]:
    width, height = page.get_size()
    scale = min(_OCR_SCALE, (_OCR_PIXELS / max(width * height, 1)) ** 0.5)
    bitmap = page.render(scale=scale, grayscale=True)
    try:
        rows = memoryview(bitmap.buffer).cast("B")
        stride = bitmap.stride
        pixels = b"".join(rows[row * stride : row * stride + bitmap.width] for row in range(bitmap.height))
        return bitmap.width, bitmap.height, pixels
    finally:
        bitmap.close()
