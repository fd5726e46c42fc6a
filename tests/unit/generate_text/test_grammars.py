"""Which tokens may come next is the same however it is computed, and what the grammar says."""

from __future__ import annotations

import pytest

from functions.generate_text import grammars
from functions.generate_text.grammars import Constraint, Vocabulary, ahead

RULES = 'start: "a" ("b" | "cd")* "." | NUMBER\nNUMBER: /[0-9]{1,3}/'
BEGUN = ["", "a", "ab", "ac", "acd", "7", "77"]
TOKENS = [bytes([byte]) for byte in range(256)]
END = 256


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    """Each byte is a token, and one token ends an answer."""
    return Vocabulary([*TOKENS, None], {"<end>": END}, frozenset({END}), spaced=False)


def begun(vocabulary: Vocabulary) -> list[Constraint]:
    held = vocabulary.constraint(RULES)
    found = []
    for text in BEGUN:
        constraint = held()
        for byte in text.encode():
            constraint.took(byte)
        found.append(constraint)
    return found


@pytest.mark.parametrize("from_on", [1, 2**20], ids=["beside", "at once"])
def test_what_may_come_next_is_what_the_grammar_takes(
    vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch, from_on: int
) -> None:
    monkeypatch.setattr(grammars, "_BESIDE", from_on)
    group = begun(vocabulary)
    ahead(group)
    for text, constraint in zip(BEGUN, group, strict=True):
        allowed = {id for id, banned in enumerate(constraint.banned().tolist()) if not banned}
        taken = {id for id in range(256) if constraint.matcher.deep_copy().consume_token(id)}
        ended = {END} if constraint.matcher.is_accepting() else set()
        assert allowed == taken | ended, text
        assert allowed, text
