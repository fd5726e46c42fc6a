"""RTF by striprtf: its text with tables' rows; what that leaves out is named."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from contracts.events.corpus import Problem
from functions.extract_text.core import Extracted
from functions.extract_text.draft import DraftPiece, composed
from functions.extract_text.plain import BULLET, heading_level

_LEFT_OUT = {
    rb"\\footnote\b": "footnotes",
    rb"\\shptxt\b": "text boxes",
    rb"\\pict\b": "pictures",
    rb"\\objdata\b": "objects of other programs",
}
_TOKEN = re.compile(r"\\([a-z]+)(-?\d*) ?|\\(?:'..|.)|[{}]|[^\\{}]+", re.DOTALL)
_UNSEEN = frozenset({"v", "deleted"})


def read_rtf(data: bytes) -> Extracted:
    """Return the paragraphs and rows of an RTF document."""
    from striprtf.striprtf import rtf_to_text

    reader: Callable[..., str] = rtf_to_text

    left_out = [name for mark, name in _LEFT_OUT.items() if re.search(mark, data)]
    problems = []
    if left_out:
        message = f"The document's {', '.join(left_out)} were not read. Save it as DOCX to have all of its text."
        problems.append(Problem(code="unread_parts", message=message))
    text = reader(_seen(data.decode("latin-1")), errors="replace")
    return composed(_pieces(text), tuple(problems))


def _pieces(text: str) -> Iterator[DraftPiece]:
    for line in text.split("\n"):
        line = line.strip()
        if line.endswith("|"):
            yield DraftPiece("table", " | ".join(" ".join(cell.split()) for cell in line[:-1].split("|")))
        elif BULLET.match(line) or line.startswith(("·", "•")):
            yield DraftPiece("list", line)
        else:
            level = heading_level(line)
            yield DraftPiece("text" if level is None else "title", line, level)


def _seen(source: str) -> str:
    """Return the source without what is hidden or deleted in it."""
    kept: list[str] = []
    unseen: list[frozenset[str]] = [frozenset()]
    for token in _TOKEN.finditer(source):
        word, number = token[1], token[2]
        if token[0] == "{":
            unseen.append(unseen[-1])
        elif token[0] == "}" and len(unseen) > 1:
            unseen.pop()
        elif word in _UNSEEN:
            unseen[-1] = unseen[-1] - {word} if number == "0" else unseen[-1] | {word}
        elif word == "plain":
            unseen[-1] = frozenset()
        elif unseen[-1] and (word is None or word in ("u", "par", "line", "tab", "cell", "row")):
            continue
        kept.append(token[0])
    return "".join(kept)
