"""Replies as models send them."""

import json
import time

import pytest

from functions.synthesize_examples.core import Candidate
from functions.synthesize_examples.salvage import read_reply

ROW = {"question": "q", "answer": "a", "quote": "c"}
ONE = json.dumps({"pairs": [ROW]})
PAIR = Candidate("q", "a", "c")


@pytest.mark.parametrize(
    ("reply", "pairs"),
    [
        (ONE, 1),
        (f"Sure!\n```json\n{ONE}\n```\nAnything else?", 1),
        (f"```\n{ONE}", 1),
        (json.dumps([ROW, ROW]), 2),
        (json.dumps(ROW), 1),
        (json.dumps({"questions": [ROW]}), 1),
        (f"[Here it is] {ONE}", 1),
        ('{"pairs": [' + json.dumps(ROW) + ", " + json.dumps(ROW) + ', {"question": "q3", "ans', 2),
        (f"<think>{{bad}} [1, 2]</think>{ONE}", 1),
        (f"I think of {{}} first.</think>\n{ONE}", 1),
        (ONE.replace('"q"', '"q\n"').replace('"a"', '"\ta"'), 1),
        (json.dumps({"pairs": [ROW, {"question": 3}, "x", {"question": "q", "answer": " "}]}), 1),
        (json.dumps({"pairs": [{"question": "q\ud800", "answer": "a", "quote": "c"}]}), 1),
    ],
)
def test_pairs_are_read_from_what_is_nearly_json(reply: str, pairs: int) -> None:
    assert read_reply(reply) == [PAIR] * pairs


def test_no_pairs_are_an_answer_and_no_json_is_none() -> None:
    assert read_reply('{"pairs": []}') == []
    assert read_reply("```json\n[]\n```") == []
    for broken in (
        "",
        "I cannot help with that.",
        "<think>and so on, cut off {",
        '{"pairs": [{"question": "wh',
        "null",
    ):
        assert read_reply(broken) is None


def test_a_pair_without_a_quote_is_kept_for_the_check_to_reject() -> None:
    assert read_reply('{"pairs": [{"question": "q", "answer": "a", "quote": null}]}') == [Candidate("q", "a", "")]


@pytest.mark.parametrize("hostile", ["{" * 10**6, "[" * 10**6, '{"a":' * 3 * 10**5, "<think>" * 10**5, "```" * 10**5])
def test_hostile_replies_cost_bounded_time(hostile: str) -> None:
    began = time.process_time()
    assert read_reply(hostile) is None
    assert time.process_time() - began < 5
