"""Books in EPUB: the pages of the spine in their order, each as a page of HTML; no cover, no table of contents."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from contracts.events.corpus import Problem
from functions.extract_text.core import Extracted, UnreadableError
from functions.extract_text.decode import decoded
from functions.extract_text.draft import DraftPiece, composed
from functions.extract_text.package import Package
from functions.extract_text.partition import partition_text

_FONTS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
_PAGES = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml")


def read_epub(package: Package) -> Extracted:
    """Return the text of a book; UnreadableError where it is protected."""
    if "META-INF/encryption.xml" in package.names:
        methods = [each.get("Algorithm") for each in package.xml("META-INF/encryption.xml").iter("{*}EncryptionMethod")]
        if any(method not in _FONTS for method in methods):
            raise UnreadableError("encrypted", "The book is protected against reading. Upload one without protection.")
    root = next(package.xml("META-INF/container.xml").iter("{*}rootfile")).get("full-path")
    book = package.xml(root)
    items = {item.get("id"): item for item in book.iter("{*}item")}
    problems: list[Problem] = []
    pieces: list[DraftPiece] = []
    for listed in book.iter("{*}itemref"):
        item = items.get(listed.get("idref"))
        if item is None or listed.get("linear") == "no" or not _is_page(item):
            continue
        name = posixpath.normpath(posixpath.join(posixpath.dirname(root), unquote(item.get("href", ""))))
        if name not in package.names:
            message = f"The book has no page {name[-200:]!r}, which it lists. Save it again."
            problems.append(Problem(code="page_missing", message=message))
            continue
        pieces += _page(package.bytes(name))
    return composed(pieces, tuple(problems))


def _is_page(item: Any) -> bool:
    return item.get("media-type") in _PAGES and "nav" not in item.get("properties", "").split()


def _page(data: bytes) -> Iterator[DraftPiece]:
    text, _ = decoded(data)
    return partition_text("html", text)
