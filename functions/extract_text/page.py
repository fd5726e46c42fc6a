"""Pages of HTML and Markdown, before they are read: without what leads around in them and what is not shown."""

from __future__ import annotations

import re
from typing import Any

_SIGNS = frozenset({"¶", "#", "§", "\N{LINK SYMBOL}", "\N{ANCHOR}", "permalink", "link to this heading"})
"""Texts of the links that tools put behind headings."""
_UNSEEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.I)
_FRONT = re.compile(r"\A\ufeff?(---|\+\+\+)[ \t]*\n(.{0,20000}?)\n(?:\1|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_TITLE = re.compile(r"""(?m)^title\s*[:=]\s*["']?(.{1,300}?)["']?[ \t]*$""")
_ID = re.compile(r"(?m)^([ ]{0,3}#{1,6}[ \t][^\n]*?)[ \t]*\{[#.:][^{}\n]{0,200}\}[ \t]*$")


def html_of(markdown: str) -> str:
    """Return a page of Markdown as HTML; of its front matter the title stays, where the text has no heading first."""
    from markdown import markdown as converted

    front = _FRONT.match(markdown)
    body = markdown[front.end() :] if front else markdown
    title = _TITLE.search(front[2]) if front else None
    if title is not None and not re.match(r"\s*(?:#[ \t]|[^\n]+\n=+[ \t]*\n)", body):
        body = f"# {title[1]}\n\n{body}"
    return str(converted(_ID.sub(r"\1", body), extensions=["tables", "fenced_code"]))


def seen(page: str) -> str:
    """Return a page of HTML without links to its own headings, navigation and what is hidden."""
    from lxml import etree, html

    parser = html.HTMLParser(encoding="utf-8")
    try:
        root = html.document_fromstring(page.encode("utf-8", "replace"), parser)
    except etree.ParserError:  # nothing but comments
        return ""
    for element in list(root.iter("a", "nav", "template")):
        if element.tag != "a" or _is_sign(element):
            _drop(element)
    for element in root.xpath("//*[@hidden or @style or @role='navigation']"):
        if "style" not in element.attrib or "hidden" in element.attrib or _UNSEEN.search(element.get("style")):
            _drop(element)
    return str(html.tostring(root, encoding="unicode"))


def _is_sign(link: Any) -> bool:
    text = "".join(link.itertext()).replace("\ufe0e", "").replace("\ufe0f", "").strip().lower()
    return "#" in link.get("href", "") and text in _SIGNS


def _drop(element: Any) -> None:
    if element.getparent() is not None:
        element.drop_tree()
