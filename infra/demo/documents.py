"""Write the demo's handbook as files: `python -m infra.demo.documents --out infra/demo/handbook`.

The same seed gives the same bytes: no file holds the time it was written.
"""

from __future__ import annotations

import argparse
import csv
import io
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from docx import Document
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.text.paragraph import Paragraph
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    PageBreak,
    PageTemplate,
    Spacer,
    Table,
)
from reportlab.platypus import Paragraph as Text

from infra.demo.archive import FOLDER, zipped
from infra.demo.handbook import COMPANY, Handbook, HandbookGrid, Manual, handbook

_WRITTEN = datetime(2024, 1, 1, tzinfo=UTC)

_BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=11, leading=15, spaceAfter=8)
_TITLE = ParagraphStyle("title", fontName="Helvetica-Bold", fontSize=28, leading=34, spaceAfter=20)
_HEADINGS = {
    1: ParagraphStyle("h1", fontName="Helvetica-Bold", fontSize=20, leading=24, spaceAfter=12),
    2: ParagraphStyle("h2", fontName="Helvetica-Bold", fontSize=15, leading=19, spaceAfter=8),
}
_GRID = [("GRID", (0, 0), (-1, -1), 0.5, colors.grey), ("FONTNAME", (0, 0), (-1, 0), "Helvetica-Bold")]


def write(folder: Path, seed: int = 0) -> list[Path]:
    """Write the handbook's files into `folder` and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, render in FILES.items():
        path = folder / name
        path.write_bytes(render(handbook(seed)))
        made.append(path)
    return made


def pdf(manual: Manual) -> bytes:
    """Return a manual as PDF: a page for each section, header, footer and number on every page."""
    story: list[Flowable] = [Spacer(1, 60 * mm), Text(f"{COMPANY}: {manual.title}", _TITLE)]
    for section in manual.sections:
        story += [PageBreak(), Text(section.title, _HEADINGS[section.level])]
        for block in section.blocks:
            if isinstance(block, HandbookGrid):
                rows = [block.columns, *block.rows]
                story += [Spacer(1, 4 * mm), Table(rows, style=_GRID, hAlign="LEFT", colWidths=55 * mm)]
            else:
                story.append(Text(block, _BODY))

    def margins(canvas: Canvas, _: BaseDocTemplate) -> None:
        canvas.setFont("Helvetica", 9)
        canvas.drawString(25 * mm, A4[1] - 15 * mm, f"{COMPANY} · {manual.title}")
        canvas.drawCentredString(A4[0] / 2, 12 * mm, f"Page {canvas.getPageNumber()}")

    out = io.BytesIO()
    frame = Frame(25 * mm, 25 * mm, A4[0] - 50 * mm, A4[1] - 55 * mm)
    document = BaseDocTemplate(out, pagesize=A4, invariant=1, title=manual.title, author=COMPANY)
    document.addPageTemplates(PageTemplate(frames=[frame], onPage=margins))
    document.build(story)
    return out.getvalue()


def docx(manual: Manual) -> bytes:
    """Return a manual as a Word document with styled headings, tables, header, footer and page numbers."""
    document = Document()
    properties = document.core_properties
    properties.title, properties.author, properties.created, properties.modified = (
        manual.title, COMPANY, _WRITTEN, _WRITTEN)  # fmt: skip
    page = document.sections[0]
    page.header.paragraphs[0].text = f"{COMPANY} · {manual.title}"
    _number(page.footer.paragraphs[0])
    document.add_paragraph(f"{COMPANY}: {manual.title}", style="Title")
    for section in manual.sections:
        document.add_heading(section.title, section.level)
        for block in section.blocks:
            if isinstance(block, HandbookGrid):
                table = document.add_table(0, len(block.columns), style="Table Grid")
                for row in (block.columns, *block.rows):
                    for cell, value in zip(table.add_row().cells, row, strict=True):
                        cell.text = value
            else:
                document.add_paragraph(block)
    out = io.BytesIO()
    document.save(out)
    with zipfile.ZipFile(out) as written:  # its members say when they were written
        return zipped((name, written.read(name)) for name in written.namelist())


def _number(paragraph: Paragraph) -> None:
    paragraph.add_run("Page ")
    field = OxmlElement("w:fldSimple")
    field.set(qn("w:instr"), "PAGE")
    paragraph._p.append(field)  # noqa: SLF001 - python-docx has fields in no other way


def markdown(manual: Manual) -> bytes:
    """Return a manual as Markdown."""
    lines = [f"*{COMPANY}: {manual.title}*"]
    for section in manual.sections:
        lines.append(f"{'#' * section.level} {section.title}")
        for block in section.blocks:
            if isinstance(block, HandbookGrid):
                rows = [block.columns, tuple("---" for _ in block.columns), *block.rows]
                lines.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
            else:
                lines.append(block)
    return ("\n\n".join(lines) + "\n").encode()


def plain(manual: Manual) -> bytes:
    """Return a manual as plain text with underlined headings; a table's rows are sentences."""
    lines = [f"{COMPANY}: {manual.title}."]
    for section in manual.sections:
        lines.append(f"{section.title}\n{'=-'[section.level - 1] * len(section.title)}")
        for block in section.blocks:
            lines += _said(block) if isinstance(block, HandbookGrid) else [block]
    return ("\n\n".join(lines) + "\n").encode()


def _said(grid: HandbookGrid) -> Iterator[str]:
    for row in grid.rows:
        yield "; ".join(f"{column.lower()} {value}" for column, value in zip(grid.columns, row, strict=True)) + "."


def table(grid: HandbookGrid) -> bytes:
    """Return a table as CSV."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([grid.columns, *grid.rows])
    return out.getvalue().encode()


FILES: dict[str, Callable[[Handbook], bytes]] = {
    "machines.pdf": lambda book: pdf(book.machines),
    "workshop.docx": lambda book: docx(book.workshop),
    "kitchen.md": lambda book: markdown(book.kitchen),
    "yard.txt": lambda book: plain(book.yard),
    "parts.csv": lambda book: table(book.parts),
}


def main() -> None:
    """Write the files and say how large they are."""
    parser = argparse.ArgumentParser(description="Write the demo's handbook as PDF, DOCX, MD, TXT and CSV.")
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    for path in write(asked.out, asked.seed):
        print(f"{path.name:<16}{path.stat().st_size:>9,} bytes")


if __name__ == "__main__":
    main()
