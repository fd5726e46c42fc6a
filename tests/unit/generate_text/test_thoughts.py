"""What a model thought is told apart from what it answers, whole or as it comes."""

import pytest

from functions._shared.turns import Marks
from functions.generate_text.thoughts import Splitter

THINK = Marks("<think>", "</think>", "\n</think>\n\n")
CHANNELS = Marks("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>", "")


@pytest.mark.parametrize(
    ("lead", "marks", "opened", "text", "thought", "answer"),
    [
        ("", None, False, " Paris", "", " Paris"),
        (" ", None, False, "  Paris x", "", " Paris x"),
        (" ", None, False, "Paris", "", "Paris"),
        ("", THINK, False, "Paris", "", "Paris"),
        ("", THINK, False, "<tool_call>x", "", "<tool_call>x"),
        ("", THINK, False, "<think>\nred, then\n\n</think>\n\nParis", "red, then", "Paris"),
        ("<think>\n\n</think>\n\n", THINK, False, "<think>\n\n</think>\n\nParis", "", "Paris"),
        ("", THINK, True, "red <b>\n</think>\n\nParis </think>", "red <b>", "Paris </think>"),
        ("", THINK, True, "never ends <", "never ends <", ""),
        ("</think>", THINK, False, "</think>Paris", "", "Paris"),
        (
            "<|channel|>final<|message|>",
            CHANNELS,
            False,
            f"{CHANNELS.open}red{CHANNELS.close}Paris",
            "red",
            "Paris",
        ),
        ("<|channel|>final<|message|>", CHANNELS, False, "<|channel|>final<|message|>Paris", "", "Paris"),
        ("", THINK, False, "<thi", "", "<thi"),
        ("", THINK, False, "", "", ""),
    ],
)
@pytest.mark.parametrize("step", [1, 3, 1000])
def test_an_answer_is_taken_apart_however_it_comes(
    lead: str, marks: Marks | None, opened: bool, text: str, thought: str, answer: str, step: int
) -> None:
    splitter = Splitter(lead, marks, opened)
    told = [splitter.add(text[at : at + step]) for at in range(0, len(text), step)] + [splitter.end()]
    assert ("".join(part for part, _ in told), "".join(part for _, part in told)) == (thought, answer)


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_a_thought_ends_where_a_call_has_a_header_of_its_own(step: int) -> None:
    call = " to=look<|message|>{}"
    for text, rest in (
        (f"{CHANNELS.open}red<|end|><|start|>assistant{call}", call),
        (f"{CHANNELS.open}red{CHANNELS.close}Paris", "Paris"),
    ):
        splitter = Splitter("", CHANNELS, False, again="<|end|><|start|>assistant")
        told = [splitter.add(text[at : at + step]) for at in range(0, len(text), step)] + [splitter.end()]
        assert ("".join(part for part, _ in told), "".join(part for _, part in told)) == ("red", rest)
