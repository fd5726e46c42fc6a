"""PowerPoint presentations: a page for each slide that is shown, its title, texts, tables, charts and notes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lxml import etree

from contracts.events.corpus import Problem
from functions.extract_text.core import Extracted
from functions.extract_text.draft import DraftPiece, composed
from functions.extract_text.package import Package, parser

_MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_DIAGRAM = "{http://schemas.openxmlformats.org/drawingml/2006/diagram}"
_DATA = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}dm"
_LINES = 20
"""Of a slide's height: what stands on one of them is read from left to right."""


def read_pptx(path: Path, package: Package) -> Extracted:
    """Return the slides of a presentation in their order."""
    from pptx import Presentation

    presentation = Presentation(str(path))
    pieces: list[DraftPiece] = []
    height = max(1, (presentation.slide_height or _LINES) // _LINES)
    for number, slide in enumerate(presentation.slides, 1):
        if slide.element.get("show") not in ("0", "false"):
            pieces += (DraftPiece(each.kind, each.text, each.level, number) for each in _slide(slide, height))
    pictures = sum(name.startswith("ppt/media/") for name in package.names)
    message = f"{pictures} pictures, sounds or films were not read. Write down what they say, if it matters."
    return composed(pieces, (Problem(code="unread_picture", message=message),) if pictures else (), True)


def _slide(slide: Any, height: int) -> Iterator[DraftPiece]:
    for either in list(slide.element.iter(_MC + "AlternateContent")):
        chosen = either.find(_MC + "Choice")
        chosen = either.find(_MC + "Fallback") if chosen is None else chosen
        for child in () if chosen is None else list(chosen):
            either.addprevious(child)
        either.getparent().remove(either)
    title = slide.shapes.title
    if title is not None:
        yield DraftPiece("title", _text(title.text_frame), 1)
    for shape in _ordered(slide.shapes, height):
        if title is None or shape.shape_id != title.shape_id:
            yield from _shape(shape, slide, height)
    notes = slide.notes_slide.notes_text_frame if slide.has_notes_slide else None
    if notes is not None:
        for paragraph in notes.paragraphs:
            yield DraftPiece("text", paragraph.text.replace("\v", "\n"))


def _ordered(shapes: Any, height: int) -> list[Any]:
    return sorted(shapes, key=lambda shape: ((shape.top or 0) // height, shape.left or 0))


def _shape(shape: Any, slide: Any, height: int) -> Iterator[DraftPiece]:
    from pptx.enum.shapes import MSO_SHAPE_TYPE, PP_PLACEHOLDER

    named = next(shape.element.iter("{*}cNvPr"), None)
    if named is not None and named.get("hidden") in ("1", "true"):
        return
    kind = shape.placeholder_format.type if shape.is_placeholder else None
    if kind in (PP_PLACEHOLDER.SLIDE_NUMBER, PP_PLACEHOLDER.DATE, PP_PLACEHOLDER.FOOTER, PP_PLACEHOLDER.HEADER):
        return
    if shape.shape_type == MSO_SHAPE_TYPE.GROUP:
        for each in _ordered(shape.shapes, height):
            yield from _shape(each, slide, height)
    elif shape.has_text_frame:
        is_list = kind in (PP_PLACEHOLDER.BODY, PP_PLACEHOLDER.OBJECT) and len(shape.text_frame.paragraphs) > 1
        heading = kind in (PP_PLACEHOLDER.SUBTITLE, PP_PLACEHOLDER.CENTER_TITLE)
        for paragraph in shape.text_frame.paragraphs:
            text = paragraph.text.replace("\v", "\n")
            yield DraftPiece("title" if heading else "list" if is_list else "text", text, 2 if heading else None)
    elif getattr(shape, "has_table", False):
        for row in shape.table.rows:
            cells = [" ".join(cell.text.split()) for cell in row.cells if not cell.is_spanned]
            yield DraftPiece("table", " | ".join(cells).rstrip(" |"))
    elif getattr(shape, "has_chart", False):
        yield from _chart(shape.chart)
    else:
        yield from _diagram(shape, slide)


def _text(frame: Any) -> str:
    return " ".join(frame.text.split())


def _chart(chart: Any) -> Iterator[DraftPiece]:
    """Yield a chart's title and the table behind it."""
    if chart.has_title and chart.chart_title.has_text_frame:
        yield DraftPiece("text", _text(chart.chart_title.text_frame))
    for plot in chart.plots:
        series = list(plot.series)
        yield DraftPiece("table", " | ".join(["", *(each.name for each in series)]))
        for at, category in enumerate(plot.categories):
            values = [each.values[at] if at < len(each.values) else None for each in series]
            shown = ["" if value is None else f"{value:.11g}" for value in values]
            yield DraftPiece("table", " | ".join([str(category), *shown]))


def _diagram(shape: Any, slide: Any) -> Iterator[DraftPiece]:
    """Yield the texts of a drawing that PowerPoint makes of data (SmartArt)."""
    for ids in shape.element.iter(_DIAGRAM + "relIds"):
        root = etree.fromstring(slide.part.related_part(ids.get(_DATA)).blob, parser())
        for point in root.iter(_DIAGRAM + "pt"):
            if point.get("type", "node") in ("node", "asst"):
                for paragraph in point.iter(_A + "p"):
                    yield DraftPiece("list", "".join(each.text or "" for each in paragraph.iter(_A + "t")))
