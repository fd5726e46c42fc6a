"""A model is trained on the prompt as serving renders it, on the answer, and on where that ends."""

from typing import Any

import pytest

from contracts.manifest import ManifestRef
from contracts.wire.chat import plain
from contracts.wire.completions import ProofRequest
from functions._shared.chat_template import ChatTemplate
from functions._shared.turns import TemplateRefusalError
from functions.generate_text.models import ServedModel
from functions.prepare_job.labels import UnlabelledError
from functions.prepare_job.render import RenderedExample, Template
from tests.unit.prepare_job import kinds, tiny

ASKED = {"role": "user", "content": "What opens gate 7?"}
SAID = {"role": "assistant", "content": "The red key."}
REASONED = {**SAID, "reasoning_content": "Seven is red."}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
CALL = {
    "id": "call_of_look",
    "type": "function",
    "function": {"name": "look", "arguments": '{"zone": "B", "area": "ü"}'},
}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
FOUND = {"role": "tool", "tool_call_id": "call_of_look", "content": 'It is "red".'}


def served(template: str, examples: tuple[RenderedExample, ...]) -> ServedModel:
    """A model as serving has it once it was trained on these examples."""
    tokenizer = tiny.tokenizer(template)
    chat = ChatTemplate(tokenizer, frozenset({tokenizer.eos_token_id}))
    return ServedModel("0" * 64, "0" * 64, None, tokenizer, 512, chat, switches=examples[0].switches)


def learned(template: str, *messages: dict[str, Any], tools: Any = None) -> list[tuple[str, str]]:
    """Return what each example ends with before its first answer, and its answers; serving renders its prompt alike."""
    examples = Template(tiny.tokenizer(template)).examples({"messages": list(messages), "tools": tools})
    model = served(template, examples)
    for example in examples:
        asked = ProofRequest.read(
            {
                "manifest": ManifestRef(key="k", sha256="0" * 64).model_dump(),
                "messages": example.messages,
                "tools": example.tools,
                "expected_ids": [],
                "chat_template_kwargs": dict(example.switches),
            }
        )
        prompt = model.render(asked.chat(), asked.known_tools(), asked.chat_template_kwargs)
        assert prompt.ids == model.encode(example.text[: example.trained[0][0]], special=False)
        assert prompt.reader(None).whole("").content == ""
    return [
        (each.text[: each.trained[0][0]].rpartition("gate 7?")[2], "".join(each.text[a:b] for a, b in each.trained))
        for each in examples
    ]


@pytest.mark.parametrize(
    ("template", "prompt", "answer"),
    [
        (tiny.PLAIN, "<|end|>\n<|assistant|>", "The red key.<|end|>"),
        (tiny.ENDLESS, "<|assistant|>", "The red key.<|end|>"),
        (tiny.OPENING, "<|end|>\n<|assistant|><think></think>", "The red key.<|end|>"),
        (kinds.OPENS, "<|assistant|><think>\n\n</think>\n\n", "The red key.<|end|>"),
        (kinds.SWITCHED, "<|end|>\n<|assistant|><think>\n</think>\n\n", "The red key.<|end|>"),
        (kinds.ASKED_FOR, "<|assistant|></think>", "The red key.<|end|>"),
        (kinds.EMPTY, "<|end|><|assistant|>", "<think></think>The red key.<|end|>"),
        (kinds.CHANNELS, "<|pad|><|assistant|>", "[final]The red key.<|end|>"),
        (kinds.WORDS, "\n\n### End\n### Assistant:\n", "The red key.\n\n### End"),
        (kinds.OPEN_END, "\nassistant: ", "The red key.<|end|>"),
        (kinds.PARTS, "<|end|><|assistant|>", "The red key.<|end|>"),
        (kinds.LAST, "[/ASK]", "The red key.<|end|>"),
        (kinds.LISTS, "<|end|><|assistant|>", "The red key.<|end|>"),
        (kinds.VARIABLE, "<|end|><|assistant|>", "The red key.<|end|>"),
    ],
)
def test_an_answer_is_trained_behind_the_prompt_that_asks_for_it(template: str, prompt: str, answer: str) -> None:
    assert learned(template, ASKED, SAID) == [(prompt, answer)]


@pytest.mark.parametrize(
    ("template", "prompt", "answer"),
    [
        (kinds.OPENS, "<|assistant|><think>\n", "Seven is red.\n</think>\n\nThe red key.<|end|>"),
        (kinds.SWITCHED, "<|end|>\n<|assistant|><think>\n", "Seven is red.\n</think>\n\nThe red key.<|end|>"),
        (kinds.ASKED_FOR, "<|assistant|><think>", "Seven is red.</think>The red key.<|end|>"),
        (kinds.EMPTY, "<|end|><|assistant|>", "<think>Seven is red.</think>The red key.<|end|>"),
        (
            kinds.CHANNELS,
            "<|pad|><|assistant|>",
            "[analysis]Seven is red.<|pad|><|assistant|>[final]The red key.<|end|>",
        ),
        (kinds.BEFORE_CALLS, "<|end|><|assistant|>", "[thought]\nSeven is red.[done]The red key.<|end|>"),
    ],
)
def test_what_was_thought_is_trained_as_the_template_shows_it_and_served_apart(
    template: str, prompt: str, answer: str
) -> None:
    assert learned(template, ASKED, REASONED) == [(prompt, answer)]
    inline = {**SAID, "content": "<think>Seven is red.</think>\n\nThe red key."}
    assert learned(template, ASKED, inline) == [(prompt, answer)]
    examples = Template(tiny.tokenizer(template)).examples({"messages": [ASKED, REASONED]})
    model = served(template, examples)
    said = model.decode(model.encode(answer.removesuffix("<|end|>"), special=False))
    told = model.render([ASKED], None).reader(None).whole(said)
    assert (told.thought, told.content) == ("Seven is red.", "The red key.")


def test_reasoning_is_refused_where_the_template_shows_none() -> None:
    with pytest.raises(UnlabelledError, match="does not show before") as caught:
        learned(tiny.PLAIN, ASKED, REASONED)
    assert caught.value.code == "reasoning_unsupported"


def test_a_chat_is_one_example_where_history_stays_and_several_where_it_is_rewritten() -> None:
    more = ({"role": "user", "content": "And 8?"}, {"role": "assistant", "content": "The blue key."})
    assert [answer for _, answer in learned(tiny.PLAIN, ASKED, SAID, *more)] == [
        "The red key.<|end|>The blue key.<|end|>"
    ]
    assert len(learned(kinds.SWITCHED, ASKED, SAID, *more)) == 2
    assert len(learned(kinds.CHANNELS, ASKED, SAID, *more)) == 2
    assert len(learned(kinds.OPEN_END, ASKED, SAID, *more)) == 2


def test_a_role_that_the_template_does_not_know_speaks_by_one_that_it_knows() -> None:
    system, developer = {"role": "system", "content": "Be brief."}, {"role": "developer", "content": "Be brief."}
    for template in (tiny.PLAIN, kinds.FOLDING, kinds.PARTS, kinds.LAST):
        texts = [
            Template(tiny.tokenizer(template)).examples({"messages": [each, ASKED, SAID]})[0].text
            for each in (system, developer)
        ]
        assert texts[0] == texts[1]
        assert "Be brief." in texts[0]
        assert learned(template, developer, ASKED, SAID)
    twice = Template(tiny.tokenizer(kinds.FOLDING)).examples({"messages": [ASKED, {**ASKED, "content": "7?"}, SAID]})
    assert "What opens gate 7?\n\n7?" in twice[0].text


@pytest.mark.parametrize(
    ("template", "call"),
    [
        (tiny.TOOLS, 'call look {"zone": "B", "area": "ü"}<|end|>'),
        (kinds.LISTS, 'look{"zone": "B", "area": "ü"}<|end|>'),
        (kinds.TEXT_CALLS, 'look{"zone": "B", "area": "ü"}5d17a41de<|end|>'),
    ],
)
def test_calls_have_the_form_that_the_template_wants_and_the_rows_own_order(template: str, call: str) -> None:
    said = learned(template, ASKED, CALLED, FOUND, SAID, tools=[TOOL])
    answers = "".join(answer for _, answer in said)
    assert answers.startswith(call.partition("}")[0])
    assert answers.endswith("The red key.<|end|>")


def test_tools_in_a_variable_of_the_templates_own_are_shown() -> None:
    examples = Template(tiny.tokenizer(kinds.VARIABLE), day="2026-11-27").examples(
        {"messages": [ASKED, SAID], "tools": [TOOL]}
    )
    assert '"name": "look"' in examples[0].text
    assert "Today is 2026-11-27." in examples[0].text


def test_the_day_that_a_template_shows_is_the_one_that_it_was_trained_on() -> None:
    examples = Template(tiny.tokenizer(kinds.DATED), day="2020-02-29").examples({"messages": [ASKED, SAID]})
    assert examples[0].text.startswith("<|system|>29 Feb 2020<|end|>")
    assert (
        served(kinds.DATED, examples).render([ASKED], None).ids[:12]
        == served(kinds.DATED, examples).encode(examples[0].text, special=False)[:12]
    )


def test_switches_that_the_job_names_are_those_of_all_its_rows() -> None:
    template = Template(tiny.tokenizer(kinds.SWITCHED), switches={"enable_thinking": True})
    (example,) = template.examples({"messages": [ASKED, SAID]})
    assert example.text.endswith("<|assistant|><think>\n\n</think>\n\nThe red key.<|end|>")
    assert example.text[: example.trained[0][0]].endswith("<think>\n")


def test_where_a_turn_ends_serving_stops() -> None:
    words = ChatTemplate(tiny.tokenizer(kinds.WORDS), frozenset())
    assert (words.stops.ids, words.stops.texts) == (frozenset(), ("\n\n### End",))
    tokenizer = tiny.tokenizer(tiny.PLAIN, eos_token=None)
    assert ChatTemplate(tokenizer, frozenset()).stops.ids == {tokenizer.convert_tokens_to_ids(tiny.END)}
    with pytest.raises(TemplateRefusalError, match="never learn to end"):
        ChatTemplate(tiny.tokenizer(tiny.ENDLESS, eos_token=None), frozenset()).turn(plain([ASKED, SAID]), None, {})


def test_a_template_for_tools_is_taken_where_there_are_tools() -> None:
    tokenizer = tiny.tokenizer(tiny.PLAIN)
    tokenizer.chat_template = {"default": tiny.PLAIN, "tool_use": tiny.TOOLS}
    template = Template(tokenizer)
    assert template.source == tiny.PLAIN
    (with_tools,) = template.examples({"messages": [ASKED, SAID], "tools": [TOOL]})
    (without,) = template.examples({"messages": [ASKED, SAID]})
    assert "look" in with_tools.text
    assert without.text.endswith("<|end|>\n<|assistant|>The red key.<|end|>")


@pytest.mark.parametrize("change", ["tojson", "escape", "trim", "replace(' ', '  ')"])
def test_what_a_template_escapes_or_trims_is_not_lost(change: str) -> None:
    template = tiny.PLAIN.replace("m.content", f"(m.content if m.role == 'assistant' else (m.content | {change}))")
    if "replace" in change:
        template = tiny.PLAIN.replace("m.content", "m.content.replace(' ', '  ')")
    said = {"role": "user", "content": ' A <b> "quoted" ü line,\nand one more: gate 7? '}
    assert Template(tiny.tokenizer(template)).examples({"messages": [said, SAID]})
