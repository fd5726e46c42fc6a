"""OpenDocument: texts, sheets and slides as LibreOffice shows them, without deleted and hidden text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from contracts.events.corpus import Problem
from functions.extract_text.core import MAX_COLUMNS, Extracted, UnreadableError
from functions.extract_text.draft import DraftPiece, composed
from functions.extract_text.package import Package
from functions.extract_text.xlsx import sheet_pieces

_O = "{urn:oasis:names:tc:opendocument:xmlns:%s:1.0}"
OFFICE, TEXT, TABLE, DRAW = (_O % name for name in ("office", "text", "table", "drawing"))
PRESENTATION, STYLE = (_O % name for name in ("presentation", "style"))
_GONE = frozenset(
    {OFFICE + "annotation", OFFICE + "annotation-end", TEXT + "tracked-changes", TEXT + "note-citation"}
    | {TEXT + name for name in ("hidden-text", "hidden-paragraph", "table-of-content", "sequence-decls", "ruby-text")}
    | {TEXT + name for name in ("variable-decls", "user-field-decls", "bibliography-source", "index-title")}
    | {OFFICE + "forms", OFFICE + "scripts", PRESENTATION + "settings", TABLE + "shapes", OFFICE + "event-listeners"}
)
_FURNITURE = frozenset({"page", "page-number", "header", "footer", "date-time"})
_MANIFEST = "{urn:oasis:names:tc:opendocument:xmlns:manifest:1.0}encryption-data"


def read_odf(package: Package) -> Extracted:
    """Return the text of an OpenDocument text, sheet or presentation."""
    if "META-INF/manifest.xml" in package.names:
        manifest = package.xml("META-INF/manifest.xml")
        if next(manifest.iter(_MANIFEST), None) is not None:
            raise UnreadableError("encrypted", "The document is protected by a password. Save it without one.")
    reader = _OdfReader(package)
    body = package.xml("content.xml").find(OFFICE + "body")
    part = next(each for each in body if isinstance(each.tag, str))
    kind = part.tag.removeprefix(OFFICE)
    pieces = {"spreadsheet": reader.sheets, "presentation": reader.slides, "drawing": reader.slides}
    made = list(pieces.get(kind, reader.blocks)(part))
    problems = []
    if reader.pictures:
        message = f"{reader.pictures} pictures or objects were not read. Write down what they say, if it matters."
        problems.append(Problem(code="unread_picture", message=message))
    return composed(made, tuple(problems), kind in ("presentation", "drawing"))


class _OdfReader:
    def __init__(self, package: Package) -> None:
        self.pictures = 0
        self._waiting: list[DraftPiece] = []
        """Of notes and frames that stand in the paragraph that is read: they come behind it."""
        parts = [package.xml(name) for name in ("styles.xml", "content.xml") if name in package.names]
        styles = [style for part in parts for style in part.iter(STYLE + "style")]
        self._parents = {each.get(STYLE + "name"): each.get(STYLE + "parent-style-name") for each in styles}
        self._hidden = {
            each.get(STYLE + "name")
            for each in styles
            if any(item.get(TEXT + "display") in ("none", "true") for item in each.iter(STYLE + "text-properties"))
        }
        self._shut = {
            each.get(STYLE + "name")
            for each in styles
            if any(
                item.get(PRESENTATION + "visibility") == "hidden" or item.get(TABLE + "display") == "false"
                for item in each
            )
        }

    def _is_hidden(self, style: str | None) -> bool:
        for _ in range(32):
            if style is None:
                return False
            if style in self._hidden:
                return True
            style = self._parents.get(style)
        return False

    def blocks(self, parent: Any, kind: str = "text") -> Iterator[DraftPiece]:
        """Yield paragraphs, headings, list items and rows below an element."""
        for child in parent:
            tag = child.tag
            if not isinstance(tag, str) or tag in _GONE or child.get(TEXT + "display") == "none":
                continue
            if child.get(PRESENTATION + "class") in _FURNITURE:
                continue
            if tag in (TEXT + "h", TEXT + "p"):
                yield from self._paragraph(child, kind)
            elif tag in (TEXT + "list-item", TEXT + "list-header"):
                yield from self.blocks(child, "list")
            elif tag == TABLE + "table":
                cells = list(child.iter(TABLE + "table-cell"))
                if len(cells) == 1 and not any(name.endswith("-repeated") for name in cells[0].attrib):
                    yield from self.blocks(cells[0], kind)  # such a table is a frame
                    continue
                for row in self._rows(child):
                    yield DraftPiece("table", " | ".join(row).rstrip(" |"))
                yield from self._behind()
            elif tag in (DRAW + "image", DRAW + "object", DRAW + "object-ole", DRAW + "plugin"):
                self.pictures += 1
            else:  # sections, lists, frames, indexes
                yield from self.blocks(child, kind)

    def _paragraph(self, source: Any, kind: str) -> Iterator[DraftPiece]:
        text = "" if self._is_hidden(source.get(TEXT + "style-name")) else self._inline(source)
        level = source.get(TEXT + "outline-level", "1")
        if source.tag == TEXT + "h" and kind != "list":
            yield DraftPiece("title", text, int(level) if level.isdecimal() else 1)
        else:
            yield DraftPiece("list" if kind == "list" else "text", text)
        yield from self._behind()

    def _behind(self) -> Iterator[DraftPiece]:
        waiting, self._waiting = self._waiting, []
        yield from waiting

    def _inline(self, parent: Any) -> str:
        """Return the text of a paragraph or a part of it; runs of white space are one space, as the format says."""
        made = [_spaced(parent.text)]
        for child in parent:
            tag = child.tag if isinstance(child.tag, str) else ""
            if tag == TEXT + "s":
                made.append(" " * min(int(child.get(TEXT + "c", "1")), 1000))
            elif tag == TEXT + "tab":
                made.append("\t")
            elif tag == TEXT + "line-break":
                made.append("\n")
            elif tag == TEXT + "note":
                body = child.find(TEXT + "note-body")
                self._waiting += [] if body is None else self._inner(body)
            elif tag.startswith(DRAW):
                self._waiting += self._inner([child])
            elif tag and tag not in _GONE and not self._is_hidden(child.get(TEXT + "style-name")):
                made.append(self._inline(child))
            made.append(_spaced(child.tail))
        return "".join(made)

    def _inner(self, parent: Any) -> list[DraftPiece]:
        waiting, self._waiting = self._waiting, []
        found = list(self.blocks(parent))
        self._waiting = waiting
        return found

    def _rows(self, table: Any) -> Iterator[list[str]]:
        """Yield the cells of each row that is shown, columns that are hidden left out."""
        hidden: set[int] = set()
        at = 0
        for column in table.iter(TABLE + "table-column"):
            count = min(_repeated(column, "columns"), 2 * MAX_COLUMNS)
            if column.get(TABLE + "visibility", "visible") != "visible" and at < 2 * MAX_COLUMNS:
                hidden.update(range(at, at + count))
            at += count
        for row in table.iter(TABLE + "table-row"):
            if next(row.iterancestors(TABLE + "table")) is not table:
                continue
            if row.get(TABLE + "visibility", "visible") != "visible":
                continue
            cells: list[str] = []
            for cell in row:
                if cell.tag not in (TABLE + "table-cell", TABLE + "covered-table-cell"):
                    continue
                text = ""
                if cell.tag == TABLE + "table-cell":
                    text = " ".join(" ".join(piece.text.replace(" | ", " ").split()) for piece in self._inner(cell))
                count = _repeated(cell, "columns")
                cells += [text] * (min(count, MAX_COLUMNS) if text else min(count, 2 * MAX_COLUMNS - len(cells)))
            cells = [cell for number, cell in enumerate(cells) if number not in hidden]
            while cells and not cells[-1]:
                cells.pop()
            for _ in range(min(_repeated(row, "rows"), 1000) if cells else 1):
                yield cells

    def sheets(self, body: Any) -> Iterator[DraftPiece]:
        """Yield the rows of each sheet that is shown, below its name."""
        for sheet in body.iterchildren(TABLE + "table"):
            if sheet.get(TABLE + "style-name") not in self._shut:
                yield from sheet_pieces(sheet.get(TABLE + "name", ""), self._rows(sheet))

    def slides(self, body: Any) -> Iterator[DraftPiece]:
        """Yield the texts of each slide that is shown, its title first, its notes last."""
        for number, slide in enumerate(body.iterchildren(DRAW + "page"), 1):
            if slide.get(DRAW + "style-name") in self._shut:
                continue
            frames = sorted(slide, key=lambda frame: frame.get(PRESENTATION + "class") != "title")
            frames.sort(key=lambda frame: frame.tag == PRESENTATION + "notes")
            for frame in frames:
                title = frame.get(PRESENTATION + "class") == "title"
                for piece in self.blocks([frame]):
                    kind = "title" if title else piece.kind
                    yield DraftPiece(kind, piece.text, 1 if title else piece.level, number)


def _spaced(text: str | None) -> str:
    text = text or ""
    inner = " ".join(text.split())
    return f"{' ' if text[:1].isspace() else ''}{inner}{' ' if inner and text[-1:].isspace() else ''}"


def _repeated(element: Any, what: str) -> int:
    count = element.get(f"{TABLE}number-{what}-repeated", "1")
    return int(count) if count.isdecimal() else 1
