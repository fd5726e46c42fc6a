"""What the answer to a chat is held to: its request and its model's own form, brought together."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

from contracts.wire.completions import Chat
from contracts.wire.errors import ApiError
from contracts.wire.formats import functions_of, is_strict, parameters_of
from contracts.wire.schemas import Place
from functions._shared.turns import Marks
from functions.generate_text import answer_rules, call_rules
from functions.generate_text.call_forms import KNOWN, KNOWN_TOOLS
from functions.generate_text.call_rules import Function, UnknownFormError
from functions.generate_text.grammar_trial import COSTLY
from functions.generate_text.grammars import COMPILER, Constraint, GrammarError, Vocabulary
from functions.generate_text.models import Rendered, ServedModel
from functions.generate_text.tool_calls import JsonForm

Held = Callable[[], Constraint] | None
"""What gives each choice its state in a grammar; None: the answer is free."""


_TURNS: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
"""Tenant → its turn: one grammar of each waits for the compiler, so that nobody's delay others' by more than one."""
_PATIENCE = 1.0
"""Seconds in which the place of what cannot be compiled is looked for."""


async def held(model: ServedModel, size: int, prompt: Rendered, wanted: Chat, tenant: str = "") -> Held:
    """Return what an answer is held to; raises ApiError that says what cannot be enforced, and where it stands."""
    form = wanted.response_format
    schema = form.schema_of_answers if form else None
    functions = _functions(prompt, wanted)
    if schema is None and not functions:
        return None
    at = "response_format" if schema is not None else "tool_choice" if _is_forced(wanted) else "tools"
    schemas = [(parameters_of(each), _place(name, nth)) for name, (nth, each) in functions.items()]
    if form is not None and schema is not None:
        schemas.insert(0, (schema, form.place))
    lock = _TURNS.setdefault(tenant, asyncio.Lock())
    async with lock:
        return await asyncio.get_running_loop().run_in_executor(
            COMPILER, _compiled, model, size, prompt, wanted, functions, schemas, at
        )


Schemas = list[tuple[dict[str, Any], Place]]


def _compiled(
    model: ServedModel,
    size: int,
    prompt: Rendered,
    wanted: Chat,
    functions: dict[str, Function],
    schemas: Schemas,
    at: str,
) -> Held:
    """Return what an answer is held to; in the compiler's thread."""
    try:
        vocabulary = model.vocabulary(size)
    except GrammarError as error:
        raise ApiError(
            f"This model's answers cannot be held to a form: {error}.", param=at, code="unsupported"
        ) from None
    _check_written(vocabulary, schemas)
    schema = wanted.response_format.schema_of_answers if wanted.response_format else None
    try:
        answer = _answer(model, vocabulary, wanted, schema, functions)
        return vocabulary.constraint(
            answer_rules.whole(
                answer, vocabulary.literal, _thinkable(model, prompt), prompt.opened, prompt.lead, vocabulary.spaced
            )
        )
    except UnknownFormError as error:
        raise ApiError(f"This model's calls cannot be held to a form: {error}.", param=at, code="unsupported") from None
    except GrammarError as error:
        raise _refused(schemas, str(error), vocabulary.problem, at) from None


def _thinkable(model: ServedModel, prompt: Rendered) -> Marks | None:
    """Return the marks of a thought that may come first; none where its end is what ends an answer."""
    ends = prompt.marks is not None and prompt.marks.close.startswith(tuple(model.stops.shown))
    return None if ends and not prompt.opened else prompt.marks


def _is_forced(wanted: Chat) -> bool:
    return wanted.choice.mode == "required" or wanted.choice.names is not None


def _functions(prompt: Rendered, wanted: Chat) -> dict[str, Function]:
    """Return the functions of which calls are held to a form; none where they are free, or no call can be told."""
    known = functions_of(prompt.tools)
    if wanted.choice.names is not None:
        known = {name: each for name, each in known.items() if name in wanted.choice.names}
    strict = any(is_strict(function) for _, function in known.values())
    answers = wanted.response_format is not None and wanted.response_format.type != "text" and prompt.calls is not None
    return known if strict or answers or _is_forced(wanted) else {}


def _check_written(vocabulary: Vocabulary, schemas: Schemas) -> None:
    for schema, place in schemas:
        if odd := vocabulary.lacks(json.dumps(schema, ensure_ascii=False)):
            raise place.refusal(f"it holds {odd!r}, which this model's tokenizer does not write")


def _answer(
    model: ServedModel, vocabulary: Vocabulary, wanted: Chat, schema: Any, functions: dict[str, Function]
) -> str:
    """Return the rule `answer`: JSON, calls, or text in which calls are held to their form."""
    rules = [f"json: {answer_rules.json_rule(schema, lines=True)}"] if schema is not None else []
    if not functions:
        return "\n".join([*rules, "answer: json"])
    shown, form = model.shown_calls, model.calls
    if shown is None or form is None:
        raise UnknownFormError("its chat template does not show how it writes them")
    most = 1 if wanted.choice.named else wanted.most_calls
    known = {KNOWN[0]: functions_of(KNOWN_TOOLS)[KNOWN[0]]}
    if not model.forces_calls:
        proof = "\n".join([*call_rules.rules(form, shown, known, vocabulary.literal, 1), _ANY, "start: calls"])
        said = model.encode(shown.before + shown.call + shown.behind.rstrip(), special=False)
        if not vocabulary.takes(proof, said):
            raise UnknownFormError("its chat template shows calls in a way that cannot be written by rule")
        model.forces_calls = True
    rules += call_rules.rules(form, shown, functions, vocabulary.literal, most)
    if wanted.choice.mode == "required":
        return "\n".join([*rules, "answer: calls"])
    if schema is not None:
        return "\n".join([*rules, "answer: json | calls"])
    return "\n".join([*rules, *_beside_text(form.opening, shown.before, vocabulary.literal, form.form)])


_ANY = "ANY: /(?s:.*)/"


def _beside_text(opening: str, before: str, literal: answer_rules.Literal, form: Any) -> list[str]:
    """Return the rule of an answer that is text, calls, or text with calls behind it."""
    if not opening:
        if not isinstance(form, JsonForm):
            raise UnknownFormError("it announces them by nothing")
        return [r"FREE: /[^{\s](?s:.*)/", "answer: FREE | calls"]
    if literal(opening).startswith("<["):
        return ["answer: ANY | ANY calls | calls"]
    head = json.loads(literal(opening).partition(" <[")[0])
    rest = literal(before.partition(head)[2])
    return [
        f"head[lazy]: ANY {json.dumps(head, ensure_ascii=False)}",
        f"answer: ANY | head {rest} calls_behind",
    ]


def _place(name: str, nth: int) -> Place:
    return Place(f"function '{name[:64]}'", f"tools[{nth}].function.parameters")


def _refused(schemas: Schemas, why: str, problem: Callable[[str], str], at: str) -> ApiError:
    """Return the error of the first schema that does not compile by itself."""
    if COSTLY in why:
        return schemas[0][1].refusal(why)
    end = time.monotonic() + _PATIENCE

    def tried(rules: str) -> str:
        return problem(rules) if time.monotonic() < end else ""

    for schema, place in schemas:
        if told := tried("start: " + answer_rules.json_rule(schema)):
            return answer_rules.refused(schema, place, told, tried)
    return ApiError(f"What is asked for cannot be enforced: {why[:200]}", param=at, code="invalid_json_schema")
