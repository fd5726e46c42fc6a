"""PDF through pdfium: each page's text, and its lines with their places; scanned pages through OCR."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pypdfium2 as pdfium
import pypdfium2.raw as raw

from contracts.corpus import Element, Page
from contracts.events.corpus import Problem
from functions.extract_text.core import MAX_CHARACTERS, MAX_PAGES, Extracted, UnreadableError, cleaned, too_complex
from functions.extract_text.layout import laid_out
from functions.extract_text.lines import Sheet, lines_of
from functions.extract_text.ocr import OcrError, recognised
from functions.extract_text.order import ordered
from functions.extract_text.plain import elements_of

Ocr = Callable[[int, int, bytes], str]
"""Width, height and grey pixels of a page to its text."""

MAX_OCR_PAGES = 200
_UNREADABLE = re.compile("[\ufffd\ue000-\uf8ff]")
_MAX_UNREADABLE = 0.3
_DRAWN = 50
"""Shapes on a page without text from which they may be letters."""
_OCR_SCALE = 300 / 72
_OCR_PIXELS = 12_000_000
_INSTALL = "Install tesseract, so that it is on the worker's PATH, and upload the document again."


@dataclass(slots=True)
class _Reading:
    """What has been read so far."""

    ocr: Ocr | None
    pages: list[Page] = field(default_factory=list)
    """Those without text of their own."""
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
            if reading.characters > MAX_CHARACTERS:
                raise too_complex(f"{MAX_CHARACTERS:,} characters")
    finally:
        document.close()
    pages, elements = laid_out(reading.sheets)
    pages = sorted([*pages, *reading.pages], key=lambda page: page.number)
    elements = sorted([*elements, *reading.recognised], key=lambda element: element.span.page)
    return Extracted(tuple(pages), tuple(elements), True, tuple(reading.problems))


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
        lines = ordered(lines_of(page))
        text = "\n".join(line.text for line in lines)
        garbled = len(_UNREADABLE.findall(text)) > _MAX_UNREADABLE * len(text)
        if text and not garbled:
            reading.sheets.append(Sheet(number, _height(page, lines[0].turn), lines))
        else:
            text = _recognised(page, number, reading, garbled) if garbled or _is_drawn(page) else ""
            reading.pages.append(Page(number=number, text=text))
            reading.recognised += elements_of(text, number)
        reading.characters += len(text)
    finally:
        page.close()


def _height(page: Any, turn: int | None) -> float:
    """Return how high a page is once it is turned so that text drawn by `turn` quarters can be read."""
    left, bottom, right, top = page.get_bbox()
    height: float = right - left if turn in (1, 3) else top - bottom
    return height


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
