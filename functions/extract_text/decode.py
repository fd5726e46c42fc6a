"""Bytes to text: UTF-8, UTF-16 and UTF-32 by mark or by pattern, what a page declares, Windows-1252 at last."""

from __future__ import annotations

import codecs
import re

from contracts.events.corpus import Problem
from functions.extract_text.core import UnreadableError, cleaned

_MARKS = (  # the mark of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECLARED = re.compile(rb"""<(?:meta|\?xml)[^>]{0,200}?(?:charset|encoding)\s*=\s*["']?\s*([\w.:-]{2,40})""", re.I)
_DECLARABLE = ("iso8859", "cp", "koi8", "mac", "gb", "big5", "euc", "shift_jis")
"""Beginnings of the codecs that pages use; others are slow, no text, or UTF-8, which has failed."""
_PROBE = 4096
MAX_BROKEN = 0.1
"""Share of characters that are none, above which bytes are no text."""


def decoded(data: bytes) -> tuple[str, tuple[Problem, ...]]:
    """Return the text of `data` and what had to be guessed; RefusedError when it is no text."""
    text, problem = _decoded(data)
    text = cleaned(text)
    if text.count("\ufffd") > MAX_BROKEN * len(text):
        raise UnreadableError(
            "broken_document", "The document says that it is text, but it is not. Save it again as UTF-8."
        )
    return text, (problem,) if problem else ()


def _decoded(data: bytes) -> tuple[str, Problem | None]:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, errors="replace"), None
    head = data[:_PROBE]
    for encoding, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2])):
        if len(head) >= 4 and zeros.count(0) > 0.6 * len(zeros) and head.count(0) < 0.6 * len(head):
            return data.decode(encoding, errors="replace"), None
    try:
        return data.decode(), None
    except UnicodeDecodeError as error:
        first = error.start
    encoding = _declared(head) or _western(data)
    message = (
        f"Byte {first + 1} is not UTF-8; the document was read as {encoding}. If letters are wrong, save it as UTF-8."
    )
    return data.decode(encoding, errors="replace"), Problem(code="guessed_encoding", message=message)


def _declared(head: bytes) -> str | None:
    """Return the encoding that an HTML page declares, if pages use it."""
    found = _DECLARED.search(head)
    if found is None:
        return None
    try:
        name = codecs.lookup(found[1].decode("ascii")).name
    except LookupError:
        return None
    return name if name.startswith(_DECLARABLE) else None


def _western(data: bytes) -> str:
    try:
        data.decode("cp1252")
    except UnicodeDecodeError:
        return "latin-1"
    return "cp1252"
