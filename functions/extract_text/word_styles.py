"""What Word's styles say of a paragraph and a run: hidden or not, a heading of which level, numbered by what."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import Any

from lxml import etree

from functions.extract_text.package import Package

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_HEADING = re.compile(r"(?i)(?:heading [1-9]|title|subtitle)")
_KEPT = ("pStyle", "numPr", "outlineLvl")


def is_on(switch: Any) -> bool:
    """Return whether an element that switches something on does so."""
    return switch.get(W + "val", "true") not in ("0", "false", "off")


class Styles:
    """The styles of a document; `part` and `numbering` are the parts that are handed on, changed where needed."""

    def __init__(self, package: Package, styles: str | None, numbering: str | None) -> None:
        self.part = package.xml(styles) if styles else etree.Element(W + "styles")
        self.numbering = package.xml(numbering) if numbering else None
        self._by_id = {each.get(W + "styleId"): each for each in self.part.iter(W + "style")}
        self._default = next(
            (
                each
                for each in self._by_id.values()
                if each.get(W + "type") == "paragraph" and each.get(W + "default") in ("1", "true", "on")
            ),
            None,
        )
        default = self.part.find(f"{W}docDefaults/{W}rPrDefault/{W}rPr/{W}vanish")
        self._all_hidden = default is not None and is_on(default)
        self._hides: dict[str | None, bool] = {}

    def is_hidden(self, run: Any, paragraph: Any) -> bool:
        """Return whether a run's text is hidden: by itself, or by its style and its paragraph's, which cancel out."""
        own = run.find(f"{W}rPr/{W}vanish")
        if own is not None:
            return is_on(own)
        style = run.find(f"{W}rPr/{W}rStyle")
        hidden = style is not None and self._style_hides(style.get(W + "val"))
        if paragraph is not None:
            hidden ^= self._style_hides(_style_of(paragraph))
        return hidden or self._all_hidden

    def properties(self, paragraph: Any) -> Any:
        """Return the properties of a paragraph that say what it is, a heading under its usual name; None: there are
        none."""
        source = paragraph.find(W + "pPr")
        made = etree.Element(W + "pPr")
        for name in _KEPT:
            found = None if source is None else source.find(W + name)
            if found is not None:
                made.append(deepcopy(found))
        style = _style_of(paragraph)
        level = self._level(made, style)
        if level is not None:
            self._as_heading(made, style, level)
        return made if len(made) else None

    def _chain(self, style: str | None) -> list[Any]:
        """Return a style and those that it is based on."""
        found: list[Any] = []
        each = self._by_id.get(style, self._default if style is None else None)
        while each is not None and each not in found:
            found.append(each)
            based = each.find(W + "basedOn")
            each = None if based is None else self._by_id.get(based.get(W + "val"))
        return found

    def _style_hides(self, style: str | None) -> bool:
        if style not in self._hides:
            said = (each.find(f"{W}rPr/{W}vanish") for each in self._chain(style))
            self._hides[style] = next((is_on(each) for each in said if each is not None), False)
        return self._hides[style]

    def _level(self, own: Any, style: str | None) -> int | None:
        """Return the level, from 0, of a heading whose style does not have a heading's name; None: it is none."""
        chain = self._chain(style)
        name = chain[0].find(W + "name") if chain else None
        if name is not None and _HEADING.fullmatch(name.get(W + "val", "")):
            return None
        said = [own.find(W + "outlineLvl"), *(each.find(f"{W}pPr/{W}outlineLvl") for each in chain)]
        first = next((each.get(W + "val", "9") for each in said if each is not None), "9")
        return int(first) if first.isdecimal() and int(first) < 9 else None

    def _as_heading(self, made: Any, style: str | None, level: int) -> None:
        """Give a heading a style of that name; the number that its own style gave stays with it."""
        if made.find(W + "numPr") is None:
            number = next((each.find(f"{W}pPr/{W}numPr") for each in self._chain(style) if _numbered(each)), None)
            if number is not None:
                made.insert(0, deepcopy(number))
        named = f"Temper{level + 1}"
        if named not in self._by_id:
            added = etree.SubElement(self.part, W + "style", {W + "type": "paragraph", W + "styleId": named})
            etree.SubElement(added, W + "name").set(W + "val", f"heading {level + 1}")
            self._by_id[named] = added
        old = made.find(W + "pStyle")
        if old is not None:
            made.remove(old)
        new = etree.Element(W + "pStyle")
        new.set(W + "val", named)
        made.insert(0, new)


def _numbered(style: Any) -> bool:
    return style.find(f"{W}pPr/{W}numPr") is not None


def _style_of(paragraph: Any) -> str | None:
    style = paragraph.find(f"{W}pPr/{W}pStyle")
    return None if style is None else style.get(W + "val")
