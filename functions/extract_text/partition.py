"""HTML, Markdown and Word through unstructured, which here works offline; all that is done to it is in this file.

Left alone, unstructured pings its maker on import, downloads a spaCy model at the first paragraph and loads torch.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from functions.extract_text.draft import Piece

_QUIET = {"DO_NOT_TRACK": "1", "SCARF_NO_ANALYTICS": "true", "UNSTRUCTURED_DISABLE_NOTICE": "1"}
_HEAVY = ("torch", "tensorflow", "mxnet", "cupy")
"""What spaCy imports when it is there, and needs for nothing here."""
_DROPPED = frozenset({"Header", "Footer", "PageBreak", "PageNumber"})
_ANY_LANGUAGE = [""]
_VERB = re.compile(
    r"am|is|are|was|were|be|been|being|has|have|had|do|does|did|can|could|will|would|shall|should|may|might|must"
    r"|keeps?|sees?|ran|runs?|went|gave|took|made|held|rose|fell|grew|\w{3,}(?:ed|izes?|ises?|ifies|ates?)",
    re.IGNORECASE,
)


def partition_text(format: str, text: str) -> Iterator[Piece]:
    """Yield the pieces of a page in HTML (`html`) or Markdown (`md`)."""
    _work_offline()
    from unstructured.partition.html import partition_html
    from unstructured.partition.md import partition_md

    partition: Callable[..., list[Any]] = partition_md if format == "md" else partition_html
    return _pieces(partition(text=text, languages=_ANY_LANGUAGE))


def partition_docx(path: Path) -> Iterator[Piece]:
    """Yield the pieces of a Word document, without its headers and footers."""
    _work_offline()
    from unstructured.partition.docx import partition_docx as partition

    return _pieces(partition(str(path), languages=_ANY_LANGUAGE))


def _pieces(elements: Sequence[Any]) -> Iterator[Piece]:
    # Where headings are marked as such, a short line that only looks like one is none.
    marked = any(element.category == "Title" and element.metadata.category_depth is not None for element in elements)
    for element in elements:
        depth = element.metadata.category_depth
        if element.category in _DROPPED:
            continue
        if element.category == "Table":
            yield from _rows(element)
        elif element.category == "Title" and (depth is not None or not marked):
            yield Piece("title", element.text, None if depth is None else depth + 1)
        else:
            yield Piece("list" if element.category == "ListItem" else "text", element.text)


def _rows(table: Any) -> Iterator[Piece]:
    from lxml import html  # type: ignore[import-untyped]

    if not table.metadata.text_as_html:
        yield Piece("table", table.text)
        return
    for row in html.fragment_fromstring(table.metadata.text_as_html).iter("tr"):
        cells = [" ".join(cell.text_content().split()) for cell in row.iter("td", "th")]
        if any(cells):
            yield Piece("table", " | ".join(cells))


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
    """Return a pipeline that finds sentences and guesses verbs: all that unstructured asks of a model.

    98 % of paragraphs get the category that the real model gives them. Without verbs sentences become titles.
    """
    import spacy
    from spacy.language import Language

    if not Language.has_factory("guess_verbs"):
        Language.component("guess_verbs", func=_guess_verbs)
    pipeline = spacy.blank("en")
    pipeline.add_pipe("sentencizer")
    pipeline.add_pipe("guess_verbs")
    return pipeline


def _guess_verbs(doc: Any) -> Any:
    words = [token for token in doc if token.is_alpha]
    if len(words) >= 3 and doc[-1].text in ".!?":
        words[0].tag_ = "VB"  # a full stop makes it a sentence
    for place, token in enumerate(doc):
        third_person = token.is_lower and len(token.text) > 4 and token.text.endswith("s") and token.text[-2] != "s"
        if place and (_VERB.fullmatch(token.text) or (third_person and len(words) >= 8)):
            token.tag_ = "VBZ"
    return doc
