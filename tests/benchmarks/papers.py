"""PDFs of any length for benchmarks: numbered sections about invented machines, no sentence twice."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator
from random import Random
from typing import Literal

from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from infra.demo.data import MACHINES, TOPICS
from infra.demo.text import capitalised, code, name, phrase

Kind = Literal["text", "mixed"]
FOOTER = "Sorvel Works, equipment report"
_LEFT, _TOP, _BOTTOM = 60, 770, 70
_LEADING, _SIZE = 13.5, 10.5
_LETTERS = 92
"""Of a line across the page."""
_HALF, _HALF_LETTERS = 250, 44
"""Where the second column begins, to the right of the first, and the letters of its lines."""

_Line = tuple[Literal["heading", "text", "bullet", "gap"], str]


def paper(pages: int, seed: int = 0, kind: Kind = "text") -> bytes:
    """Return a PDF of `pages` pages of about 500 words, each with a running line and its number at the bottom.

    `mixed`: in turn a page of plain text, one of two columns and one with a table.
    """
    rng = Random(f"paper/{seed}/{kind}")
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=A4, invariant=1)
    sections = _sections(rng)
    for number in range(1, pages + 1):
        layout = number % 3 if kind == "mixed" else 0
        if layout == 1:
            _column(canvas, sections, _LEFT, _HALF_LETTERS)
            _column(canvas, sections, _LEFT + _HALF, _HALF_LETTERS)
        elif layout == 2:
            height = _table(canvas, rng, _TOP)
            _column(canvas, sections, _LEFT, _LETTERS, height)
        else:
            _column(canvas, sections, _LEFT, _LETTERS)
        canvas.setFont("Helvetica", 8)
        canvas.drawString(_LEFT, 40, FOOTER)
        canvas.drawRightString(A4[0] - _LEFT, 40, f"Page {number}")
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def _sections(rng: Random) -> Iterator[list[_Line]]:
    """Yield sections without end: a heading, paragraphs, a list."""
    number = 0
    while True:
        number += 1
        machine = f"{name(rng, 2)} {rng.choice(MACHINES)}"
        section: list[_Line] = [("heading", f"{number} The {machine}")]
        for _ in range(rng.randint(2, 3)):
            section += [("text", _paragraph(rng, machine, rng.randint(4, 6))), ("gap", "")]
        if rng.random() < 0.4:
            section += [("bullet", _said(rng, machine, topic)) for topic in rng.sample(sorted(TOPICS), 3)]
            section.append(("gap", ""))
        yield section


def _paragraph(rng: Random, machine: str, sentences: int) -> str:
    facts = [_said(rng, machine, topic) for topic in rng.sample(sorted(TOPICS), sentences)]
    filler = f"{capitalised(phrase(rng, 6, 10))} and {phrase(rng, 4, 8)}."
    return " ".join([*facts, filler])


def _said(rng: Random, machine: str, topic: str) -> str:
    return rng.choice(TOPICS[topic].statements).format(M=machine, V=TOPICS[topic].value(rng))


def _column(canvas: Canvas, sections: Iterator[list[_Line]], left: float, letters: int, top: float = _TOP) -> None:
    """Fill a column with whole sections, the last of which is cut off where the page ends."""
    at = top
    while True:
        for kind, said in next(sections):
            if kind == "gap":
                at -= _LEADING * 0.6
                continue
            bold = kind == "heading"
            canvas.setFont("Helvetica-Bold" if bold else "Helvetica", 13 if bold else _SIZE)
            at -= _LEADING * (0.7 if bold else 0)
            marked = f"- {said}" if kind == "bullet" else said
            for line in textwrap.wrap(marked, int(letters * 0.75) if bold else letters, break_on_hyphens=False):
                if at < _BOTTOM:
                    return
                canvas.drawString(left, at, line)
                at -= _LEADING * (1.3 if bold else 1)


def _table(canvas: Canvas, rng: Random, top: float) -> float:
    """Draw a table and return the height below it."""
    rows = [("Part", "Machine", "Weight", "Store")]
    rows += [
        (code(rng), f"{name(rng, 2)} {rng.choice(MACHINES)}", f"{rng.randint(2, 900)} kg", f"hall {rng.randint(1, 99)}")
        for _ in range(12)
    ]
    for number, row in enumerate(rows):
        canvas.setFont("Helvetica" if number else "Helvetica-Bold", _SIZE)
        for column, cell in enumerate(row):
            canvas.drawString(_LEFT + 120 * column, top - 16 * number, cell)
        canvas.line(_LEFT, top - 16 * number - 4, _LEFT + 480, top - 16 * number - 4)
    return top - 16 * len(rows) - 20
