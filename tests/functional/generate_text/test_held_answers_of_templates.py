"""Answers that are held to a form, in every family's own: forced calls are read back as calls, JSON behind a thought.

What a grammar allows is written at random. `TEMPER_TEMPLATES` names another folder of templates.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import jsonschema_rs
import numpy as np
import pytest

from contracts.wire.completions import Chat
from contracts.wire.errors import ApiError
from functions.generate_text import structure
from functions.generate_text.tagged_calls import TaggedForm
from functions.generate_text.thoughts import Told
from tests.functional.generate_text.test_calls_of_templates import Family
from tests.functional.prepare_job.table import KNOWN
from tests.sizes import sized

ASKED = {"role": "user", "content": "What does zqfirst say? Answer in JSON."}
SCHEMA = {
    "type": "object",
    "properties": {
        "place": {"type": "string"},
        "unit": {"type": "string", "enum": ["metric", "imperial"]},
        "days": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "boolean"}},
    },
    "required": ["place", "unit", "days", "tags"],
    "additionalProperties": False,
}
LOOSE = {"type": "object", "properties": {"place": {"type": "string"}, "share": {"type": "number"}}}
TOOLS = [
    {"type": "function", "function": {"name": name, "description": "Finds.", "parameters": schema, **strict}}
    for name, schema, strict in (("zq_find", SCHEMA, {"strict": True}), ("zq-take", LOOSE, {}))
]
NAMED = {"type": "function", "function": {"name": "zq_find"}}
LOOSELY = {"type": "function", "function": {"name": "zq-take"}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "zq", "schema": SCHEMA, "strict": True}}
REFUSED = {"muse_glimmer": {"named", "named, and not strict", "required", "required, one"}}
"""Families whose calls no grammar of ours writes → the cases: this one names the function before the call too."""
CASES: dict[str, dict[str, Any]] = {
    "named": {"tools": TOOLS, "tool_choice": NAMED},
    "named, and not strict": {"tools": TOOLS, "tool_choice": LOOSELY},
    "required": {"tools": TOOLS, "tool_choice": "required"},
    "required, one": {"tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": False},
    "json": {"response_format": FORMAT},
    "json that thinks": {"response_format": FORMAT, "chat_template_kwargs": {"enable_thinking": True}},
    "json that does not": {"response_format": FORMAT, "chat_template_kwargs": {"enable_thinking": False}},
}
SEEDS = sized(1, 2)
LONGEST = 12
"""Tokens that may be anything; then what closes a thought or a value is written, to which chance would not come."""


class Writer:
    """A model that writes whatever it may, and rather what ends something."""

    def __init__(self, family: Family) -> None:
        self.model = family.model
        self.size = len(self.model.tokenizer)
        self.texts = [self.model.tokenizer.decode([id]) for id in range(self.size)]
        special = self.model._special
        self.near = {id for id, text in enumerate(self.texts) if id in special or not text.strip("\"'<>]}) \n,")}

    async def write(self, asked: dict[str, Any], seed: int) -> Told:
        """Return thought, content and calls of an answer."""
        wanted = Chat.read({"model": "m", "messages": [ASKED], **asked})
        prompt = self.model.render(wanted.chat(), wanted.known_tools(), wanted.chat_template_kwargs)
        held = await structure.held(self.model, self.size, prompt, wanted)
        assert held is not None
        state, draw, ids = held(), random.Random(seed), list[int]()
        closers, free, forced = self._closers(prompt.marks.close if prompt.marks else ""), 0, list[int]()
        while not state.ended:
            allowed = np.flatnonzero(~state.banned().numpy()).tolist()
            assert state.error is None, (state.error, self.model.decode(ids, calls=True))
            ends = [id for id in allowed if id in self.model.stops.ids]
            free = free + 1 if len(allowed) > self.size * 0.8 else 0
            if not forced and free > LONGEST and closers:
                forced = list(draw.choice(closers))
            if forced and forced[0] in allowed:
                token, free = forced.pop(0), 0
            else:
                forced = []
                token = draw.choice(ends if ends and draw.random() < 0.5 else self._likely(allowed, draw))
            if token in self.model.stops.ids:
                break
            ids.append(token)
            state.took(token)
            assert len(ids) < 3000, self.model.decode(ids, calls=True)
        text = self.model.decode(ids, calls=True)
        shown = [at for stop in self.model.stops.texts if (at := text.find(stop)) >= 0]
        return prompt.reader(wanted.most_calls).whole(text[: min(shown)] if shown else text)

    def _closers(self, thought: str) -> list[list[int]]:
        """Return what ends free text: a thought, and the values of calls that are written between tags."""
        form = self.model.calls.form if self.model.calls else None
        ends = {each[0] for each in (form.nexts, form.ends)} if isinstance(form, TaggedForm) else set()
        keys = sorted({key for each in (SCHEMA, LOOSE) for key in each["properties"]})
        texts = [thought, *sorted({end.replace("\0", key) for end in ends for key in keys})]
        return [self.model.encode(text, special=False) for text in texts if text]

    def _likely(self, allowed: list[int], draw: random.Random) -> list[int]:
        near = [id for id in allowed if id in self.near]
        return near if near and draw.random() < 0.6 else allowed


def wrong(asked: dict[str, Any], told: Told) -> str:
    """Return what is wrong with an answer; empty where nothing is."""
    if "response_format" in asked:
        return "" if jsonschema_rs.is_valid(SCHEMA, json.loads(told.content)) else told.content
    calls = [(call.name, json.loads(call.arguments)) for call in told.calls]
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in TOOLS}
    choice = asked["tool_choice"]
    names = {choice["function"]["name"]} if isinstance(choice, dict) else schemas.keys()
    most = 1 if isinstance(choice, dict) or "parallel_tool_calls" in asked else 100
    right = all(name in names and jsonschema_rs.is_valid(schemas[name], given) for name, given in calls)
    return "" if right and 1 <= len(calls) <= most and not told.content.strip() else repr(told)


@pytest.mark.parametrize("file", KNOWN, ids=[file.stem for file in KNOWN])
async def test_answers_are_held_to_their_form_with_every_template(file: Path, tmp_path: Path) -> None:
    writer, found, refused = Writer(Family(tmp_path, file)), dict[str, str](), set[str]()
    for name, asked in CASES.items():
        for seed in range(SEEDS):
            try:
                problem = wrong(asked, await writer.write(asked, seed))
            except ApiError as error:
                refused.add(name)
                problem = "" if error.code == "unsupported" else error.message
            except ValueError as error:
                problem = f"no JSON: {error}"
            if problem:
                found[f"{name} {seed}"] = problem[:600]
    assert not found, found
    assert refused == REFUSED.get(file.stem, set())
