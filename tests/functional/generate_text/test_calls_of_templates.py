"""A call that a template renders, given back as text, is the same call: with every template, however the text comes.

`TEMPER_TEMPLATES` names another folder of official templates than the one beside the checkout.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from functions._shared.chat_template import ChatTemplate
from functions._shared.model_files import stop_ids
from functions._shared.turns import TemplateRefusalError
from functions.generate_text.models import Rendered, ServedModel
from tests.functional.prepare_job.official_tokenizer import CONTEXT, save_tokenizer
from tests.functional.prepare_job.table import KNOWN

NAMES = ("zq_find", "zq-take")
ASKED = {"role": "user", "content": "What does zqfirst say?"}
SAID, THOUGHT = "I look {it} up: [1, 2].", "First zqthought."
ARGUMENTS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "plain": {"place": "Ulm", "days": 3},
    "another order": {"days": 3, "place": "Ulm"},
    "quotes": {"place": 'it\'s "so" `here`'},
    "lines": {"place": "one\ntwo\n\nthree\tfour"},
    "signs of calls": {"place": "a</tool_call> {b} [c] (d, e=f) </x>"},
    "signs of Python and JSON": {"place": 'a\', days=7, b="c": {', "days": 1},
    "letters": {"place": "Zürich – 東京 😀"},
    "back strokes": {"place": "C:\\new\\table"},
    "numbers": {"days": 2**53, "share": -0.25, "all": True, "none": None},
    "what looks like a number": {"place": "007"},
    "a list": {"tags": ["a, b", "c]", 'd"e']},
    "nested": {"more": {"a": {"b": [1, {"c": "d}, e"}]}, "f": [[2], [True]], "g": True}},
    "nested nothing": {"more": {"a": [None], "f": None, "g": 1}},
    "empty values": {"place": "", "tags": [], "more": {}},
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "Finds zqsomething.",
            "parameters": {
                "type": "object",
                "properties": {
                    key: {"type": kind, "description": "zqkey"}
                    for key, kind in (
                        ("place", "string"),
                        ("days", "integer"),
                        ("share", "number"),
                        ("all", "boolean"),
                        ("none", "null"),
                        ("tags", "array"),
                        ("more", "object"),
                    )
                },
                "required": [],
            },
        },
    }
    for name in NAMES
]
SIZES = (1, 3, 7, 10**6)
NOT_READ = {"MiniMax-M3": {"nested nothing"}}
"""It leaves out what is null within an object, and shows it as a text within a list."""
ONE_CALL = {
    "GigaChat3-10B-A1.8B",
    "gptoss",
    "llama3_1",
    "llama3_2",
    "meta-llama-Llama-3.1-8B-Instruct",
    "meta-llama-Llama-3.3-70B-Instruct",
    "openai-gpt-oss-120b",
}
"""Their templates refuse or leave out a second call in one turn."""


class Family:
    """A template in the serving process."""

    def __init__(self, folder: Path, file: Path) -> None:
        from transformers import AutoTokenizer

        save_tokenizer(folder, file.read_text())
        tokenizer = AutoTokenizer.from_pretrained(folder)
        self.chat = ChatTemplate(tokenizer, stop_ids(folder, tokenizer))
        self.model = ServedModel("0" * 64, "base", None, tokenizer, CONTEXT, self.chat)

    def written(self, calls: list[dict[str, Any]], more: dict[str, str]) -> str | None:
        """Return what a model that is tuned on these calls writes; None: the template refuses that."""
        made = [
            {"id": f"zqcall{nth}23", "type": "function", "function": {"name": name, "arguments": arguments}}
            for nth, (name, arguments) in enumerate(zip(NAMES, calls, strict=False))
        ]
        message = {"role": "assistant", "tool_calls": made, **more}
        switches = self.chat.switches_for("reasoning_content" in more)
        try:
            answer = self.chat.turn([ASKED, message], TOOLS, switches).answer
        except TemplateRefusalError:
            return None
        ids = self.model.encode(answer, special=False)
        ends = [at for at, id in enumerate(ids) if id in self.model.stops.ids]
        text = self.model.decode(ids[: ends[0]] if ends else ids, calls=True)
        shown = [at for stop in self.model.stops.texts if (at := text.find(stop)) >= 0]
        return text[: min(shown)] if shown else text

    def asked(self, *, reasons: bool) -> Rendered:
        """Return the prompt that such a text answers."""
        return self.model.render([ASKED], TOOLS, self.chat.switches_for(reasons))

    def read(self, prompt: Rendered, text: str, size: int) -> tuple[str, str, list[tuple[str, str]]]:
        """Return thought, content and calls of a text that comes in pieces of `size` characters."""
        reader = prompt.reader(None)
        told = [reader.add(text[at : at + size]) for at in range(0, len(text), size)] + [reader.end()]
        calls = [(call.name, call.arguments) for each in told for call in each.calls]
        return "".join(each.thought for each in told), "".join(each.content for each in told), calls


def _sorted(calls: list[tuple[str, str]], sorts: bool) -> list[tuple[str, str]]:
    """Calls with their keys in order, if the template itself forgets which they had."""
    return [(name, json.dumps(json.loads(said), ensure_ascii=False, sort_keys=sorts)) for name, said in calls]


def wrong(family: Family) -> dict[str, Any]:
    """What does not come back as it was given, by name."""
    chats: dict[str, tuple[list[dict[str, Any]], dict[str, str]]] = {
        **{name: ([arguments], {}) for name, arguments in ARGUMENTS.items()},
        "two calls": ([ARGUMENTS["plain"], ARGUMENTS["nested"]], {}),
        "text before": ([ARGUMENTS["plain"]], {"content": SAID}),
        "text before two": ([ARGUMENTS["nothing"], ARGUMENTS["plain"]], {"content": SAID}),
        "thought before": ([ARGUMENTS["plain"]], {"reasoning_content": THOUGHT}),
    }
    found: dict[str, Any] = {}
    sorts = family.written([ARGUMENTS["plain"]], {}) == family.written([ARGUMENTS["another order"]], {})
    for name, (calls, more) in chats.items():
        text = family.written(calls, more)
        if text is None:
            continue
        wanted = [
            (tool, json.dumps(arguments, ensure_ascii=False, sort_keys=sorts))
            for tool, arguments in zip(NAMES, calls, strict=False)
        ]
        prompt = family.asked(reasons="reasoning_content" in more)
        for size in SIZES:
            thought, content, read = family.read(prompt, text, size)
            if "content" in more:  # in some families what is said before a call is a thought
                right = (thought + content).strip() == more["content"]
            else:
                right = (thought.strip(), content.strip()) == (more.get("reasoning_content", ""), "")
            if not right or _sorted(read, sorts) != wanted:
                found[name] = {"size": size, "text": text, "read": (thought, content, read)}
                break
    return found


@pytest.mark.parametrize("file", KNOWN, ids=[file.stem for file in KNOWN])
def test_a_call_that_a_template_renders_is_read_back(file: Path, tmp_path: Path) -> None:
    family = Family(tmp_path, file)
    assert family.written([ARGUMENTS["plain"]], {}) is not None
    assert (family.written([ARGUMENTS["plain"]] * 2, {}) is None) == (file.stem in ONE_CALL)
    found = wrong(family)
    assert found.keys() == NOT_READ.get(file.stem, set()), found


S: dict[str, Any] = {"type": "string", "description": "zqkey"}
SCHEMAS: dict[str, dict[str, Any]] = {
    "no type": {"description": "zqkey"},
    "no description": {"type": "string"},
    "a description that is null": {"type": "string", "description": None},
    "two types": {"type": ["string", "null"], "description": "zqkey"},
    "null": {"type": "null", "description": "zqkey"},
    "what pydantic makes of an optional": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
    "a list of anything": {"type": "array", "description": "zqkey"},
    "a list of objects": {
        "type": "array",
        "items": {"type": "object", "properties": {"x": S}, "required": ["x"], "additionalProperties": False},
    },
    "a list of lists": {"type": "array", "items": {"type": "array", "items": {"type": ["number", "null"]}}},
    "an object of anything": {"type": "object", "description": "zqkey"},
    "a closed object": {"type": "object", "properties": {"b": S}, "required": ["b"], "additionalProperties": False},
    "a map": {"type": "object", "additionalProperties": {"type": "integer"}},
    "choices": {"type": "string", "enum": ["x", "y"]},
    "choices of any type": {"enum": [1, "x", None]},
    "a constant": {"const": "x"},
    "a reference": {"$ref": "#/$defs/P"},
}
FUNCTIONS: dict[str, dict[str, Any]] = {
    "no description": {"parameters": {"type": "object", "properties": {"place": S}}},
    "a description that is null": {"description": None, "parameters": {"type": "object", "properties": {"place": S}}},
    "no parameters": {"description": "Finds."},
    "empty parameters": {"description": "Finds.", "parameters": {}},
    "no properties": {"description": "Finds.", "parameters": {"type": "object"}},
    "a property that may be anything": {
        "description": "Finds.",
        "parameters": {"type": "object", "properties": {"place": True}},
    },
    **{
        f"a parameter: {name}": {
            "description": "Finds.",
            "parameters": {
                "$defs": {"P": {"type": "object", "properties": {"x": S}}},
                "type": "object",
                "properties": {"place": schema},
                "required": ["place"],
            },
        }
        for name, schema in SCHEMAS.items()
    },
}


@pytest.mark.parametrize("file", KNOWN, ids=[file.stem for file in KNOWN])
def test_tools_of_every_shape_are_shown(file: Path, tmp_path: Path) -> None:
    chat = Family(tmp_path, file).chat
    call = {"id": "zqcall123", "type": "function", "function": {"name": "zq_find", "arguments": {"place": "Ulm"}}}
    refused = {}
    for name, function in FUNCTIONS.items():
        tool = {"type": "function", "function": {"name": "zq_find", **function}}
        try:
            turn = chat.turn([ASKED, {"role": "assistant", "tool_calls": [call]}], [tool], {})
        except TemplateRefusalError as error:
            refused[name] = error
        else:
            assert "Ulm" in turn.answer
    assert not refused
