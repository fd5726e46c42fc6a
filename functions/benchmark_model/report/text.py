"""Text of users for a page: cut, and without what no page can hold; escaping is the template's."""

from __future__ import annotations

import re

_TIED = re.compile(r"(?<=\d) (?=%|points?\b)|(?<=\bn) (?== )|(?<==) (?=\d)|(?<=\d) (?=to [−\d])|(?<=\bto) (?=[−\d])")
MAX_TEXT = 900


def clean(text: str) -> str:
    """Return `text` with control signs and halves of surrogate pairs replaced."""
    return "".join("\N{REPLACEMENT CHARACTER}" if _unfit(ord(sign)) else sign for sign in text.replace("\r\n", "\n"))


def _unfit(code: int) -> bool:
    return (code < 0x20 and code not in (0x09, 0x0A)) or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000


def cut(text: str, limit: int = MAX_TEXT) -> str:
    """Return the beginning of a long text, clean."""
    return clean(text) if len(text) <= limit else f"{clean(text[: limit - 1])}…"


def tied(text: str) -> str:
    """Return a sentence whose lines do not break within `51 %`, `n = 109` or `26 to 48`."""
    return _TIED.sub("\N{NO-BREAK SPACE}", text)
