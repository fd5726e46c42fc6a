"""Evals by the official client, strictly: from criteria to graded rows, through crashes, cancellation and deletion."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from contracts.ports import UnavailableError
from contracts.wire.evals import PART
from functions.run_eval import handler
from functions.run_eval.settings import EvalSettings
from functions.run_eval.work import EvalPorts, exhausted, work
from tests.children import ForkedChild
from tests.functional.edge import BASE, CannedReply, World
from tests.leases import held

CONFIG: dict[str, Any] = {
    "type": "custom",
    "item_schema": {"type": "object", "properties": {"word": {"type": "string"}}},
    "include_sample_schema": True,
}
EXACT: dict[str, Any] = {
    "type": "string_check", "name": "exact", "input": "{{ sample.output_text }}", "operation": "eq",
    "reference": "{{ item.word }}",
}  # fmt: skip
ASK = {"type": "template", "template": [{"role": "system", "content": "Say it."},
                                        {"role": "user", "content": "{{ item.word }}"}]}  # fmt: skip


class Crash(BaseException):
    """The process is gone."""


class Serving:
    """Says the last message again, and 0.75 where it judges; counts what it is asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.tenants: set[str] = set()
        self.before: Any = None
        """Called with each question; raises what goes wrong, or returns a status."""

    async def __call__(self, path: str, body: bytes, manifest: Any, request_id: str, tenant: str) -> CannedReply:
        asked = json.loads(body)
        question = asked["messages"][-1]["content"]
        await asyncio.sleep(0)
        status = (self.before(question) if self.before else None) or 200
        self.asked[question] += 1
        self.bodies.append(asked)
        self.tenants.add(tenant)
        result = asked.get("response_format", {}).get("json_schema", {}).get("schema", {}).get("properties", {})
        text = question
        if "result" in result:
            text = json.dumps({"result": result["result"].get("enum", [0.75])[0]})
        message = {"role": "assistant", "content": text, "refusal": None}
        usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
        said: dict[str, Any] = {"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}
        if status != 200:
            said = {"error": {"message": "It is too long."}}
        return CannedReply(status, {"content-type": "application/json"}, _once(json.dumps(said).encode()))


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


class Evaluating:
    """A tenant with an eval."""

    def __init__(self, world: World, client: AsyncOpenAI, scratch: Path) -> None:
        self.world, self.client, self.scratch = world, client, scratch
        self.serving = Serving()
        self.id = ""

    async def create(self, *criteria: dict[str, Any], **more: Any) -> Any:
        asked: dict[str, Any] = {"data_source_config": CONFIG, "testing_criteria": list(criteria) or [EXACT], **more}
        made = await self.client.evals.create(**asked)
        self.id = made.id
        return made

    async def begin(self, rows: list[dict[str, Any]], type: str = "completions", **more: Any) -> str:
        source: dict[str, Any] = {"type": type, "source": {"type": "file_content", "content": rows}}
        if type != "jsonl":
            source |= {"model": BASE, "input_messages": ASK}
        run = await self.client.evals.runs.create(self.id, data_source={**source, **more})
        assert run.status == "queued"
        return run.id

    async def attempt(self, run: str) -> None:
        """Work at the run once, as whoever holds its lease does, and say what came of it."""
        world = self.world
        lease = held(run, "local", handler.STAGE, {"event_id": "e"}, world.controls)
        ports = EvalPorts(
            world.blobs, world.documents, world.deps.emit, self.serving, ForkedChild(), self.scratch, EvalSettings()
        )  # fmt: skip
        for event in await work(lease, ports):
            await world.documents.apply(await world.emit(event))
            await handler.on_eval_run_ended(event, world.blobs, world.documents)

    async def graded(self, rows: list[dict[str, Any]], **more: Any) -> tuple[Any, list[Any]]:
        """Return a run that is over, with its items."""
        run = await self.begin(rows, **more)
        await self.attempt(run)
        return await self.run(run), await self.items(run)

    async def ended(self, content: bytes) -> Any:
        """Return a run over a file, when it is over."""
        async with self.world.client(self.client.api_key) as api:
            form = {"file": ("rows.jsonl", content)}
            file = (await api.post("/v1/files", files=form, data={"purpose": "evals"})).json()["id"]
        source: Any = {"type": "jsonl", "source": {"type": "file_id", "id": file}}
        run = (await self.client.evals.runs.create(self.id, data_source=source)).id
        await self.attempt(run)
        return await self.run(run)

    async def run(self, run: str) -> Any:
        return await self.client.evals.runs.retrieve(run, eval_id=self.id)

    async def items(self, run: str, **query: Any) -> list[Any]:
        return [each async for each in self.client.evals.runs.output_items.list(run, eval_id=self.id, **query)]


@pytest.fixture
async def evaluating(world: World, key: str, tmp_path: Path) -> AsyncIterator[Evaluating]:
    http = httpx.AsyncClient(transport=httpx.ASGITransport(world.app))
    async with AsyncOpenAI(
        base_url="http://edge/v1",
        api_key=key,
        http_client=http,
        max_retries=0,
        _strict_response_validation=True,
    ) as client:
        yield Evaluating(world, client, tmp_path)


def words(count: int) -> list[dict[str, Any]]:
    return [{"item": {"word": f"w{number}"}} for number in range(count)]


async def test_rows_are_answered_and_graded_by_every_criterion(evaluating: Evaluating) -> None:
    judge = {"model": BASE, "input": [{"role": "user", "content": "Judge {{ sample.output_text }}"}]}
    await evaluating.create(
        EXACT,
        {"type": "text_similarity", "name": "alike", "input": EXACT["input"], "reference": "w0",
         "evaluation_metric": "fuzzy_match", "pass_threshold": 0.9},
        {"type": "score_model", "name": "score", **judge, "pass_threshold": 0.7},
        {"type": "label_model", "name": "label", **judge, "labels": ["good", "bad"], "passing_labels": ["good"]},
        {"type": "python", "name": "code", "source": "def grade(sample, item): return len(item['word']) == 2"},
    )  # fmt: skip
    run, items = await evaluating.graded(words(3), sampling_params={"temperature": 0, "max_completion_tokens": 5})
    assert run.status == "completed"
    assert run.result_counts.model_dump() == {"total": 3, "errored": 0, "failed": 2, "passed": 1}
    counts = {each.testing_criteria: (each.passed, each.failed) for each in run.per_testing_criteria_results}
    assert counts == {"exact": (3, 0), "alike": (1, 2), "score": (3, 0), "label": (3, 0), "code": (3, 0)}
    (usage,) = run.per_model_usage
    assert (usage.to_dict()["model_name"], usage.invocation_count, usage.total_tokens) == (BASE, 9, 36)
    assert [each.datasource_item["word"] for each in items] == ["w0", "w1", "w2"]
    assert [each.status for each in items] == ["pass", "fail", "fail"]
    first = items[0]
    assert {each.name: each.score for each in first.results} == {
        "exact": 1, "alike": 1, "score": 0.75, "label": 1, "code": 1,
    }  # fmt: skip
    assert [(each.role, each.content) for each in first.sample.input] == [("system", "Say it."), ("user", "w0")]
    assert (first.sample.output[0].content, first.sample.temperature, first.sample.usage.total_tokens) == ("w0", 0, 4)
    assert evaluating.serving.tenants == {"local/batch"}
    assert evaluating.serving.bodies[0]["max_completion_tokens"] == 5
    items_of = evaluating.client.evals.runs.output_items
    again = await items_of.retrieve(items[1].id, eval_id=evaluating.id, run_id=run.id)
    assert again == type(again)(**items[1].model_dump())
    assert [each.id for each in await evaluating.items(run.id, status="fail")] == [items[1].id, items[2].id]
    assert [each.id for each in await evaluating.items(run.id, order="desc", limit=1)] == [
        each.id for each in reversed(items)
    ]
    assert [each.id for each in await evaluating.items(run.id, after=items[0].id)] == [items[1].id, items[2].id]


async def test_rows_of_a_file_that_hold_their_answers_are_graded(evaluating: Evaluating) -> None:
    rows = [{"item": {"word": "a"}, "sample": {"output_text": "a"}}, {"item": {"word": "b"}},
            {"item": {"word": "ü"}, "sample": {"output_text": "u"}}]  # fmt: skip
    content = b"\xef\xbb\xbf" + b"".join(json.dumps(each).encode() + b"\n\n" for each in rows)
    async with evaluating.world.client(evaluating.client.api_key) as api:
        uploaded = await api.post("/v1/files", files={"file": ("rows.jsonl", content)}, data={"purpose": "evals"})
        file = uploaded.json()["id"]
    await evaluating.create()
    source = {"type": "jsonl", "source": {"type": "file_id", "id": file}}
    runs = evaluating.client.evals.runs
    run = (await runs.create(evaluating.id, data_source=source)).id
    await evaluating.attempt(run)
    assert (await evaluating.run(run)).result_counts.model_dump() == {
        "total": 3, "errored": 1, "failed": 1, "passed": 1,
    }  # fmt: skip
    items = await evaluating.items(run)
    assert [each.status for each in items] == ["pass", "error", "fail"]
    assert items[1].results[0].error["code"] == "invalid_variable_error"
    assert evaluating.serving.asked == {}


HELD: dict[str, Any] = {
    "type": "object", "required": ["word"], "additionalProperties": False,
    "properties": {"word": {"type": "string", "maxLength": 9}, "at": {"type": "array", "items": {"type": "integer"}}},
}  # fmt: skip
REFERRED = {"$defs": {"row": HELD}, "$ref": "#/$defs/row"}
"""Not cheap by its form, so that a child looks at it."""
TREE = {"type": "object", "allOf": [{"properties": {"a": {"$ref": "#"}}}] * 2}
"""Doubles its steps at every level."""


def tree(levels: int) -> dict[str, Any]:
    return {"a": tree(levels - 1)} if levels else {}


@pytest.mark.parametrize("schema", [HELD, REFERRED], ids=["here", "child"])
async def test_rows_that_the_schema_of_the_eval_does_not_allow_are_refused_by_row_and_field(
    evaluating: Evaluating, schema: dict[str, Any]
) -> None:
    await evaluating.create(data_source_config={"type": "custom", "item_schema": schema})
    wrong: list[tuple[dict[str, Any], str, str]] = [
        ({"word": 5}, ".word", 'is not of type "string"'),
        ({"word": "a", "at": [1, "x"]}, ".at[1]", 'is not of type "integer"'),
        ({}, ".word", '"word" is a required property'),
        ({"word": "secret text"}, ".word", "longer than 9"),
        ({"word": "a", "b": 1}, "", "'b' was unexpected"),
    ]
    for row, place, problem in wrong[: 5 if schema is HELD else 2]:
        with pytest.raises(openai.BadRequestError) as refused:
            await evaluating.begin([{"item": {"word": "ok"}}, {"item": row}], type="jsonl")
        assert (refused.value.code, refused.value.param) == (
            "invalid_row", f"data_source.source.content[1].item{place}",
        )  # fmt: skip
        assert problem in refused.value.message
        assert "secret" not in refused.value.message
    await evaluating.begin([{"item": {"word": "ok", "at": [1]}}])


async def test_a_file_whose_rows_the_schema_does_not_allow_fails_the_run_by_line_and_field(
    evaluating: Evaluating,
) -> None:
    await evaluating.create(data_source_config={"type": "custom", "item_schema": HELD})
    good = b'\xef\xbb\xbf\n{"item": {"word": "a"}, "sample": {"output_text": "a"}}\n\n'
    shown = await evaluating.ended(good)
    assert (shown.status, shown.result_counts.passed) == ("completed", 1)
    shown = await evaluating.ended(good + b'{"item": {"word": "a", "at": ["x"]}}')
    assert (shown.status, shown.error.code) == ("failed", "invalid_row")
    assert "Line 4 of the file: item.at[0]: the value is not of type" in shown.error.message


async def test_a_schema_that_takes_too_long_stops_nobody(
    evaluating: Evaluating, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions.edge.routes.evals.SCHEMA_SECONDS", 0.6)
    monkeypatch.setattr("functions.run_eval.work.SCHEMA_SECONDS", 0.6)
    await evaluating.create(data_source_config={"type": "custom", "item_schema": TREE})
    with pytest.raises(openai.BadRequestError) as refused:
        await evaluating.begin([{"item": tree(50)}])
    assert (refused.value.code, refused.value.param) == ("schema_too_costly", "data_source.source.content")
    shown = await evaluating.ended(json.dumps({"item": tree(50)}).encode())
    assert (shown.status, shown.error.code) == ("failed", "schema_too_costly")


async def test_a_run_that_waits_says_why(evaluating: Evaluating) -> None:
    await evaluating.create()
    run, controls = await evaluating.begin(words(1)), evaluating.world.controls

    async def delays() -> list[Any]:
        listed = [each async for each in evaluating.client.evals.runs.list(evaluating.id)]
        return [each.to_dict()["delay"] for each in (await evaluating.run(run), *listed)]

    assert await delays() == [None, None]
    await controls.open(run, "local", handler.STAGE, {})
    claim = await controls.claim(handler.STAGE, "a worker")
    assert claim is not None
    await controls.release(claim, forgive=True, why="serving is away")
    assert [each["code"] for each in await delays()] == ["waiting_for_dependency"] * 2
    await evaluating.attempt(run)
    assert await delays() == [None, None]


async def test_messages_of_the_rows_themselves_are_asked_as_responses_too(evaluating: Evaluating) -> None:
    await evaluating.create()
    rows = [{"item": {"word": "x", "chat": [{"role": "user", "content": "x"}]}}, {"item": {"word": "x", "chat": 1}},
            {"item": {"word": "x"}}, {"item": {"word": "x", "chat": [5]}}]  # fmt: skip
    ask = {"type": "item_reference", "item_reference": "item.chat"}
    form = {"type": "json_schema", "name": "n", "schema": {"type": "object"}}
    more = {"input_messages": ask, "sampling_params": {"text": {"format": form}, "seed": 3}}
    run, items = await evaluating.graded(rows, type="responses", **more)
    assert (run.result_counts.passed, run.result_counts.errored) == (1, 3)
    (body,) = evaluating.serving.bodies
    assert body["response_format"]["json_schema"] == {"name": "n", "schema": {"type": "object"}}
    assert body["seed"] == 3
    assert "no list" in items[1].sample.error.message
    assert "item.chat" in items[2].sample.error.message
    assert "no list" in items[3].sample.error.message


async def test_a_run_goes_on_after_a_crash_and_asks_no_recorded_row_again(evaluating: Evaluating) -> None:
    await evaluating.create()
    run = await evaluating.begin(words(3 * PART + 1))

    def crash(question: str) -> None:
        if question == f"w{2 * PART}":
            raise Crash

    evaluating.serving.before = crash
    with pytest.raises(BaseExceptionGroup):
        await evaluating.attempt(run)
    shown = await evaluating.run(run)
    assert (shown.status, shown.result_counts.passed) == ("in_progress", 2 * PART)
    assert len(await evaluating.items(run, limit=100)) == 2 * PART
    evaluating.serving.before = None
    await evaluating.attempt(run)
    assert (await evaluating.run(run)).result_counts.passed == 3 * PART + 1
    ids = [each.id for each in await evaluating.items(run, limit=7)]
    assert len(ids) == len(set(ids)) == 3 * PART + 1
    assert all(evaluating.serving.asked[f"w{number}"] == 1 for number in range(2 * PART))


async def test_serving_that_is_away_is_waited_for_and_what_it_refuses_is_a_row(
    evaluating: Evaluating, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions._shared.patience._WAIT", 0)
    await evaluating.create()
    run = await evaluating.begin(words(2))
    evaluating.serving.before = lambda _: 503
    with pytest.raises(UnavailableError):
        await evaluating.attempt(run)
    evaluating.serving.before = lambda question: 400 if question == "w1" else None
    await evaluating.attempt(run)
    good, bad = await evaluating.items(run)
    assert (good.status, bad.status, bad.results) == ("pass", "error", [])
    assert bad.sample.error.message == "It is too long."


@pytest.mark.parametrize(("path", "rows"), [("/cancel", 2 * PART), ("", 2 * PART), ("/cancel", PART)])
async def test_a_cancelled_run_stops_and_keeps_what_is_graded(evaluating: Evaluating, path: str, rows: int) -> None:
    await evaluating.create()
    run = await evaluating.begin(words(rows))
    tasks: list[Any] = []

    async def cancel() -> None:
        async with evaluating.world.client(evaluating.client.api_key) as api:
            answer = await api.post(f"/v1/evals/{evaluating.id}/runs/{run}{path}")
            assert answer.json()["status"] == "canceled", answer.text

    def soon(question: str) -> None:
        if question == "w0":
            tasks.append(asyncio.create_task(cancel()))

    evaluating.serving.before = soon
    await evaluating.attempt(run)
    await asyncio.gather(*tasks)
    shown = await evaluating.run(run)
    assert (shown.status, shown.result_counts.passed) == ("canceled", PART)
    assert len(await evaluating.items(run)) == PART
    assert (await evaluating.client.evals.runs.cancel(run, eval_id=evaluating.id)).status == "canceled"


async def test_what_is_deleted_is_gone_with_all_that_was_made_of_it(evaluating: Evaluating) -> None:
    world, evals = evaluating.world, evaluating.client.evals
    await evaluating.create()
    first, second, third = [await evaluating.begin(words(PART + number)) for number in (1, 2, 3)]
    for run in (first, second):
        await evaluating.attempt(run)
    gone = await evals.runs.delete(first, eval_id=evaluating.id)
    assert (gone.deleted, gone.run_id) == (True, first)
    assert await world.blobs.list(f"local/{first}/") == []
    assert [each.id async for each in evals.runs.list(evaluating.id)] == [second, third]
    with pytest.raises(openai.NotFoundError):
        await evaluating.run(first)
    with pytest.raises(openai.NotFoundError):
        await evaluating.items(first)
    deleted = await evals.delete(evaluating.id)
    assert (deleted.deleted, deleted.eval_id, deleted.object) == (True, evaluating.id, "eval.deleted")
    await evaluating.attempt(third)  # it had been begun: nothing of it stays
    assert [key for key in await world.blobs.list("local/") if "eval" in key] == []
    assert [each.id async for each in evals.list()] == []
    with pytest.raises(openai.NotFoundError):
        await evals.retrieve(evaluating.id)


async def test_evals_are_named_anew_and_listed_in_pages(evaluating: Evaluating) -> None:
    evals = evaluating.client.evals
    made = [(await evaluating.create(name=f"e{number}", metadata={"k": "v"})).id for number in range(5)]
    shown = await evals.retrieve(made[0])
    assert (shown.name, shown.metadata, shown.testing_criteria[0].name) == ("e0", {"k": "v"}, "exact")
    assert set(shown.data_source_config.schema_["properties"]) == {"item", "sample"}
    assert (await evals.update(made[0], name="new")).metadata == {"k": "v"}
    assert (await evals.update(made[0], metadata={})).name == "new"
    assert [each.id async for each in evals.list(limit=2)] == made
    assert [each.id async for each in evals.list(limit=2, order="desc")] == made[::-1]
    assert [each.id async for each in evals.list(limit=2, order_by="updated_at")] == [*made[1:], made[0]]
    runs = [await evaluating.begin(words(number + 1)) for number in range(3)]
    await evaluating.attempt(runs[1])
    assert [each.id async for each in evals.runs.list(evaluating.id, limit=1)] == runs
    assert [each.id async for each in evals.runs.list(evaluating.id, status="completed")] == [runs[1]]


async def test_another_tenants_evals_are_not_there(world: World, evaluating: Evaluating) -> None:
    await evaluating.create()
    run, items = await evaluating.graded(words(1))
    base = f"/v1/evals/{evaluating.id}"
    async with world.client(await world.key("acme", 7)) as other:
        for path in (base, f"{base}/runs", f"{base}/runs/{run.id}", f"{base}/runs/{run.id}/output_items",
                     f"{base}/runs/{run.id}/output_items/{items[0].id}"):  # fmt: skip
            assert (await other.get(path)).status_code == 404
        for path in (base, f"{base}/runs/{run.id}"):
            assert (await other.delete(path)).status_code == 404
        assert (await other.post(f"{base}/runs/{run.id}/cancel")).status_code == 404
        made = (await other.post("/v1/evals", json={"data_source_config": CONFIG, "testing_criteria": [EXACT]})).json()
        assert (await other.get(f"/v1/evals/{made['id']}/runs/{run.id}")).status_code == 404
    with pytest.raises(openai.NotFoundError):
        await evaluating.client.evals.runs.output_items.retrieve(
            items[0].id.rpartition("_")[0] + "_99", eval_id=evaluating.id, run_id=run.id
        )


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"data_source_config": {"type": "logs", "metadata": {"a.b": "c"}}}, "invalid_value",
         "data_source_config.metadata"),
        ({"data_source_config": {"type": "custom"}}, "missing_required_parameter", "data_source_config.item_schema"),
        *(({"data_source_config": {"type": "custom", "item_schema": schema}}, "invalid_schema",
           f"data_source_config.item_schema{place}")
          for schema, place in (({"type": "strin"}, ".type"), ({"$ref": "http://127.0.0.1:9/x"}, ""),
                                ({"properties": {"a": {"pattern": "(?=a)"}}}, ".properties.a.pattern"),
                                ({"properties": {"a": {"minimum": "x"}}}, ".properties.a.minimum"))),
        ({"testing_criteria": []}, "empty_array", "testing_criteria"),
        ({"testing_criteria": [EXACT, EXACT]}, "duplicate_name", "testing_criteria[1].name"),
        ({"testing_criteria": [{**EXACT, "type": "multi"}]}, "invalid_value", "testing_criteria[0].type"),
        ({"testing_criteria": [{**EXACT, "reference": "{{ x }}"}]}, "invalid_template",
         "testing_criteria[0].reference"),
        ({"testing_criteria": [{"type": "python", "name": "p", "source": "1"}]}, "invalid_grader",
         "testing_criteria[0].source"),
        ({"testing_criteria": [EXACT] * 33}, "array_above_max_length", "testing_criteria"),
        ({"name": "n" * 257}, "string_above_max_length", "name"),
    ],
)  # fmt: skip
async def test_what_is_wrong_with_an_eval_is_named(
    world: World, key: str, change: dict[str, Any], code: str, param: str
) -> None:
    async with world.client(key) as api:
        body = {"data_source_config": CONFIG, "testing_criteria": [EXACT], **change}
        answer = await api.post("/v1/evals", json=body)
    assert (answer.status_code, answer.json()["error"]["code"], answer.json()["error"]["param"]) == (400, code, param)


ROWS = {"type": "file_content", "content": [{"item": {}}]}


@pytest.mark.parametrize(
    ("source", "code", "param"),
    [
        ({"type": "jsonl", "source": {"type": "file_id", "id": "file-1"}}, "file_not_found", "data_source.source.id"),
        ({"type": "jsonl", "source": {"type": "file_id"}}, "missing_required_parameter", "data_source.source.id"),
        ({"type": "jsonl", "source": {"type": "file_content", "content": []}}, "empty_array",
         "data_source.source.content"),
        ({"type": "jsonl", "source": {"type": "stored_completions"}}, "unsupported", "data_source.source.type"),
        ({"type": "completions", "source": ROWS, "model": "none", "input_messages": ASK}, "model_not_found",
         "data_source.model"),
        ({"type": "completions", "source": ROWS, "model": BASE}, "missing_required_parameter",
         "data_source.input_messages"),
        ({"type": "completions", "source": ROWS, "model": BASE,
          "input_messages": {"type": "item_reference", "item_reference": "sample.x"}}, "invalid_value",
         "data_source.input_messages.item_reference"),
        ({"type": "responses", "source": ROWS, "model": BASE, "input_messages": ASK,
          "sampling_params": {"tools": [{}]}}, "unsupported", "data_source.sampling_params.tools"),
        ({"type": "else", "source": ROWS}, "invalid_value", "data_source.type"),
    ],
)  # fmt: skip
async def test_what_is_wrong_with_a_run_is_named(
    evaluating: Evaluating, source: dict[str, Any], code: str, param: str
) -> None:
    await evaluating.create()
    with pytest.raises(openai.BadRequestError) as refused:
        await evaluating.client.evals.runs.create(evaluating.id, data_source=source)
    assert (refused.value.code, refused.value.param) == (code, param)


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"{", "Line 1"), (b'{"item": {}}\n[]', "Line 2"), (b'{"item": 1}', "Line 1"), (b"\n\n", "no rows"),
     (b'{"item": {"x": "' + b"x" * 2**18 + b'"}}', "Line 1"), (b'{"item": {"x": "\\ud800"}}', "Line 1"),
     (b'{"item": {"x": NaN}}', "Line 1"), (b"[" * 5000, "Line 1"),
     (b'{"item": {"x": ' + b"[" * 200 + b"]" * 200 + b"}}", "Line 1"), (b'{"item": {"x": 1e999}}', "Line 1")],
    ids=["cut", "list", "number", "empty", "long", "surrogate", "nan", "deep", "nested", "infinite"],
)  # fmt: skip
async def test_a_file_with_a_wrong_line_fails_the_run(evaluating: Evaluating, content: bytes, says: str) -> None:
    await evaluating.create()
    shown = await evaluating.ended(content)
    assert shown.status == "failed"
    assert says in shown.error.message


async def test_a_run_that_failed_too_often_says_so(evaluating: Evaluating) -> None:
    await evaluating.create()
    run = await evaluating.begin(words(1))
    lease = held(run, "local", handler.STAGE, {"event_id": "e"})
    for event in exhausted(lease.claim, "five attempts"):
        await evaluating.world.documents.apply(await evaluating.world.emit(event))
    shown = await evaluating.run(run)
    assert (shown.status, shown.error.code) == ("failed", "run_failed")
