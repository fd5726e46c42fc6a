"""English."""

from __future__ import annotations

import re

from functions.synthesize_examples.english.grammar import asked
from functions.synthesize_examples.english.rules import RULES
from functions.synthesize_examples.english.tasks import TASKS
from functions.synthesize_examples.language import Language

_PLURAL = re.compile(r"(?<![aeious])s$|(?:[^s]|ss)es$")


def _cell(column: str, key: str, name: str) -> str:
    of = f"{_small(key)} {name}" if key else name
    return f"What {'are' if _PLURAL.search(column.lower()) else 'is'} the {_small(column)} of {of}?"


def _small(column: str) -> str:
    """Return a column's name as inside a sentence: `Unit Price` is `unit price`, `EAN code` stays."""
    words = column.split()
    return " ".join(word if word.isupper() or word[1:] != word[1:].lower() else word.lower() for word in words)


LANGUAGE = Language(
    code="en",
    rules=(*RULES, *TASKS),
    asked=asked,
    points=re.compile(
        r"(?i)\b(?:following|below|above|as follows|here|see|do so|former|latter|(?:next|previous) "
        r"(?:sub)?(?:section|chapter|paragraph|page)|either use it)\b|\bit$|"
        r"\b(?:this|these|those) (?!(?-i:License|Agreement|Policy)|license|document|manual|guide|policy)[a-z]|"
        r"^(?:this|that|these|those|them)\b|\b(?:[Cc]hapter|[Ss]ection|[Aa]ppendix|[Tt]able|[Ff]igure) [\dA-Z]"
    ),
    narrowing=re.compile(
        r"(?i)\b(?:if|only|unless|except|excepting|until|provided that|when|whenever|where|while|as long as|"
        r"otherwise|"
        r"but|without|not|never|cannot|no|may|might|usually|normally|generally|typically|often|sometimes|however|"
        r"in case|because|although|though|instead|alternatively|then|must|should|at least|at most|up to|or)\b"
    ),
    opening=re.compile(
        r"(?:(?:Please |Also )?(?:[Nn]ote|[Bb]e aware|[Rr]emember|[Kk]eep in mind),? that|For example,|For instance,|"
        r"In addition,|Additionally,|Also,|However,|Furthermore,|Moreover,|Finally,|Of course,|In fact,|"
        r"(?:Yes|No)[.,:;](?= [A-Z][a-z])) "
    ),
    begins=re.compile(r"(?:What|Who|Where|When|Why|How|Which|Is|Are|Does|Do|Can|Should|Must|May|Will)\b.+\?"),
    evades=re.compile(r"(?:Th(?:is|at)(?: is an?)?(?: \w+)?|A|The) (?:question|answer)\b|(?:It|This|That) depends\b"),
    cell=_cell,
)
