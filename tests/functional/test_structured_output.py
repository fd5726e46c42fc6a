"""Answers that are held to a form: JSON, schemas and calls, as the official client asks for them."""

import asyncio
import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Literal

import jsonschema_rs
import openai
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel
from transformers import AutoTokenizer

from functions.generate_text.app import create_app
from infra.adapters.memory import MemoryBlobs
from tests.functional.test_generate_text import Server, served
from tests.unit.generate_text.tiny import build_base, store

ASKED: list[Any] = [{"role": "user", "content": "what is the weight of the blue kettle? answer in json"}]
DEMO = Path(__file__).parents[2] / "infra" / "demo" / "base"


class Part(BaseModel):
    name: str
    colour: Literal["red", "blue", "green"]
    grams: int


class Answer(BaseModel):
    parts: list[Part]
    fits: bool
    note: str | None


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("structured")
    blobs = MemoryBlobs()
    folders = {"demo": DEMO, "tiny": build_base(root / "tiny")}
    template = AutoTokenizer.from_pretrained(DEMO).chat_template
    own = {"demo": {"template_sha256": hashlib.sha256(template.encode()).hexdigest(), "context": 1024}}
    refs = {
        name: asyncio.run(store(blobs, f"local/{name}", folder, **own.get(name, {})))
        for name, folder in folders.items()
    }
    app = create_app(blobs, root / "cache", "cpu", threads=1)
    with served(app) as url:
        yield Server(url, app.state.engine, blobs, refs, folders, [])


@pytest.fixture
async def process(running: Server) -> AsyncIterator[Server]:
    opened: list[AsyncOpenAI] = []
    yield running._replace(opened=opened)
    for client in opened:
        await client.close()


def held(schema: dict[str, Any], strict: bool = False) -> Any:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": strict}}


async def test_a_model_of_pydantic_is_parsed_by_the_official_client(process: Server) -> None:
    client = process.client("demo")
    for seed in range(3):
        got = await client.chat.completions.parse(
            model="demo", messages=ASKED, response_format=Answer, seed=seed, max_tokens=900
        )
        assert got.choices[0].finish_reason == "stop"
        assert isinstance(got.choices[0].message.parsed, Answer)


async def test_every_choice_and_every_stream_is_held_to_the_schema_together_with_the_rest(process: Server) -> None:
    client = process.client("demo")
    schema = {
        "type": "object",
        "properties": {"kind": {"enum": ["kettle", "pan"]}, "grams": {"type": "integer", "maximum": 999}},
        "required": ["kind", "grams"],
        "additionalProperties": False,
    }
    asked: dict[str, Any] = {
        "model": "demo", "messages": ASKED, "response_format": held(schema, strict=True), "seed": 3, "n": 4,
        "logprobs": True, "top_logprobs": 2, "logit_bias": {"5": -100}, "max_tokens": 80,
    }  # fmt: skip
    whole = await client.chat.completions.create(**asked)
    texts = [choice.message.content or "" for choice in whole.choices]
    for choice, text in zip(whole.choices, texts, strict=True):
        assert json.loads(text)["kind"] in ("kettle", "pan")
        assert choice.finish_reason == "stop"
        assert choice.logprobs
        assert choice.logprobs.content
        assert "".join(each.token for each in choice.logprobs.content) == text
    streamed = [""] * 4
    async for chunk in await client.chat.completions.create(**asked, stream=True):
        for each in chunk.choices:
            streamed[each.index] += each.delta.content or ""
    assert streamed == texts
    alone = await client.chat.completions.create(**{**asked, "n": 1})
    assert alone.choices[0].message.content == texts[0]


async def test_an_answer_that_is_cut_says_so_and_one_that_is_done_ends_at_once(process: Server) -> None:
    client = process.client("demo")
    schema = {"type": "array", "items": {"const": "kettle"}, "minItems": 9}
    asked: dict[str, Any] = {"model": "demo", "messages": ASKED, "response_format": held(schema)}
    cut = await client.chat.completions.create(**asked, max_tokens=5)
    assert cut.choices[0].finish_reason == "length"
    done = await client.chat.completions.create(
        model="demo", messages=ASKED, max_tokens=400, response_format={"type": "json_object"}, temperature=0
    )
    if done.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(done.choices[0].message.content or ""), dict)


@pytest.mark.parametrize(
    ("schema", "strict", "param", "words"),
    [
        ({"type": "object", "properties": {"x": {"not": {}}}}, False, "properties.x.not", "'not'"),
        ({"type": "object", "properties": {"x": {"type": "string", "format": "colour"}}}, False,
         "properties.x.format", "colour"),
        ({"type": "string", "pattern": "(?=a)b"}, False, "pattern", "look-ahead"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, False, "oneOf", "oneOf"),
        ({"$ref": "#/$defs/no"}, False, "$ref", "names nothing"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, False, "$ref", "itself"),
        ({"type": "array", "minItems": 10**9}, False, "minItems", "10000"),
        ({"enum": [f"{n}" for n in range(2000)]}, False, "enum", "1000"),
        ({"type": "object", "x-guidance": {"lenient": True}}, False, "x-guidance", "x-guidance"),
        ({"type": "object", "properties": {"x": {"type": "string"}}, "additionalProperties": False}, True,
         "required", "Missing 'x'"),
        ({"type": "array", "items": {"type": "string"}}, True, "type", "object"),
        ({"type": "object", "properties": {}}, True, "additionalProperties", "to be false"),
        ({"type": "object", "additionalProperties": False, "required": [], "patternProperties": {"a": {}}}, True,
         "patternProperties", "not permitted"),
    ],
)  # fmt: skip
async def test_a_schema_that_cannot_be_enforced_names_the_keyword_and_its_place(
    process: Server, schema: dict[str, Any], strict: bool, param: str, words: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await process.client("tiny").chat.completions.create(
            model="tiny", messages=ASKED, response_format=held(schema, strict), max_tokens=9
        )
    assert refused.value.param == f"response_format.json_schema.schema.{param}"
    assert words in str(refused.value)


async def test_json_without_a_schema_has_to_be_asked_for_in_the_chat(process: Server) -> None:
    with pytest.raises(openai.BadRequestError, match="must contain the word 'json'"):
        await process.client("tiny").chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": "hello"}], response_format={"type": "json_object"}
        )


TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "Looks it up.",
            "parameters": {
                "type": "object",
                "properties": {key: {"type": "string", "enum": ["kettle", "pan"]}, "count": {"type": "integer"}},
                "required": [key, "count"],
                "additionalProperties": False,
            },
            "strict": True,
        },
    }
    for name, key in (("get_weight", "part"), ("find_docs", "words"))
]


def called(message: Any) -> list[tuple[str, dict[str, Any]]]:
    return [(call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or ()]


async def test_a_call_is_forced_in_the_form_of_the_models_family(process: Server) -> None:
    client = process.client("demo")
    asked: dict[str, Any] = {"model": "demo", "messages": ASKED, "tools": TOOLS, "max_tokens": 200, "seed": 1}
    named = {"type": "function", "function": {"name": "find_docs"}}
    for choice, finish in (("required", "tool_calls"), (named, "stop")):
        (got,) = (await client.chat.completions.create(**asked, tool_choice=choice, parallel_tool_calls=False)).choices
        ((name, arguments),) = called(got.message)
        assert got.finish_reason == finish
        assert name == "find_docs" or choice == "required"
        assert next(iter(arguments.values())) in ("kettle", "pan")
        assert type(arguments["count"]) is int
    one = {"mode": "required", "tools": [{"type": "function", "function": {"name": "get_weight"}}]}
    (got,) = (
        await client.chat.completions.create(**asked, tool_choice={"type": "allowed_tools", "allowed_tools": one})
    ).choices
    assert {name for name, _ in called(got.message)} <= {"get_weight"}
    stream = await client.chat.completions.create(**asked, tool_choice=named, stream=True)
    pieces = [choice async for chunk in stream for choice in chunk.choices]
    assert pieces[-1].finish_reason == "stop"
    told = [call.function for piece in pieces for call in piece.delta.tool_calls or () if call.function]
    assert "".join(each.name or "" for each in told) == "find_docs"
    assert json.loads("".join(each.arguments or "" for each in told))["words"] in ("kettle", "pan")


async def test_calls_of_the_old_form_are_forced_and_told_in_it(process: Server) -> None:
    functions = [tool["function"] for tool in TOOLS]
    (got,) = (
        await process.client("demo").chat.completions.create(
            model="demo",
            messages=ASKED,
            functions=functions,
            function_call={"name": "get_weight"},
            max_tokens=200,
            seed=1,
        )
    ).choices
    assert got.message.function_call is not None
    assert got.message.function_call.name == "get_weight"
    assert json.loads(got.message.function_call.arguments)["part"] in ("kettle", "pan")


async def test_beside_strict_tools_an_answer_is_text_json_or_a_whole_call(process: Server) -> None:
    asked: dict[str, Any] = {"model": "demo", "messages": ASKED, "tools": TOOLS, "max_tokens": 300, "n": 4, "seed": 2}
    free = await process.client("demo").chat.completions.create(**asked)
    shape = {"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"], "additionalProperties": False}
    form = held(shape, strict=True)
    both = await process.client("demo").chat.completions.create(**asked, response_format=form)
    for choice in (*free.choices, *both.choices):
        for _, arguments in called(choice.message):
            assert type(arguments["count"]) is int
    for choice in both.choices:
        assert choice.finish_reason == "length" or choice.message.tool_calls or json.loads(choice.message.content or "")


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "no"}}])
async def test_a_call_that_no_tool_allows_is_refused(process: Server, choice: Any) -> None:
    tools = TOOLS if choice != "required" else openai.omit
    with pytest.raises(openai.BadRequestError) as refused:
        await process.client("demo").chat.completions.create(
            model="demo", messages=ASKED, tools=tools, tool_choice=choice
        )
    assert refused.value.param == "tool_choice"


SUITE = json.loads((Path(__file__).parent / "schema_suite.json").read_text())
"""Of JSON-Schema-Test-Suite (draft 2020-12, MIT, from the source of `jsonschema` 4.26.0) what OpenAI's strict mode has:
a schema is the one property of an object, and its objects are closed and name all that they need."""
NOT_ENFORCED = {
    "multipleOf: float division = inf": "multipleOf",
    "ecmascript-regex: ECMA 262 regex escapes control codes with \\c and upper letter": "pattern",
    "ecmascript-regex: ECMA 262 regex escapes control codes with \\c and lower letter": "pattern",
}


async def test_every_answer_to_the_suites_schemas_is_valid_or_the_schema_is_refused(process: Server) -> None:
    client = process.client("demo")
    ends, refused = Counter[str](), dict[str, str]()

    async def ask(case: str, schema: dict[str, Any]) -> None:
        try:
            (got,) = (
                await client.chat.completions.create(
                    model="demo", messages=ASKED, response_format=held(schema, strict=True), seed=1, max_tokens=160
                )
            ).choices
        except openai.BadRequestError as error:
            refused[case] = f"{error.param}".rpartition(".")[2] if error.code == "invalid_json_schema" else f"{error}"
            return
        ends[got.finish_reason] += 1
        if got.finish_reason != "length":
            checked = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
            assert checked.is_valid(json.loads(got.message.content or "")), (case, got.message.content)

    await asyncio.gather(*(ask(**each) for each in SUITE))
    assert refused == NOT_ENFORCED
    assert ends.total() == len(SUITE) - len(refused) == 118
    assert ends["stop"] >= 100, ends


async def test_a_hostile_schema_costs_others_little(process: Server) -> None:
    bombs = [
        {"type": "string", "pattern": ".*[ab].{200}[cd].{200}"},
        {"type": "string", "pattern": "(.*a.{20,40}){10}.*b"},
    ]
    for bomb in bombs:
        with contextlib.suppress(openai.BadRequestError):
            await process.client("tiny").chat.completions.create(
                model="tiny", messages=ASKED, response_format=held(bomb), max_tokens=60
            )
    got = await process.client("tiny").chat.completions.create(
        model="tiny", messages=ASKED, response_format=held({"enum": ["yes"]}), max_tokens=60
    )
    assert got.choices[0].message.content == '"yes"'


async def test_a_schema_that_takes_too_long_to_compile_is_refused_and_nobody_else_waits_for_it(process: Server) -> None:
    client = process.client("demo")

    async def refused(prime: int) -> str:
        schema = {"type": "object", "properties": {"x": {"type": "integer", "multipleOf": prime}}}
        with pytest.raises(openai.BadRequestError) as error:
            await client.chat.completions.create(model="demo", messages=ASKED, response_format=held(schema))
        assert (error.value.code, error.value.param) == ("invalid_json_schema", "response_format.json_schema.schema")
        return str(error.value)

    hostile = [asyncio.create_task(refused(prime)) for prime in (999_983, 999_979)]
    got = await client.chat.completions.create(
        model="demo", messages=ASKED, response_format=held({"enum": ["yes"]}), extra_headers={"x-temper-tenant": "b"}
    )
    assert got.choices[0].message.content == '"yes"'
    assert not all(each.done() for each in hostile)
    assert all("to compile" in each for each in await asyncio.gather(*hostile))
