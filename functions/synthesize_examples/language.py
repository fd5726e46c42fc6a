"""What the extractive rules of one language say of themselves; each is a folder that exports `LANGUAGE`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from functions.synthesize_examples.sentences import Vocabulary

Pair = tuple[str, str]
"""Question and answer, which is words of the sentence."""
Rule = Callable[[str, Vocabulary], Iterator[Pair]]


@dataclass(frozen=True, slots=True)
class Language:
    """The rules of a language, the best kinds first, and what they share."""

    code: str
    """ISO 639-1."""
    rules: tuple[Rule, ...]
    asked: Callable[[str], str | None]
    """Returns a question on one line, or None when it cannot be read alone or is no good sentence."""
    points: re.Pattern[str]
    """An answer that points at other words: `as follows`."""
    narrowing: re.Pattern[str]
    """Words that make a statement narrower than it is without them: `if`, `only`, `usually`."""
    opening: re.Pattern[str]
    """Words before a statement that add nothing to it: `Note that`."""
    begins: re.Pattern[str]
    """A heading that is a question, as that of a list of frequent ones."""
    evades: re.Pattern[str]
    """Words that begin an answer below such a heading that is none: `This question`."""
    cell: Callable[[str, str, str], str]
    """Returns the question for a cell: its column, the column that names the row ("" where the name says it), name."""
