"""HTML, Markdown and Word through unstructured, which here works offline; all that is done to it is in this file.

Left alone, unstructured pings its maker on import, downloads a spaCy model at the first paragraph and loads torch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import IO, Any

from functions.extract_text.draft import DraftPiece
from functions.extract_text.page import html_of, seen

_QUIET = {"DO_NOT_TRACK": "1", "SCARF_NO_ANALYTICS": "true", "UNSTRUCTURED_DISABLE_NOTICE": "1"}
_HEAVY = ("torch", "tensorflow", "mxnet", "cupy")
"""What spaCy imports when it is there, and needs for nothing here."""
_DROPPED = frozenset({"Header", "Footer", "PageBreak", "PageNumber"})
_ANY_LANGUAGE = [""]


def partition_text(format: str, text: str) -> Iterator[DraftPiece]:
    """Yield the pieces of a page in HTML (`html`) or Markdown (`md`)."""
    _work_offline()
    from unstructured.partition.html import partition_html

    page = seen(html_of(text) if format == "md" else text)
    return _pieces(partition_html(text=page, languages=_ANY_LANGUAGE))


def partition_docx(file: IO[bytes]) -> Iterator[DraftPiece]:
    """Yield the pieces of a Word document, without its headers and footers."""
    _work_offline()
    from unstructured.partition.docx import partition_docx as partition

    return _pieces(partition(file=file, languages=_ANY_LANGUAGE))


def import_all() -> None:
    """Import whatever the formats of this file need; each does so by itself when it is read."""
    _work_offline()
    from unstructured.nlp import tokenize
    from unstructured.partition import docx, html  # noqa: F401  to be there before children are forked

    tokenize._get_nlp()  # noqa: SLF001


def _pieces(elements: Sequence[Any]) -> Iterator[DraftPiece]:
    for element in elements:
        depth = element.metadata.category_depth
        if element.category in _DROPPED:
            continue
        if element.category == "Table":
            yield from _rows(element)
        elif element.category == "Title":
            yield DraftPiece("title", element.text, None if depth is None else depth + 1)
        else:
            yield DraftPiece("list" if element.category == "ListItem" else "text", element.text)


def _rows(table: Any) -> Iterator[DraftPiece]:
    from lxml import html

    if not table.metadata.text_as_html:
        yield DraftPiece("table", table.text)
        return
    for row in html.fragment_fromstring(table.metadata.text_as_html).iter("tr"):
        cells = [" ".join(cell.text_content().split()) for cell in row.iter("td", "th")]
        if any(cells):
            yield DraftPiece("table", " | ".join(cells).rstrip(" |"))


def _work_offline() -> None:
    """Import unstructured without telemetry and torch, and give it rules in place of the model it would download."""
    os.environ.update(_QUIET)  # is read on import
    hidden = [name for name in _HEAVY if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: importing it is an ImportError
    try:
        from unstructured.nlp import tokenize
    finally:
        for name in hidden:
            del sys.modules[name]
    if tokenize._load_spacy_model is not _rules:  # noqa: SLF001  no public way to bring a model of one's own
        tokenize._load_spacy_model = _rules  # noqa: SLF001
        tokenize._get_nlp.cache_clear()  # noqa: SLF001


def _rules() -> Any:
    """Return a pipeline that finds words and sentences, all that is needed here.

    Its verbs would tell a narrative from other text, which is one kind to us: headings, lists and tables are marked
    as such in these formats.
    """
    import spacy

    pipeline = spacy.blank("en")
    pipeline.add_pipe("sentencizer")
    return pipeline
