"""Lines of a PDF's page as pdfium reads them, each with its place in the direction in which it is read."""

from __future__ import annotations

import ctypes
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import pypdfium2.raw as raw

from functions.extract_text.core import cleaned
from functions.extract_text.plain import BULLET

_CELL_GAP = 1.0
"""White space between the parts of a line that stand apart, in heights of its font."""
_SHIFT = 0.25
"""Distance of baselines, in heights of the font, from which what stands apart is another line's."""
_HYPHEN = "\ufffe"
"""What pdfium says for one at a line's end, joining the next line to it, whichever that is."""
_BOLD = re.compile(rb"bold|black|heavy|semibold|demi", re.I)
_WORD = re.compile(r"\S+")
_LIGATURES = str.maketrans(
    {0xFB00: "ff", 0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl", 0xFB05: "st", 0xFB06: "st"}
)
_QUARTER = math.pi / 2


class TextCell(NamedTuple):
    """A part of a line that stands apart from its others."""

    left: float
    right: float
    text: str


class Line(NamedTuple):
    """A line of a page, in points from the lower left corner of the page as it is turned to be read."""

    text: str
    """All that it says."""
    cells: tuple[TextCell, ...]
    """Its parts from left to right; a plain line has one."""
    base: float
    """Height of its baseline."""
    height: float
    """Of its font."""
    bold: bool
    turn: int | None = 0
    """Quarters of a turn, against the clock, by which it is drawn; None: it is drawn aslant."""
    start: int = 0
    end: int = 0
    """Characters [start, end) of the page's text."""

    @property
    def left(self) -> float:
        """Where it begins."""
        return self.cells[0].left

    @property
    def right(self) -> float:
        """Where it ends."""
        return self.cells[-1].right

    def of(self, cells: tuple[TextCell, ...]) -> Line:
        """Return the line with other parts."""
        return self._replace(cells=cells, text=_said(cells))


def _said(cells: tuple[TextCell, ...]) -> str:
    return cells[0].text if len(cells) == 1 else " ".join(cell.text for cell in cells)


class Sheet(NamedTuple):
    """A page's lines in reading order."""

    number: int
    height: float
    lines: Sequence[Line]


def aligned(upper: Line, lower: Line) -> int:
    """Return how many parts of a line begin where one of the line below does."""
    return sum(any(abs(a.left - b.left) < 3 for b in lower.cells) for a in upper.cells)


def lines_of(page: Any) -> list[Line]:
    """Return a page's lines in the order in which they are drawn."""
    textpage = page.get_textpage()
    try:
        reader = _Reader(textpage, *_corner_and_size(page))
        lines: list[Line] = []
        at = 0
        for content in textpage.get_text_range(errors="surrogatepass").split("\r\n"):
            parts = content.split(_HYPHEN)
            for number, part in enumerate(parts):
                if part.strip():
                    found = reader.lines(part, at, broken=number + 1 < len(parts))
                    lines += [line for line in found if reader.shows(line)]
                at += len(part) + 1
            at += 1
            if not content.isascii():
                at += sum(letter > "\uffff" for letter in content)  # pdfium counts in UTF-16
        return lines
    finally:
        textpage.close()


def _corner_and_size(page: Any) -> tuple[float, float, float, float]:
    left, bottom, right, top = page.get_bbox()
    return left, bottom, right - left, top - bottom


def _plain(text: str) -> str:
    """Return text as it is written elsewhere: letters in place of ligatures, marks on their letters."""
    text = cleaned(text).strip().replace("\n", " ")
    return text if text.isascii() else unicodedata.normalize("NFC", text.translate(_LIGATURES))


class _Reader:
    """Reads lines out of pdfium's text of a page whose lower left corner and size are given."""

    def __init__(self, textpage: Any, x: float, y: float, width: float, height: float) -> None:
        self._textpage = textpage
        self._x, self._y, self._width, self._height = x, y, width, height
        self._rect = raw.FS_RECTF()
        self._four = tuple(ctypes.c_double() for _ in range(4))
        self._name, self._flags = ctypes.create_string_buffer(96), ctypes.c_int()

    def lines(self, content: str, at: int, broken: bool) -> Iterator[Line]:
        """Yield the lines of `content`, which is at `at` in pdfium's text; it took several for one at times."""
        mark = BULLET.match(content)  # a bullet's font says nothing of the line's
        first = mark.end() if mark else len(content) - len(content.lstrip())
        first = min(first, len(content.rstrip()) - 1)
        last = len(content.rstrip()) - 1
        half = (first + last) // 2
        half += content[half].isspace()  # a space may have been guessed, and has no font then
        begin, middle = self._index(at + first), self._index(at + half)
        angle = raw.FPDFText_GetCharAngle(self._textpage, begin)
        turn = round(-angle / _QUARTER) % 4
        slant = abs((angle + math.pi / 4) % _QUARTER - math.pi / 4)
        box, font = self._box(begin, turn), self._box(middle, turn)
        # a word may be in another font, which is smaller
        height = max(box[3] - box[1], font[3] - font[1])
        bold = self._is_bold(begin) and self._is_bold(middle)
        parts = list(self._parts(begin, len(content) - first, turn))
        gaps = [right[0] - left[1] for left, right in pairwise(parts)]
        if slant > 0.1:
            cells = [(parts[0][0], parts[-1][1], content)] if parts else [(box[0], box[2], content)]
            stretches = [(self._base(begin, turn), cells)]
        elif any(gap > _CELL_GAP * height or gap < -height for gap in gaps):
            stretches = self._stretches(content, first, at, turn, height)
        else:
            left, right = (parts[0][0], max(part[1] for part in parts)) if parts else (box[0], box[2])
            stretches = [(self._base(begin, turn), [(left, right, content)])]
        for number, (base, cells) in enumerate(stretches):
            made = tuple(TextCell(left, right, text) for left, right, content in cells if (text := _plain(content)))
            if made and broken and number + 1 == len(stretches):
                made = (*made[:-1], made[-1]._replace(text=made[-1].text + "-"))
            if made:
                yield Line(_said(made), made, base, height, bold, None if slant > 0.1 else turn)

    def shows(self, line: Line) -> bool:
        """Return whether a line stands on the page, and not beside it where nobody sees it."""
        width, height = self._width, self._height
        if line.turn in (1, 3):
            width, height = height, width
        return line.left < width and line.right > 0 and -1 < line.base < height

    def _stretches(
        self, content: str, first: int, at: int, turn: int, height: float
    ) -> list[tuple[float, list[tuple[float, float, str]]]]:
        """Return baseline and cells of each line in `content`, cut where a word behind `first` stands apart."""
        made: list[tuple[float, list[tuple[float, float, str]]]] = []
        before: tuple[float, float] | None = None
        start, cell_left = 0, 0.0
        for word in _WORD.finditer(content, first):
            index = self._index(at + word.start())
            left, base = self._box(index, turn)[0], self._base(index, turn)
            if before is not None:
                gap, shift = left - before[0], abs(base - before[1])
                if gap > _CELL_GAP * height or gap < -height:
                    made[-1][1].append((cell_left, before[0], content[start : word.start()]))
                    start, cell_left = word.start(), left
                    if gap < -height or shift > _SHIFT * height:
                        made.append((base, []))
            else:
                cell_left = left
                made.append((base, []))
            before = self._box(self._index(at + word.end() - 1), turn)[2], base
        if before is not None:
            made[-1][1].append((cell_left, before[0], content[start:]))
        return made

    def _index(self, at: int) -> int:
        """Return the index among pdfium's characters of the one at `at` in its text; 0: it has none."""
        index: int = raw.FPDFText_GetCharIndexFromTextIndex(self._textpage, at)
        return max(index, 0)

    def _box(self, index: int, turn: int) -> tuple[float, float, float, float]:
        """Return left, bottom, right and top of a character, as large as its font has it; zeros: it has none."""
        box = self._rect
        box.left = box.bottom = box.right = box.top = 0.0
        raw.FPDFText_GetLooseCharBox(self._textpage, index, box)
        return self._turned(box.left, box.bottom, box.right, box.top, turn)

    def _base(self, index: int, turn: int) -> float:
        x, y, *_ = self._four
        raw.FPDFText_GetCharOrigin(self._textpage, index, x, y)
        return self._turned(x.value, y.value, x.value, y.value, turn)[1]

    def _turned(
        self, left: float, bottom: float, right: float, top: float, turn: int
    ) -> tuple[float, float, float, float]:
        """Return a box as it stands once the page is turned so that text drawn by `turn` quarters can be read."""
        left, right, bottom, top = left - self._x, right - self._x, bottom - self._y, top - self._y
        if turn == 0:
            return left, bottom, right, top
        if turn == 1:
            return bottom, self._width - right, top, self._width - left
        if turn == 2:
            return self._width - right, self._height - top, self._width - left, self._height - bottom
        return self._height - top, left, self._height - bottom, right

    def _is_bold(self, index: int) -> bool:
        self._name[0] = b"\0"
        raw.FPDFText_GetFontInfo(self._textpage, index, self._name, 96, self._flags)
        return _BOLD.search(self._name.value) is not None

    def _parts(self, index: int, count: int, turn: int) -> Iterator[tuple[float, float]]:
        """Yield left and right of each part of a line that pdfium keeps together."""
        left, top, right, bottom = self._four
        for part in range(raw.FPDFText_CountRects(self._textpage, index, count)):
            if raw.FPDFText_GetRect(self._textpage, part, left, top, right, bottom):
                box = self._turned(left.value, bottom.value, right.value, top.value, turn)
                yield box[0], box[2]
