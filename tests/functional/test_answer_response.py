"""Responses in the background by the official client, strictly: made once, cancelled, deleted, through crashes."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import Response

from contracts.events.completions import STAGE
from contracts.events.models import ModelDeleted
from contracts.ports import AbandonedError, UnavailableError
from functions._shared import patience
from functions.answer_response import core, handler
from functions.answer_response.work import ResponsePorts, exhausted, work
from functions.edge import background
from functions.run_eval.core import stored_where
from infra.runtime import leases
from infra.runtime.functions import stages
from infra.runtime.leases import Placed, Runner, WakeUps
from tests.functional.edge import BASE, CannedReply, World
from tests.functional.responding import Model, Says, call
from tests.leases import held

FORM = {"type": "json_schema", "name": "answer", "schema": {"not": {}}}


class Crash(BaseException):
    """The process is gone."""


class Making:
    """A tenant, the worker that answers its responses, and the serving process that it asks."""

    def __init__(self, world: World, client: AsyncOpenAI) -> None:
        self.world, self.client = world, client
        self.model = Model([Says("red 3")])
        self.tenants: set[str] = set()
        self.before: Any = None
        """Awaited with each question; raises what goes wrong."""
        self.now = 0

    async def complete(self, *asked: Any) -> Any:
        self.tenants.add(asked[4])
        reply = await self.model(*asked)
        if self.before is not None:
            await self.before()
        return reply

    async def create(self, **asked: Any) -> Response:
        return await self.client.responses.create(**{"model": BASE, "input": "Hi", "background": True, **asked})

    async def get(self, id: str) -> Response:
        return await self.client.responses.retrieve(id)

    @property
    def ports(self) -> ResponsePorts:
        world = self.world
        return ResponsePorts(world.blobs, world.documents, world.deps.emit, self.complete, lambda: self.now)

    async def attempt(self, id: str) -> None:
        """Work at it once, as whoever holds its lease does, and say what came of it."""
        world = self.world
        for event in await work(held(id, "local", STAGE, {"event_id": "e"}, world.controls), self.ports):
            await world.documents.apply(await world.emit(event))

    async def made(self, **asked: Any) -> Response:
        """One that was asked for and worked at once."""
        id = (await self.create(**asked)).id
        await self.attempt(id)
        return await self.get(id)

    async def opened(self) -> None:
        """React to every request, as the log brings them."""
        for event in self.world.emit.events:
            if event.type == "completion.requested":
                await handler.on_completion_requested(event, self.world.controls, lambda stage: None)

    def runner(self) -> asyncio.Task[None]:
        """A worker at its work."""
        world = self.world
        placed = Placed(stages()[STAGE], lambda lease: work(lease, self.ports))
        return asyncio.create_task(
            Runner(placed, "a worker", world.controls, world.deps.emit, world.documents, WakeUps()).run()
        )

    def said(self, topic: str) -> int:
        return len({event.id for event in self.world.emit.events if event.type == topic})


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0)


@pytest.fixture
async def making(world: World, key: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Making]:
    monkeypatch.setattr(patience, "_WAIT", 0)
    http = httpx.AsyncClient(transport=httpx.ASGITransport(world.app))
    async with AsyncOpenAI(
        base_url="http://edge/v1", api_key=key, http_client=http, max_retries=0, _strict_response_validation=True
    ) as client:
        yield Making(world, client)


async def refused(asking: Any) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as found:
        await asking
    return found.value


async def test_a_response_is_queued_answered_and_gone_on_from(making: Making) -> None:
    making.model.says = [Says("red", thought="well", calls=(call("a"),), finish="tool_calls"), Says("blue")]
    asked = await making.create(instructions="Sing.", metadata={"a": "b"}, temperature=0.5)
    assert (asked.status, asked.background, asked.output, asked.metadata) == ("queued", True, [], {"a": "b"})
    assert making.model.asked == []
    assert (await making.get(asked.id)) == asked
    await making.attempt(asked.id)
    done = await making.get(asked.id)
    assert (done.status, done.background, done.created_at) == ("completed", True, asked.created_at)
    assert [item.type for item in done.output] == ["reasoning", "message", "function_call"]
    assert done.usage is not None
    assert (done.usage.total_tokens, done.metadata) == (5, {"a": "b"})
    (chat,) = making.model.asked
    assert (chat["stream"], chat["temperature"], making.tenants) == (True, 0.5, {"local/batch"})
    assert chat["messages"] == [{"role": "system", "content": "Sing."}, {"role": "user", "content": "Hi"}]
    after = await making.made(
        previous_response_id=asked.id, input=[{"type": "function_call_output", "call_id": "call_1", "output": "7"}]
    )
    assert (after.status, after.output_text, after.previous_response_id) == ("completed", "blue", asked.id)
    assert [each["role"] for each in making.model.asked[1]["messages"]] == ["user", "assistant", "tool"]
    items = [item.id async for item in making.client.responses.input_items.list(after.id, order="asc")]
    assert len({*items, after.output[0].id}) == len(items) + 1 == 6
    making.world.complete = making.model
    now = await making.client.responses.create(model=BASE, input="And?", previous_response_id=after.id, store=False)
    assert now.background is False


async def test_an_answer_that_is_cut_is_incomplete(making: Making) -> None:
    making.model.says = [Says("red", finish="length")]
    cut = await making.made()
    assert cut.incomplete_details is not None
    assert (cut.status, cut.incomplete_details.reason, cut.output_text) == ("incomplete", "max_output_tokens", "red")


async def test_a_cancelled_response_stops_the_work_and_stays_cancelled(
    making: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "HEARTBEAT_SECONDS", 0.01)
    making.model.waits = asyncio.Event()
    id = (await making.create()).id
    await making.opened()
    worker = making.runner()
    await until(lambda: making.model.asked)
    assert (await making.get(id)).status == "in_progress"
    cancelled = await making.client.responses.cancel(id)
    assert (cancelled.status, cancelled.output) == ("cancelled", [])
    await until(lambda: making.model.stopped)
    assert await making.client.responses.cancel(id) == cancelled == await making.get(id)
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    assert making.said("completion.cancelled") == 1
    assert making.said("completion.recorded") == 0
    assert await making.world.blobs.list(f"local/{id}/") == [f"local/{id}/request"]
    assert await making.world.controls.claimable() == set()


async def test_one_that_is_cancelled_before_anybody_took_it_up_is_never_asked(making: Making) -> None:
    id = (await making.create()).id
    assert (await making.client.responses.cancel(id)).status == "cancelled"
    await making.opened()
    assert await making.world.controls.claim(STAGE, "a worker") is None
    with pytest.raises(AbandonedError):
        await making.attempt(id)
    assert making.model.asked == []


async def test_what_is_over_is_answered_as_it_is_and_what_was_not_in_the_background_cannot_be_cancelled(
    making: Making,
) -> None:
    done = await making.made()
    assert await making.client.responses.cancel(done.id) == done
    making.world.complete = making.model
    whole = await making.client.responses.create(model=BASE, input="Hi")
    assert "in the background" in (await refused(making.client.responses.cancel(whole.id))).message
    assert (await refused(making.client.responses.cancel("resp_none"))).status_code == 404


@pytest.mark.parametrize("moment", ["asked", "stored", "told"])
async def test_a_worker_that_dies_loses_nothing_and_nothing_is_recorded_twice(
    making: Making, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    making.model.says = [Says("red"), Says("blue")]
    id = (await making.create()).id
    blobs, documents = making.world.blobs, making.world.documents

    async def crash(*_: Any) -> None:
        raise Crash

    async def put(*given: Any, **more: Any) -> Any:
        await type(blobs).put(blobs, *given, **more)
        raise Crash

    if moment == "asked":
        making.before = crash
    elif moment == "stored":
        monkeypatch.setattr(blobs, "put", put)
    else:
        monkeypatch.setattr(documents, "apply", crash)
    with pytest.raises(Crash):
        await making.attempt(id)
    making.before = None
    monkeypatch.undo()
    monkeypatch.setattr(patience, "_WAIT", 0)
    assert (await making.get(id)).status in ("queued", "in_progress")
    await making.attempt(id)
    done = await making.get(id)
    asked_twice = moment == "asked"
    assert done.output_text == ("blue" if asked_twice else "red")
    assert len(making.model.asked) == 1 + asked_twice
    assert (making.said("completion.recorded"), making.said("completion.started")) == (1, 1)


async def test_of_two_who_answer_it_the_first_is_kept_and_is_what_the_log_says(making: Making) -> None:
    making.model.says = [Says("slow"), Says("fast")]
    id = (await making.create()).id

    async def overtaken() -> None:
        making.before = None
        await making.attempt(id)

    making.before = overtaken
    with pytest.raises(AbandonedError):
        await making.attempt(id)
    assert (await making.get(id)).output_text == "fast"
    view = await making.world.documents.get("completions", id)
    assert view is not None
    content = await making.world.blobs.get(view["blob"]["key"])
    assert hashlib.sha256(content).hexdigest() == view["blob"]["sha256"]


@pytest.mark.parametrize("moment", ["asked", "stored"])
async def test_what_is_written_after_a_deletion_goes_too(
    making: Making, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = (await making.create()).id
    blobs = making.world.blobs

    async def delete() -> None:
        await making.client.responses.delete(id)

    async def put(key: str, *given: Any, **more: Any) -> Any:
        await delete()
        return await type(blobs).put(blobs, key, *given, **more)

    if moment == "asked":
        making.before = delete
    else:
        monkeypatch.setattr(blobs, "put", put)
    with pytest.raises(AbandonedError):
        await making.attempt(id)
    assert await blobs.list(f"local/{id}/") == []
    assert (await refused(making.get(id))).status_code == 404
    assert making.said("completion.recorded") == 0


async def test_while_serving_is_away_it_waits_and_then_goes_on(making: Making) -> None:
    id = (await making.create()).id

    async def away() -> None:
        raise UnavailableError("serving")

    making.before = away
    with pytest.raises(UnavailableError):
        await making.attempt(id)
    making.before, making.model.breaks = None, True
    with pytest.raises(UnavailableError):
        await making.attempt(id)
    making.model.breaks = False
    assert (await making.get(id)).status == "in_progress"
    await making.attempt(id)
    assert (await making.get(id)).output_text == "red 3"


@pytest.mark.parametrize(
    ("type", "code"), [("server_error", "server_error"), ("invalid_request_error", "invalid_prompt")]
)
async def test_an_error_in_the_middle_of_an_answer_fails_the_response(making: Making, type: str, code: str) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b'data: {"error": {"message": "It broke.", "type": "%b"}}\n\n' % type.encode()

    class Broken(Model):
        async def __call__(self, *_: Any) -> Any:
            return CannedReply(200, {"content-type": "text/event-stream"}, chunks())

    making.model = Broken([])
    failed = await making.made()
    assert failed.error is not None
    assert (failed.status, failed.error.code, failed.error.message) == ("failed", code, "It broke.")


SCHEMA = {"message": "Invalid schema for response_format 'answer': 'not' is not enforced.",
          "param": "response_format.json_schema.schema.not", "code": "invalid_value"}  # fmt: skip
ANSWERS: dict[str, tuple[Any, str, str]] = {
    "a schema": ((400, {"error": SCHEMA}), "invalid_prompt", "Invalid schema for text.format 'answer'"),
    "an error of its own": ((500, {"error": {"message": "It broke."}}), "server_error", "It broke."),
    "nonsense": ((418, {}), "invalid_prompt", "The model did not answer."),
}


@pytest.mark.parametrize(("answer", "code", "sentence"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_what_serving_refuses_fails_the_response_with_its_sentence(
    making: Making, answer: Any, code: str, sentence: str
) -> None:
    making.model.says = [answer]
    failed = await making.made(text={"format": FORM})
    assert failed.error is not None
    assert (failed.status, failed.error.code, failed.output) == ("failed", code, [])
    assert failed.error.message.startswith(sentence)
    said = await refused(making.create(previous_response_id=failed.id))
    assert (said.status_code, said.param, "failed" in said.message) == (400, "previous_response_id", True)


async def test_what_cannot_be_answered_any_more_fails_in_words(making: Making) -> None:
    gone, late, lost, crashed = [(await making.create()).id for _ in range(4)]
    await making.world.blobs.delete(f"local/{lost}/request")
    claim = held(crashed, "local", STAGE, {"event_id": "e"}).claim
    for event in exhausted(claim, "it crashed"):
        await making.world.documents.apply(await making.world.emit(event))
    making.now = (core.MOST_HOURS + 1) * 3600 * 1000 + 10**15
    await making.attempt(late)
    making.now = 0
    with pytest.raises(AbandonedError):
        await making.attempt(crashed)
    await making.attempt(lost)
    await making.world.say(ModelDeleted(), BASE, "public")
    await making.attempt(gone)
    sentences = {}
    for id in (gone, late, crashed):
        found = await making.get(id)
        assert found.error is not None
        sentences[id] = found.error.message
    assert sentences[gone] == f"The model `{BASE}` does not exist any more, or you do not have access to it."
    assert "within 24 hours" in sentences[late]
    assert "it crashed. Create it again." in sentences[crashed]
    assert making.model.asked == []


async def test_what_cannot_be_is_refused_by_name(making: Making) -> None:
    said = await refused(making.create(store=False))
    assert (said.status_code, said.param, "stored" in said.message) == (400, "store", True)
    first = (await making.create()).id
    said = await refused(making.create(previous_response_id=first))
    assert (said.status_code, said.param) == (400, "previous_response_id")
    assert said.message.endswith(f"Previous response with id '{first}' is queued: wait until it is over."), said.message
    await making.client.responses.cancel(first)
    said = await refused(making.client.responses.create(model=BASE, input="Hi", previous_response_id=first))
    assert "was cancelled" in said.message
    assert (await refused(making.create(model="none"))).code == "model_not_found"
    assert making.said("completion.requested") == 1


async def test_a_retry_gets_the_same_response_which_is_answered_once(making: Making) -> None:
    same = {"extra_headers": {"idempotency-key": "k"}}
    first = await making.create(**same)
    assert (await making.create(**same)) == first
    await making.attempt(first.id)
    assert (await making.create(**same)).output_text == "red 3"
    said = await refused(making.create(input="Other", **same))
    assert said.status_code == 400
    two = {(await making.create()).id, (await making.create()).id}
    assert len(two) == 2, "two deliberate requests stay two"
    assert making.said("completion.requested") == 3


async def test_a_retry_of_what_the_edge_could_not_say_makes_the_one_response(making: Making) -> None:
    making.world.kafka_down = UnavailableError("kafka")
    assert (await refused(making.create())).status_code == 503
    (stored,) = await making.world.blobs.list("local/resp_")
    making.world.kafka_down = None
    made = await making.create(extra_headers={"x-stainless-retry-count": "1"})
    assert stored == f"local/{made.id}/request"
    await making.attempt(made.id)
    assert (await making.get(made.id)).output_text == "red 3"


async def test_a_tenant_has_so_many_that_are_not_over(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "MOST_OPEN", 2)
    first = await making.create()
    await making.create()
    said = await refused(making.create())
    assert (said.status_code, said.code) == (429, "too_many_responses")
    await making.client.responses.cancel(first.id)
    await making.create()


async def test_only_what_has_an_answer_is_a_source_of_an_evals_run(making: Making) -> None:
    done = await making.made()
    await making.create()
    await making.client.responses.cancel((await making.create()).id)
    wanted = stored_where({"type": "responses"}, None, 10**16)
    assert [view["id"] for view in await making.world.documents.find("completions", wanted)] == [done.id]


async def test_nobody_elses_is_found(making: Making) -> None:
    id = (await making.create()).id
    async with making.world.client(await making.world.key("other", 1)) as other:
        paths = (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/input_items"))
        for method, path in paths:
            assert (await other.request(method, f"/v1/responses/{id}{path}")).status_code == 404
        asked = {"model": BASE, "input": "Hi", "background": True, "previous_response_id": id}
        assert (await other.post("/v1/responses", json=asked)).status_code == 404
    assert (await making.get(id)).status == "queued"


async def test_numbers_and_texts_that_no_store_can_hold_are_no_error_of_the_servers(making: Making) -> None:
    async with making.world.client(making.client.api_key) as api:
        for value in ("1e400", str(2**70), '"\\ud800"', "[" * 400 + "]" * 400):
            tool = {"type": "function", "name": "f", "parameters": {"default": "VALUE"}}
            body = json.dumps({"model": BASE, "input": "Hi", "background": True, "tools": [tool]})
            body = body.replace('"VALUE"', value)
            answer = await api.post("/v1/responses", content=body, headers={"content-type": "application/json"})
            assert answer.status_code in (200, 400), answer.text
            json.loads(answer.text)
