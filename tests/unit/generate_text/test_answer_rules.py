"""The grammar of a whole answer: what comes before it, and the answer held to its form."""

from __future__ import annotations

import json

import llguidance
import pytest

from functions._shared.turns import Marks
from functions.generate_text.answer_rules import whole


@pytest.mark.parametrize("close", ["</think>", "[END OF THE THOUGHT]", "so be it.\n\n"])
@pytest.mark.parametrize("opened", [True, False])
def test_a_thought_may_end_with_whatever_its_template_writes(close: str, opened: bool) -> None:
    marks = Marks("[BEGIN]", close.strip(), close)
    grammar = whole('answer: "yes"', json.dumps, marks, opened, "", False)
    assert llguidance.LLMatcher.validate_grammar(llguidance.grammar_from("lark", grammar), None) == "", grammar
