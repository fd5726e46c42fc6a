"""Rows become tokens and labels by the model's own tokenizer and template, or are refused with a reason."""

import json
from pathlib import Path
from typing import Any

import pytest

from contracts.canonical import sha256
from functions.prepare_job.tokenise import FailedError, Tokeniser, Tokens
from tests.unit.prepare_job import kinds, tiny

Turn = tuple[str, str]
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
TOOL = {"type": "function", "function": {"name": "add"}}
OTHER = {"type": "function", "function": {"name": "subtract"}}


def row(*turns: Turn, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns], "line": 7, **more}


CHAT = row(("system", "be brief"), ("user", "Ünï?"), ("assistant", "yo"), ("user", "so"), ("assistant", "ok"))


def made(folder: Path, template: str = tiny.PLAIN, **more: Any) -> Tokeniser:
    keys = ("overlong", "context", "template_sha256")
    spec = {
        "model_dir": str(folder),
        "base_name": "tiny",
        "context": 512,
        "base_context": 512,
        "overlong": "fail",
        "template_sha256": sha256(template.encode()),
        "created": {},
        "day": "2026-11-27",
        "row_shapes": {"training_file": "chat"},
        **{key: more.pop(key) for key in keys if key in more},
    }
    tiny.tokenizer(template, **more).save_pretrained(folder)
    return Tokeniser(spec)


def tokens(tokeniser: Tokeniser, folder: Path, *rows: dict[str, Any]) -> Tokens:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return tokeniser.file(path, "training_file")


def learned(tokeniser: Tokeniser, found: Tokens) -> str:
    ids = [token for token, bit in zip(found.ids, found.mask, strict=True) if bit]
    return str(tokeniser.tokenizer.decode(ids))


@pytest.mark.parametrize("template", [tiny.PLAIN, tiny.MARKED])
def test_labels_are_the_answers_and_their_ends(template: str, tmp_path: Path) -> None:
    tokeniser = made(tmp_path, template)
    found = tokens(tokeniser, tmp_path, CHAT)
    assert learned(tokeniser, found) == "yo<|end|>ok<|end|>"
    whole = tokeniser.tokenizer.apply_chat_template(CHAT["messages"], tokenize=False).rstrip("\n")
    assert tokeniser.tokenizer.decode(list(found.ids)) == whole


@pytest.mark.parametrize("template", [tiny.PLAIN, tiny.MARKED])
def test_a_base_that_pads_with_its_end_of_turn_learns_to_end(template: str, tmp_path: Path) -> None:
    tokeniser = made(tmp_path, template, pad_token=tiny.END)
    assert tokeniser.tokenizer.pad_token_id in tokeniser.template.chat.stops.ids
    assert learned(tokeniser, tokens(tokeniser, tmp_path, CHAT)) == "yo<|end|>ok<|end|>"


def test_a_turn_of_weight_0_is_read_but_not_learned(tmp_path: Path) -> None:
    tokeniser = made(tmp_path)
    weighed = json.loads(json.dumps(CHAT))
    weighed["messages"][2]["weight"] = 0
    found = tokens(tokeniser, tmp_path, weighed)
    assert learned(tokeniser, found) == "ok<|end|>"
    assert found.probes[found.switches]["messages"] == weighed["messages"][:4]


def test_a_template_that_rewrites_history_makes_an_example_of_every_turn(tmp_path: Path) -> None:
    tokeniser = made(tmp_path, tiny.THINKING)
    found = tokens(tokeniser, tmp_path, CHAT)
    assert learned(tokeniser, found) == "<think></think>yo<|end|><think></think>ok<|end|>"
    counted = found.counts()
    assert (counted["rows"], counted["examples"], counted["rows_per_epoch"]) == (1, 2, 2)


def test_the_probe_is_the_first_prompt_as_serving_renders_it(tmp_path: Path) -> None:
    tokeniser = made(tmp_path)
    found = tokens(tokeniser, tmp_path, CHAT)
    probe = found.probes[found.switches]
    assert probe["messages"] == CHAT["messages"][:2]
    expected = tokeniser.tokenizer.apply_chat_template(
        CHAT["messages"][:2], add_generation_prompt=True, return_dict=False
    )
    assert probe["prompt_ids"] == expected


def test_tools_and_calls_are_shown_to_a_template_that_knows_them(tmp_path: Path) -> None:
    tokeniser = made(tmp_path, tiny.TOOLS)
    called = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    result = {"role": "tool", "content": "2", "tool_call_id": "c1"}
    chat = [{"role": "user", "content": "1+1"}, called, result, {"role": "assistant", "content": "two"}]
    found = tokens(tokeniser, tmp_path, {"messages": chat, "tools": [TOOL], "line": 1})
    assert learned(tokeniser, found) == 'call add {"a": 1}<|end|>two<|end|>'


@pytest.mark.parametrize("template", [tiny.PLAIN, tiny.NO_SYSTEM, tiny.DEAF])
def test_tools_and_calls_stand_in_the_text_where_a_template_has_no_place_for_them(
    template: str, tmp_path: Path
) -> None:
    tokeniser = made(tmp_path, template)
    called = {"role": "assistant", "content": "Hm.", "tool_calls": [CALL]}
    result = {"role": "tool", "content": "zqtwo", "tool_call_id": "c1"}
    chat = [{"role": "user", "content": "1+1"}, called, result, {"role": "assistant", "content": "two"}]
    found = tokens(tokeniser, tmp_path, {"messages": chat, "tools": [TOOL], "line": 1})
    call = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
    assert learned(tokeniser, found) == f"Hm.\n{call}<|end|>two<|end|>"
    whole = tokeniser.tokenizer.decode(list(found.ids))
    assert whole.index('{"name": "add"}') < whole.index("1+1") < whole.index("zqtwo")


SAID = (("user", "q"), ("assistant", "a"))
LONG = row(("user", "x" * 600), ("assistant", "y"))


@pytest.mark.parametrize(
    ("template", "bad", "code", "text"),
    [
        (tiny.FORGETFUL, row(*SAID, tools=[TOOL, OTHER]), "tools_unsupported", "does not show all of them"),
        (tiny.STRICT, row(*SAID), "template_failed", "Not today"),
        (tiny.UPPER, row(*SAID), "message_left_out", "message 1 (role user)"),
        (
            tiny.PLAIN.replace("m.content", "m.content + m.x.y"),
            row(*SAID),
            "template_failed",
            "cannot show such a chat",
        ),
        (tiny.BACKWARDS, row(*SAID), "template_unsupported", "the answer cannot be found"),
        (tiny.PLAIN, row(("user", "a<|end|>b"), ("assistant", "x")), "special_token", "'<|end|>'"),
        (tiny.PLAIN, row(("assistant", "hello"), *SAID), "no_prompt", "weight 0"),
        (tiny.PLAIN, LONG, "row_too_long", "606 tokens, but the context of tiny is 512"),
    ],
)
def test_a_row_that_cannot_be_trained_on_is_named(
    template: str, bad: dict[str, Any], code: str, text: str, tmp_path: Path
) -> None:
    with pytest.raises(FailedError) as caught:
        tokens(made(tmp_path, template), tmp_path, bad)
    fail = caught.value.fail
    assert (fail.code, fail.param) == (code, "training_file")
    assert fail.message.startswith("The job failed due to an invalid training file. Example ")
    assert text in fail.message


def test_a_base_with_another_template_than_registered_is_named(tmp_path: Path) -> None:
    with pytest.raises(FailedError) as caught:
        made(tmp_path, template_sha256="0" * 64)
    assert (caught.value.fail.code, caught.value.fail.param) == ("template_mismatch", "model")


def test_long_rows_are_dropped_and_counted_on_request(tmp_path: Path) -> None:
    found = tokens(made(tmp_path, overlong="drop"), tmp_path, LONG, CHAT)
    assert (found.dropped, found.truncated, len(found.lengths)) == (1, 0, 1)


def test_rows_that_are_variants_of_each_other_have_one_number(tmp_path: Path) -> None:
    rows = [{**CHAT, "variant_of": of} if of else CHAT for of in ("a", None, "b", "a", None, "b", "c")]
    found = tokens(made(tmp_path), tmp_path, *rows)
    assert list(found.groups) == [0, 1, 2, 0, 3, 2, 4]
    assert (found.counts()["rows"], found.counts()["rows_per_epoch"]) == (7, 5)


def test_variants_of_a_row_that_is_several_examples_take_turns_example_by_example(tmp_path: Path) -> None:
    rows = [{**CHAT, "variant_of": of} for of in ("a", "b", "a")]
    found = tokens(made(tmp_path, tiny.THINKING), tmp_path, *rows)
    assert list(found.groups) == [0, 1, 2, 3, 0, 1]
    counted = found.counts()
    assert (counted["rows"], counted["examples"], counted["rows_per_epoch"]) == (3, 6, 4)


def test_a_token_that_reaches_from_a_prompt_into_its_answer_is_cut_there(tmp_path: Path) -> None:
    tokeniser = made(tmp_path, kinds.OPEN_END, merge="Ġy")
    found = tokens(tokeniser, tmp_path, CHAT)
    assert learned(tokeniser, found) == "yo<|end|>ok<|end|>"
    encode = tokeniser.tokenizer.encode
    prompt = encode("system: be brief\nuser: Ünï?\nassistant: ")
    assert encode("assistant: yo") != [*encode("assistant: "), *encode("yo")]
    assert list(found.ids[: len(prompt) + 3]) == [*prompt, *encode("yo<|end|>")]


def test_what_most_rows_are_asked_with_is_how_the_tuned_model_is_asked(tmp_path: Path) -> None:
    reasoned = {"role": "assistant", "content": "yo", "reasoning_content": "so it is"}
    thinks = {"messages": [CHAT["messages"][1], reasoned], "line": 1}
    found = tokens(made(tmp_path, kinds.SWITCHED), tmp_path, thinks, row(*SAID), row(*SAID))
    assert json.loads(found.switches) == {"enable_thinking": False}
    assert found.probes[found.switches]["messages"] == row(*SAID)["messages"][:1]
    assert json.loads(tokens(made(tmp_path, kinds.SWITCHED), tmp_path, thinks).switches) == {}


def test_truncation_takes_from_the_front_of_the_context_and_never_from_the_answer(tmp_path: Path) -> None:
    tokeniser = made(tmp_path, overlong="truncate", context=100)
    long = row(("system", "short"), ("user", "x" * 500 + " the question"), ("assistant", "the answer"))
    hopeless = row(("user", "q"), ("assistant", "y" * 500))
    found = tokens(tokeniser, tmp_path, long, hopeless)
    assert (found.dropped, found.truncated, len(found.lengths)) == (1, 1, 1)
    assert 90 <= found.lengths[0] <= 100
    text = tokeniser.tokenizer.decode(list(found.ids))
    assert text.startswith("<|system|>short<|end|>\n<|user|>xxx")
    assert text.endswith("the question<|end|>\n<|assistant|>the answer<|end|>")
    assert learned(tokeniser, found) == "the answer<|end|>"
