"""Formulas of Word (OMML) as one line of text, the way Word itself writes them in a line."""

from __future__ import annotations

import re
from typing import Any

M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_ONE = re.compile(r"[^\W_]+(?:[.,][^\W_]+)*|\([^()]*\)|\[[^\[\]]*\]")


def linear(node: Any) -> str:
    """Return the text of a formula or a part of it: `(a+b)/2`, `x^2`, `√(y)`."""
    tag = node.tag.removeprefix(M) if isinstance(node.tag, str) else "Pr"
    if tag == "t":
        return node.text or ""
    if tag.endswith("Pr") or tag == "del":
        return ""
    if tag == "f":
        return f"{_grouped(_part(node, 'num'))}/{_grouped(_part(node, 'den'))}"
    if tag in ("sSub", "sSup", "sSubSup", "sPre", "nary"):
        sign = _value(node, "naryPr", "chr", "∫") if tag == "nary" else ""
        marks = _mark("_", _part(node, "sub")) + _mark("^", _part(node, "sup"))
        body = _part(node, "e")
        return f"{sign}{marks} {body}".strip() if tag in ("nary", "sPre") else body + marks
    if tag == "rad":
        degree = _part(node, "deg")
        return f"√({f'{degree}&' if degree else ''}{_part(node, 'e')})"
    if tag == "d":
        begin, end = _value(node, "dPr", "begChr", "("), _value(node, "dPr", "endChr", ")")
        return begin + _value(node, "dPr", "sepChr", "|").join(linear(each) for each in node.findall(f"{M}e")) + end
    if tag in ("limLow", "limUpp"):
        return _part(node, "e") + _mark("_" if tag == "limLow" else "^", _part(node, "lim"))
    if tag == "func":
        return f"{_part(node, 'fName')} {_part(node, 'e')}".strip()
    if tag == "m":
        rows = [" & ".join(linear(each) for each in row.findall(f"{M}e")) for row in node.findall(f"{M}mr")]
        return f"[{'; '.join(rows)}]"
    return "".join(map(linear, node))


def _part(node: Any, name: str) -> str:
    found = node.find(M + name)
    return "" if found is None else linear(found)


def _mark(sign: str, text: str) -> str:
    return sign + _grouped(text) if text else ""


def _grouped(text: str) -> str:
    return text if not text or _ONE.fullmatch(text) else f"({text})"


def _value(node: Any, properties: str, name: str, default: str) -> str:
    found = node.find(f"{M}{properties}/{M}{name}")
    return default if found is None else str(found.get(f"{M}val", default))
