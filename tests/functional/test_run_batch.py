"""Batches, from the file to the files of answers: each line is answered once, whatever happens on the way."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai.types.responses import Response

from contracts.envelope import Event
from contracts.events.batches import BatchEnded
from contracts.ports import PostponedError, UnavailableError
from contracts.wire.asked import EMBEDDINGS, PASSED_ON, RESPONSES
from functions.edge.routes import batches
from functions.run_batch import core
from functions.run_batch import handler as running
from functions.run_batch.settings import BatchSettings
from functions.run_batch.work import BatchPorts, work
from functions.validate_file import handler as validating
from functions.validate_file import work as validation
from tests.children import ForkedChild
from tests.functional.edge import BASE, CannedReply, World
from tests.functional.responding import Model, Says, call
from tests.functional.test_edge_files import upload
from tests.leases import held

CHAT = "/v1/chat/completions"
LINES = 150


def line(number: int, **changes: Any) -> dict[str, Any]:
    body = {"model": BASE, "messages": [{"role": "user", "content": f"question {number}"}], "max_tokens": 4}
    return {"custom_id": f"id-{number}", "method": "POST", "url": CHAT, "body": body, **changes}


def content(*lines: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in lines)


class Crash(BaseException):
    """The process is gone."""


class Serving:
    """A serving process that counts what it is asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.tenants: set[str] = set()
        self.at_once = self.most_at_once = 0
        self.before: Any = None
        """Called with each question; raises what goes wrong."""

    async def __call__(self, path: str, body: bytes, manifest: Any, request_id: str, tenant: str) -> CannedReply:
        asked = json.loads(body)
        question = asked["messages"][0]["content"]
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0)
            status = (self.before(question) if self.before else None) or 200
        finally:
            self.at_once -= 1
        self.asked[question] += 1
        self.tenants.add(tenant)
        said = {"object": "chat.completion", "of": question} if status == 200 else {"error": {"code": "refused"}}
        return CannedReply(status, {"content-type": "application/json"}, _once(json.dumps(said).encode()))


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


class Batching:
    """A tenant with a batch."""

    def __init__(self, world: World, api: httpx.AsyncClient, scratch: Path) -> None:
        self.world, self.api, self.scratch = world, api, scratch
        self.serving: Any = Serving()
        self.later = 0
        self.ends: list[str] = []

    async def file(self, data: bytes, check: bool = True) -> str:
        """Upload a file, and have it checked as in operation."""
        answer = await upload(self.api, data, "requests.jsonl", "batch")
        assert answer.status_code == 200, answer.text
        id: str = answer.json()["id"]
        if check:
            await self.check(id)
        return id

    async def check(self, id: str) -> None:
        view = await self.world.documents.get("files", id)
        assert view is not None
        lease = held(id, "local", "validate", {**validating.inputs_of(view), "event_id": "e"})
        for event in await validation.work(lease, self.world.blobs, ForkedChild(), self.scratch):
            await self.world.documents.apply(await self.world.emit(event))

    async def create(self, file: str, **changes: Any) -> httpx.Response:
        body = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h", **changes}
        return await self.api.post("/v1/batches", json=body)

    async def begun(self, *lines: dict[str, Any]) -> str:
        id: str = (await self.create(await self.file(content(*lines)))).json()["id"]
        return id

    async def shown(self, id: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.api.get(f"/v1/batches/{id}")).json()
        return found

    async def attempt(self, id: str) -> None:
        """Work at the batch once, as whoever holds its lease does, and say what came of it."""
        world, now = self.world, self.world.deps.now
        lease = held(id, "local", running.STAGE, {"event_id": "e"}, world.controls)
        ports = BatchPorts(
            world.blobs, world.documents, self._emit, self.serving, self.scratch, lambda: now() + self.later,
            BatchSettings(),
        )  # fmt: skip
        events = await work(lease, ports)
        self.ends.append(events[-1].type)
        for event in events:
            await world.documents.apply(await world.emit(event))
            if isinstance(event.data, BatchEnded):
                await running.on_batch_ended(event, world.blobs)

    async def _emit(self, event: Event) -> Event:
        return await self.world.deps.emit(event)

    async def lines(self, file: str | None) -> list[dict[str, Any]]:
        if file is None:
            return []
        return [json.loads(each) for each in (await self.api.get(f"/v1/files/{file}/content")).content.splitlines()]

    async def answers(self, id: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return the lines of both files, having checked that the batch is over and nothing else is left of it."""
        batch = await self.shown(id)
        assert await self.world.blobs.list(f"local/{id}/") == []
        good, bad = await self.lines(batch["output_file_id"]), await self.lines(batch["error_file_id"])
        ids = [each["custom_id"] for each in (*good, *bad)]
        assert len(ids) == len(set(ids))
        assert batch["request_counts"]["completed"] == len(good)
        return good, bad


@pytest.fixture
def batching(world: World, api: httpx.AsyncClient, tmp_path: Path) -> Batching:
    return Batching(world, api, tmp_path)


def error(response: httpx.Response, code: str | None, status: int = 400) -> str:
    assert response.status_code == status, response.text
    found: dict[str, Any] = response.json()["error"]
    assert found["code"] == code, found
    message: str = found["message"]
    return message


async def test_every_line_is_answered_and_the_answers_are_files(batching: Batching) -> None:
    id = await batching.begun(*(line(number) for number in range(LINES)))
    assert (await batching.shown(id))["status"] == "validating"
    await batching.attempt(id)
    batch = await batching.shown(id)
    assert (batch["status"], batch["model"], batch["errors"]) == ("completed", BASE, None)
    assert batch["request_counts"] == {"total": LINES, "completed": LINES, "failed": 0}
    assert batch["created_at"] <= batch["in_progress_at"] <= batch["finalizing_at"] <= batch["completed_at"]
    assert batch["expires_at"] - batch["created_at"] == 24 * 3600
    good, bad = await batching.answers(id)
    assert bad == []
    assert batch["error_file_id"] is None
    assert [each["custom_id"] for each in good] == [f"id-{number}" for number in range(LINES)]
    assert all(each["response"]["status_code"] == 200 and each["error"] is None for each in good)
    assert [each["response"]["body"]["of"] for each in good] == [f"question {number}" for number in range(LINES)]
    assert set(batching.serving.asked.values()) == {1}
    assert batching.serving.tenants == {"local/batch"}
    assert batching.serving.most_at_once == BatchSettings().batch_concurrency
    file = (await batching.api.get(f"/v1/files/{batch['output_file_id']}")).json()
    assert (file["purpose"], file["status"]) == ("batch_output", "processed")


async def test_whatever_kills_the_work_no_recorded_line_is_asked_twice(batching: Batching) -> None:
    """The process dies before each of the operations that change something, one after the other."""
    id = await batching.begun(*(line(number) for number in range(LINES)))
    world, state = batching.world, {"left": 0}

    def dies() -> None:
        state["left"] -= 1
        if state["left"] == 0:
            raise Crash

    put, store, emit = world.blobs.put, world.blobs.store, world.emit
    recorded: set[str] = set()

    async def dying_put(key: str, *args: Any, **more: Any) -> Any:
        dies()
        ref = await put(key, *args, **more)
        if "/parts/" in key:
            recorded.update(json.loads(each)["custom_id"] for each in (await world.blobs.get(key)).splitlines())
        return ref

    async def dying_store(*args: Any, **more: Any) -> Any:
        dies()
        return await store(*args, **more)

    async def dying_emit(event: Event) -> Event:
        dies()
        return await emit(event)

    world.blobs.put, world.blobs.store = dying_put, dying_store
    batching._emit = dying_emit
    crashes = 0
    for at in range(1, 100):
        state["left"] = at
        before, known = Counter(batching.serving.asked), set(recorded)
        try:
            await batching.attempt(id)
            break
        except Crash:
            crashes += 1
        finally:
            again = {each.replace("question ", "id-") for each in batching.serving.asked - before}
            assert not again & known
    assert crashes >= 7
    good, bad = await batching.answers(id)
    assert (len(good), bad) == (LINES, [])
    assert batching.ends == ["batch.ended"]


async def test_a_line_whose_request_is_wrong_goes_to_the_errors_with_openais_body(batching: Batching) -> None:
    wrong = line(1)
    wrong["body"]["temperatur"] = 1
    batching.serving.before = lambda question: 400 if question == "question 2" else None
    large = line(3)
    large["body"]["messages"][0]["content"] = "x" * 2**20
    id = await batching.begun(line(0), wrong, line(2), large)
    await batching.attempt(id)
    good, bad = await batching.answers(id)
    assert [each["custom_id"] for each in good] == ["id-0"]
    assert [(each["custom_id"], each["response"]["status_code"]) for each in bad] == [
        ("id-1", 400), ("id-2", 400), ("id-3", 413),
    ]  # fmt: skip
    live = await batching.api.post(CHAT, json=wrong["body"])
    assert bad[0]["response"]["body"] == live.json()
    assert (await batching.shown(id))["request_counts"] == {"total": 4, "completed": 1, "failed": 3}


def response_line(number: int, **body: Any) -> dict[str, Any]:
    asked = {"model": BASE, "input": f"question {number}", **body}
    return {"custom_id": f"id-{number}", "method": "POST", "url": RESPONSES, "body": asked}


async def test_lines_for_responses_are_answered_by_responses(batching: Batching) -> None:
    model = batching.serving = Model(
        [Says("red 3", thought="well"), Says(calls=(call("weather"),), finish="tool_calls")]
    )
    tool = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
    file = await batching.file(
        content(response_line(0, instructions="Be brief.", max_output_tokens=9), response_line(1, tools=[tool]))
    )
    id = (await batching.create(file, endpoint=RESPONSES)).json()["id"]
    await batching.attempt(id)
    good, bad = await batching.answers(id)
    assert bad == []
    told = [Response.model_validate(each["response"]["body"], strict=True) for each in good]
    assert [each.output_text for each in told] == ["red 3", ""]
    assert [[item.type for item in each.output] for each in told] == [["reasoning", "message"], ["function_call"]]
    assert len({item.id for each in told for item in each.output}) == 3
    assert all(each["response"]["body"]["store"] is False for each in good)
    assert (await batching.api.get(f"{RESPONSES}/{told[0].id}")).status_code == 404
    assert model.asked[0] == {
        "model": BASE,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "question 0"}],
        "max_completion_tokens": 9,
    }
    assert "stream" not in model.asked[1]


async def test_a_wrong_line_for_a_response_is_told_in_the_names_of_a_response(batching: Batching) -> None:
    place = "response_format.json_schema.schema.properties.a.not"
    refused = {"message": "Invalid schema for response_format 'x': no.", "type": "invalid_request_error"}
    batching.serving = Model([(400, {"error": {**refused, "param": place, "code": "invalid_json_schema"}})])
    lines = [
        response_line(0),
        response_line(1, input=[{"role": "user"}]),
        response_line(2, previous_response_id="resp_1"),
        response_line(3, store=True),
        response_line(4, tools=[{"type": "web_search"}]),
        response_line(5, temperatur=1),
        response_line(6, background=True),
        response_line(7, input="x" * 2**20),
    ]
    id = (await batching.create(await batching.file(content(*lines)), endpoint=RESPONSES)).json()["id"]
    await batching.attempt(id)
    good, bad = await batching.answers(id)
    assert good == []
    told = [each["response"]["body"]["error"] for each in bad]
    assert [each["param"] for each in told] == [
        "text.format.schema.properties.a.not", "input[0].content", "previous_response_id", "store", "tools[0]",
        "temperatur", "background", None,
    ]  # fmt: skip
    assert told[0]["message"] == "Invalid schema for text.format 'x': no."
    assert [each["response"]["status_code"] for each in bad] == [400] * 7 + [413]


async def test_lines_for_embeddings_are_answered_and_may_be_as_long_as_live_ones(batching: Batching) -> None:
    vector = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}], "model": BASE}
    batching.serving = Model([(200, vector)])
    lines = [
        {"custom_id": f"id-{number}", "method": "POST", "url": EMBEDDINGS, "body": {"model": BASE, "input": text}}
        for number, text in enumerate(["red", "x" * 2**20, ["a", "b"]])
    ]
    id = (await batching.create(await batching.file(content(*lines)), endpoint=EMBEDDINGS)).json()["id"]
    await batching.attempt(id)
    good, bad = await batching.answers(id)
    assert [each["response"]["body"] for each in good] == [vector] * 3
    assert [each["input"] for each in batching.serving.asked] == ["red", "x" * 2**20, ["a", "b"]]
    assert bad == []


async def test_a_serving_process_that_is_away_is_waited_for(
    batching: Batching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions._shared.patience._WAIT", 0)
    id = await batching.begun(*(line(number) for number in range(70)))

    def away(question: str) -> int | None:
        return 503 if question == "question 66" else None

    batching.serving.before = away
    with pytest.raises(UnavailableError):
        await batching.attempt(id)
    assert (await batching.shown(id))["request_counts"]["completed"] == 64
    batching.serving.before = None
    first = Counter(batching.serving.asked)
    await batching.attempt(id)
    assert all(batching.serving.asked[f"question {number}"] == first[f"question {number}"] for number in range(64))
    assert len((await batching.answers(id))[0]) == 70


async def test_a_line_at_which_serving_breaks_every_time_does_not_hold_the_others(
    batching: Batching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions._shared.patience._WAIT", 0)
    batching.serving.before = lambda question: 500 if question == "question 1" else None
    id = await batching.begun(*(line(number) for number in range(3)))
    await batching.attempt(id)
    good, bad = await batching.answers(id)
    assert (len(good), [each["response"]["status_code"] for each in bad]) == (2, [500])


async def test_a_cancelled_batch_keeps_what_was_answered(batching: Batching) -> None:
    id = await batching.begun(*(line(number) for number in range(LINES)))
    asked = {"n": 0}

    def cancel(_question: str) -> None:
        asked["n"] += 1
        if asked["n"] == core.PART + 1:
            asyncio.get_running_loop().create_task(batching.api.post(f"/v1/batches/{id}/cancel"))

    batching.serving.before = cancel
    await batching.attempt(id)
    batch = await batching.shown(id)
    assert batch["status"] == "cancelled"
    assert batch["cancelling_at"] <= batch["cancelled_at"]
    good, bad = await batching.answers(id)
    assert len(good) == 2 * core.PART
    assert {each["error"]["code"] for each in bad} == {"batch_cancelled"}
    assert len(good) + len(bad) == LINES
    assert (await batching.api.post(f"/v1/batches/{id}/cancel")).json()["status"] == "cancelled"


async def test_a_batch_that_is_cancelled_while_its_last_lines_are_asked_has_them_and_stays_cancelled(
    batching: Batching,
) -> None:
    id = await batching.begun(line(0))
    cancelled = list[asyncio.Task[httpx.Response]]()

    def cancel(_question: str) -> None:
        cancelled.append(asyncio.get_running_loop().create_task(batching.api.post(f"/v1/batches/{id}/cancel")))

    batching.serving.before = cancel
    await batching.attempt(id)
    assert (await cancelled[0]).json()["status"] == "cancelling"
    assert (await batching.shown(id))["status"] == "cancelled"
    good, bad = await batching.answers(id)
    assert (len(good), bad) == (1, [])


async def test_a_batch_that_nobody_came_to_expires(batching: Batching) -> None:
    id = await batching.begun(line(0), line(1))
    batching.later = 24 * 3600 * 1000 + 1000
    await batching.attempt(id)
    batch = await batching.shown(id)
    assert (batch["status"], batch["expired_at"] is None) == ("expired", False)
    _, bad = await batching.answers(id)
    assert [each["error"]["code"] for each in bad] == ["batch_expired"] * 2
    assert batching.serving.asked == {}


async def test_a_batch_waits_for_its_file(batching: Batching) -> None:
    file = await batching.file(content(line(0)), check=False)
    id = (await batching.create(file)).json()["id"]
    with pytest.raises(PostponedError):
        await batching.attempt(id)
    assert error(await batching.api.delete(f"/v1/files/{file}"), "file_in_use")
    await batching.check(file)
    await batching.attempt(id)
    assert (await batching.shown(id))["status"] == "completed"
    assert (await batching.api.delete(f"/v1/files/{file}")).status_code == 200


@pytest.mark.parametrize(
    ("lines", "code", "where"),
    [
        ([line(0), {**line(0), "method": "GET"}], "duplicate_custom_id", (2, "custom_id")),
        ([line(0, method="GET")], "invalid_method", (1, "method")),
        ([line(0), line(1, url="/v1/images/generations")], "invalid_url", (2, "url")),
        ([line(0), line(1, url="/v1/completions")], "mismatched_url", (2, "url")),
        ([line(0, custom_id=3)], "invalid_custom_id", (1, "custom_id")),
        ([line(0, body="x")], "invalid_body", (1, "body")),
        ([line(0, body={"messages": []})], "missing_model", (1, "body.model")),
        ([line(0), line(1, body={"model": "another"})], "mismatched_model", (2, "body.model")),
        ([line(0, body={"model": BASE, "stream": True})], "stream", (1, "body.stream")),
        ([{"messages": []}], "unknown_key", (1, "messages")),
    ],
    ids=str,
)
async def test_a_line_that_is_no_request_fails_the_batch_and_is_named(
    batching: Batching, lines: list[dict[str, Any]], code: str, where: tuple[int, str]
) -> None:
    id = await batching.begun(*lines)
    await batching.attempt(id)
    batch = await batching.shown(id)
    assert batch["status"] == "failed"
    found = batch["errors"]["data"][0]
    assert (found["code"], found["line"], found["param"]) == (code, *where)
    assert batching.serving.asked == {}


async def test_a_batch_of_another_path_or_model_than_there_is_fails(batching: Batching) -> None:
    file = await batching.file(content(line(0)))
    other = (await batching.create(file, endpoint="/v1/completions")).json()["id"]
    nobody = await batching.begun(line(0, body={"model": "nobody", "messages": []}))
    for id, code in ((other, "mismatched_endpoint"), (nobody, "model_not_found")):
        await batching.attempt(id)
        assert (await batching.shown(id))["errors"]["data"][0]["code"] == code


async def test_what_makes_no_sense_is_refused(batching: Batching, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (await upload(batching.api)).json()["id"]
    file = await batching.file(content(line(0)))
    error(await batching.create(rows), "invalid_file_purpose")
    error(await batching.create("file-none"), "file_not_found")
    assert CHAT in error(await batching.create(file, endpoint="/v1/moderations"), "unsupported")
    error(await batching.create(file, completion_window="1h"), "invalid_value")
    error(await batching.create(file, metadata={"k": "v" * 513}), "string_above_max_length")
    error(await batching.api.get("/v1/batches/batch_none"), None, 404)
    error(await upload(batching.api, b"%PDF-1.7", "a.pdf", "batch"), "unsupported_file")
    id = (await batching.create(file, metadata={"k": "v"})).json()["id"]
    assert [each["id"] for each in (await batching.api.get("/v1/batches")).json()["data"]] == [id]
    async with batching.world.client(await batching.world.key("acme", 1)) as other:
        error(await other.get(f"/v1/batches/{id}"), None, 404)
        error(await other.post(f"/v1/batches/{id}/cancel"), None, 404)
        assert (await other.get("/v1/batches")).json()["data"] == []
    await batching.attempt(id)
    error(await batching.api.post(f"/v1/batches/{id}/cancel"), "batch_already_ended")
    monkeypatch.setattr(batches, "MOST_OPEN", 1)
    await batching.create(file)
    error(await batching.create(file), "too_many_batches")


async def test_every_path_that_takes_batches_is_served(world: World) -> None:
    served = {route.path for route in world.app.routes if "POST" in (getattr(route, "methods", None) or ())}
    assert PASSED_ON.keys() <= served
