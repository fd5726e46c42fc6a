"""Word's markup as Word shows it: revisions accepted, wrappers opened, fields by their results, hidden text left out.

What comes out is a document of plain paragraphs and tables with their styles and numbering, for any reader.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from lxml import etree

from functions.extract_text.formulas import M, linear
from functions.extract_text.package import Package
from functions.extract_text.symbols import PRIVATE, letter
from functions.extract_text.word_styles import Styles, W, is_on

_MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_XML_SPACE = "{http://www.w3.org/XML/1998/namespace}space"
_GONE = frozenset(W + name for name in (
    "del", "moveFrom", "rPr", "pPr", "tblPr", "trPr", "tcPr", "sdtPr", "sdtEndPr", "smartTagPr",
    "customXmlPr", "rubyPr", "tblPrEx", "tblGrid", "delText", "instrText", "delInstrText", "rt", "sectPr",
    "comment", "footnoteRef", "endnoteRef", "annotationRef",
))  # fmt: skip
_OPENED = frozenset(W + name for name in ("sdt", "sdtContent", "ins", "moveTo", "smartTag", "customXml"))
_BREAKS = {W + "tab": "\t", W + "ptab": "\t", W + "br": "\n", W + "cr": "\n", W + "noBreakHyphen": "-"}
_NOTES = {W + "footnoteReference": "footnotes", W + "endnoteReference": "endnotes"}
_UNREAD = {
    "{http://schemas.openxmlformats.org/drawingml/2006/picture}pic": "picture",
    "{urn:schemas-microsoft-com:vml}imagedata": "picture",
    "{http://schemas.openxmlformats.org/drawingml/2006/chart}chart": "chart",
    "{http://schemas.microsoft.com/office/drawing/2014/chartex}chart": "chart",
    "{urn:schemas-microsoft-com:office:office}OLEObject": "embedded_object",
    W + "altChunk": "embedded_document",
    W + "subDoc": "embedded_document",
}
_DIAGRAM = "{http://schemas.openxmlformats.org/drawingml/2006/diagram}"
_DRAWN = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_DATA = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}dm"


class WordText:
    """Reads the main part of a Word document into `body`, and counts what it cannot read in `unread`."""

    def __init__(self, package: Package, main: str) -> None:
        self.unread: Counter[str] = Counter()
        self._package = package
        self._related = package.related(main)
        by_kind = dict(self._related.values())
        self.styles = Styles(package, by_kind.get("styles"), by_kind.get("numbering"))
        self._notes = {
            (kind, note.get(W + "id")): note
            for kind in _NOTES.values()
            if kind in by_kind
            for note in package.xml(by_kind[kind])
            if note.get(W + "type", "normal") == "normal"
        }
        self._waiting: list[Any] = []
        """Notes referred to and not yet shown."""
        self._fields: list[str] = []
        """Of the fields that are open: `code`, `result`, `dropped`."""
        self._gated = True
        root = package.xml(main)
        found = root.find(W + "body")
        body = root if found is None else found
        self.body = self._story(body)
        if self._fields:  # one that never ends would hide all that follows
            self.unread.clear()
            self._fields, self._gated, self._waiting = [], False, []
            self.body = self._story(body)

    def _story(self, parent: Any) -> list[Any]:
        """Return the blocks of the text itself, each with the notes that it refers to behind it."""
        shown: list[Any] = []
        told: set[int] = set()
        for block in self._blocks(parent):
            shown.append(block)
            while self._waiting:
                note = self._waiting.pop(0)
                if id(note) not in told:
                    told.add(id(note))
                    fields, self._fields = self._fields, []
                    shown += self._blocks(note)
                    self._fields = fields
        return shown

    def _children(self, parent: Any) -> Iterator[Any]:
        """Yield what stands in an element, wrappers opened, without what is deleted."""
        for child in parent:
            tag = child.tag
            if not isinstance(tag, str) or tag in _GONE:
                continue
            if tag == _MC + "AlternateContent":
                chosen = child.find(_MC + "Choice")
                chosen = child.find(_MC + "Fallback") if chosen is None else chosen
                yield from self._children(() if chosen is None else chosen)
            elif tag in _OPENED:
                if not _is_contents(child):
                    yield from self._children(child)
            else:
                yield child

    def _blocks(self, parent: Any) -> Iterator[Any]:
        """Yield paragraphs and tables; what stands in a text box comes behind the paragraph that holds it."""
        before: list[str] = []
        boxes: list[Any] = []
        for child in self._children(parent):
            if child.tag == W + "p":
                before.extend(self._inline(child, child, boxes))
                if _mark_is_gone(child):
                    continue
                yield self._paragraph(child, "".join(before))
            elif child.tag == W + "tbl":
                if before:  # a paragraph cannot go on in a table
                    yield _written("".join(before))
                yield from self._table(child)
            else:  # a formula on a line of its own, a mark, or what is not known
                found = list(self._inline([child], None, boxes))
                before += found
                if not found and not boxes:
                    continue
                yield _written("".join(before))
            yield from boxes
            before, boxes = [], []
        if before:
            yield _written("".join(before))
        yield from boxes

    def _paragraph(self, source: Any, text: str) -> Any:
        made = _written(text)
        properties = self.styles.properties(source)
        if properties is not None:
            made.insert(0, properties)
        return made

    def _inline(self, parent: Any, paragraph: Any, boxes: list[Any], run: Any = None) -> Iterator[str]:
        """Yield the text of a paragraph or of a part of it; text boxes go to `boxes`."""
        for child in self._children(parent):
            tag = child.tag
            if tag == W + "fldChar":
                yield self._field(child)
            elif tag == W + "r":
                yield from self._inline(child, paragraph, boxes, child)
            elif self._is_shown(run, paragraph):
                if tag == W + "txbxContent":
                    boxes += self._blocks(child)
                elif tag == _DIAGRAM + "relIds":
                    boxes += self._diagram(child.get(_DATA, ""))
                elif (text := self._text(child, run)) is not None:
                    yield text
                else:
                    yield from self._inline(child, paragraph, boxes, run)

    def _text(self, child: Any, run: Any) -> str | None:
        """Return what an element without others in it says; None: look into it."""
        tag = child.tag
        if tag == W + "t":
            return self._letters(child.text or "", run)
        if tag in _BREAKS:
            return _BREAKS[tag]
        if tag == W + "sym":
            return self._symbol(child)
        if tag in (M + "oMath", M + "oMathPara"):
            return linear(child)
        if tag in _NOTES:
            note = self._notes.get((_NOTES[tag], child.get(W + "id")))
            self._waiting += [] if note is None else [note]
            return ""
        if tag in _UNREAD:
            self.unread[_UNREAD[tag]] += 1
            return ""
        if tag == "{urn:schemas-microsoft-com:vml}textpath":
            return str(child.get("string", ""))
        return "" if tag == W + "fldSimple" and _is_dropped(child.get(W + "instr", "")) else None

    def _is_shown(self, run: Any, paragraph: Any) -> bool:
        if self._gated and any(state != "result" for state in self._fields):
            return False
        return run is None or not self.styles.is_hidden(run, paragraph)

    def _field(self, mark: Any) -> str:
        """Enter, change or leave a field; return what a field of a form shows that has no result."""
        kind = mark.get(W + "fldCharType")
        if kind == "begin":
            self._fields.append("code")
            box = mark.find(f"{W}ffData/{W}checkBox")
            if box is not None:
                ticked = box.find(W + "checked")
                ticked = box.find(W + "default") if ticked is None else ticked
                return "☒" if ticked is not None and is_on(ticked) else "☐"
            chosen = mark.find(f"{W}ffData/{W}ddList")
            if chosen is not None:
                entries = [each.get(W + "val", "") for each in chosen.findall(W + "listEntry")]
                result = chosen.find(W + "result")
                at = int(result.get(W + "val", "0")) if result is not None else 0
                return entries[at] if 0 <= at < len(entries) else ""
        elif kind == "separate" and self._fields:
            self._fields[-1] = "dropped" if _is_dropped(_code_before(mark)) else "result"
        elif kind == "end" and self._fields:
            self._fields.pop()
        return ""

    def _letters(self, text: str, run: Any) -> str:
        if not any(ord(each) in PRIVATE for each in text):
            return text
        fonts = run.find(f"{W}rPr/{W}rFonts") if run is not None else None
        font = "" if fonts is None else fonts.get(W + "ascii", fonts.get(W + "hAnsi", ""))
        return "".join(self._known(ord(each), font) if ord(each) in PRIVATE else each for each in text)

    def _symbol(self, symbol: Any) -> str:
        try:
            return self._known(int(symbol.get(W + "char", ""), 16), symbol.get(W + "font", ""))
        except ValueError:
            return ""

    def _known(self, code: int, font: str) -> str:
        found = letter(code, font)
        if found is None:
            self.unread["symbol"] += 1
        return found or "\ufffd"

    def _diagram(self, relation: str) -> Iterator[Any]:
        """Yield the texts of a drawing that Word makes of data (SmartArt)."""
        _, part = self._related.get(relation, ("", ""))
        if not part:
            self.unread["chart"] += 1
            return
        for point in self._package.xml(part).iter(_DIAGRAM + "pt"):
            if point.get("type", "node") in ("node", "asst"):
                for paragraph in point.iter(_DRAWN + "p"):
                    yield _written("".join(each.text or "" for each in paragraph.iter(_DRAWN + "t")))

    def _table(self, source: Any) -> list[Any]:
        """Return a table of plain cells; what a table of one cell holds, as such a table is a frame."""
        rows: list[list[list[Any]]] = []
        for row in self._children(source):
            if row.tag != W + "tr" or _has(row, "trPr", "del") or _has(row, "trPr", "hidden"):
                continue
            skipped = row.find(f"{W}trPr/{W}gridBefore")
            indent = 0 if skipped is None else min(int(skipped.get(W + "val", "0")), 63)
            cells: list[list[Any]] = [[] for _ in range(indent)]
            for cell in self._children(row):
                if cell.tag == W + "tc" and not _has(cell, "tcPr", "cellDel"):
                    merged = cell.find(f"{W}tcPr/{W}vMerge")
                    goes_on = merged is not None and merged.get(W + "val", "continue") == "continue"
                    cells.append([] if goes_on else list(self._blocks(cell)))
            if cells:
                rows.append(cells)
        if len(rows) == len(rows[0] if rows else []) == 1:
            return rows[0][0]
        table = etree.Element(W + "tbl")
        for cells in rows:
            line = etree.SubElement(table, W + "tr")
            for blocks in cells:
                cell = etree.SubElement(line, W + "tc")
                cell.extend(blocks)
                cell.append(etree.Element(W + "p"))  # a cell ends with a paragraph
        return [table] if rows else []


def _written(text: str) -> Any:
    """Return a paragraph of this text."""
    paragraph = etree.Element(W + "p")
    run = etree.SubElement(paragraph, W + "r")
    for number, line in enumerate(text.split("\n")):
        if number:
            etree.SubElement(run, W + "br")
        for at, piece in enumerate(line.split("\t")):
            if at:
                etree.SubElement(run, W + "tab")
            written = etree.SubElement(run, W + "t")
            written.set(_XML_SPACE, "preserve")
            written.text = piece
    return paragraph


def _has(element: Any, properties: str, name: str) -> bool:
    found = element.find(f"{W}{properties}/{W}{name}")
    return found is not None and is_on(found)


def _mark_is_gone(paragraph: Any) -> bool:
    """Return whether a paragraph goes on in the next: its end was deleted or moved away, or is hidden."""
    mark = paragraph.find(f"{W}pPr/{W}rPr")
    return mark is not None and any(
        (found := mark.find(W + name)) is not None and is_on(found) for name in ("del", "moveFrom", "vanish")
    )


def _is_dropped(code: str) -> bool:
    """Return whether a field repeats what stands elsewhere: a table of contents."""
    return code.split()[:1] == ["TOC"]


def _is_contents(control: Any) -> bool:
    gallery = control.find(f"{W}sdtPr/{W}docPartObj/{W}docPartGallery")
    return gallery is not None and gallery.get(W + "val") == "Table of Contents"


def _code_before(mark: Any) -> str:
    """Return the code of the field that `mark` parts from its result."""
    code: list[str] = []
    run = mark.getparent()
    while run is not None:
        for each in reversed(run):
            if each.tag == W + "instrText":
                code.append(each.text or "")
            elif each.tag == W + "fldChar" and each.get(W + "fldCharType") == "begin":
                return "".join(reversed(code))
        run = run.getprevious()
    return "".join(reversed(code))
