"""Responses in the background on the running stack, by the official client, even if a worker is killed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.responses import Response

from tests.e2e import support
from tests.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def over(client: OpenAI, id: str) -> Response:
    """The response, once it is over."""

    def look() -> Response | None:
        found = client.responses.retrieve(id)
        return None if found.status in ("queued", "in_progress") else found

    done: Response = support.until(look, f"the end of {id}")
    return done


def test_a_response_is_made_in_the_background_cancelled_refused_and_deleted(stack: Stack) -> None:
    with OpenAI(base_url=stack.base_url, api_key=stack.api_key, _strict_response_validation=True) as client:
        create = client.responses.create
        asked = create(model=support.BASE, input="Hi", background=True, max_output_tokens=8, temperature=0)
        assert asked.background
        assert asked.status in ("queued", "in_progress", "completed", "incomplete")  # the answer may overtake the reply
        done = over(client, asked.id)
        assert done.status in ("completed", "incomplete"), done.error
        at_once = create(model=support.BASE, input="Hi", max_output_tokens=8, temperature=0)
        assert (done.output_text, done.usage) == (at_once.output_text, at_once.usage)
        after = create(model=support.BASE, input="And?", background=True, previous_response_id=done.id)
        assert client.responses.cancel(after.id).status in ("cancelled", "completed", "incomplete")
        assert len(client.responses.input_items.list(after.id).data) == 3
        form: Any = {"type": "json_schema", "name": "a", "schema": {"not": {}}}
        failed = over(client, create(model=support.BASE, input="Hi", background=True, text={"format": form}).id)
        assert failed.status == "failed"
        assert failed.error is not None
        assert "text.format" in failed.error.message
        for each in (done, after, failed):
            client.responses.delete(each.id)
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(done.id)


ASKED: dict[str, Any] = {"model": support.BASE, "input": "Hi", "background": True, "stream": True}
LETTERS = {"type": "object", "properties": {"a": {"type": "string", "minLength": 780}}, "required": ["a"]}
LONG: dict[str, Any] = {
    "max_output_tokens": 800,
    "temperature": 1.5,
    "text": {"format": {"type": "json_schema", "name": "a", "schema": LETTERS}},
}
"""Without a form the model ends when it likes."""


def told(events: Iterator[Any]) -> list[dict[str, Any]]:
    return [event.model_dump(mode="json") for event in events]


def begun(client: OpenAI, **asked: Any) -> tuple[str, list[dict[str, Any]]]:
    """The id and the first events of one that is streamed to a client that leaves."""
    with client.responses.create(**{**ASKED, **asked}) as stream:
        first = told(islice(stream, 5))
    assert [each["type"] for each in first[:3]] == ["response.created", "response.queued", "response.in_progress"]
    return first[0]["response"]["id"], first


def behind(client: OpenAI, id: str, number: int) -> list[dict[str, Any]]:
    return told(client.responses.retrieve(id, stream=True, starting_after=number))


def left(stack: Stack, id: str) -> list[str]:
    """What the store holds of it."""
    found: list[str] = support.in_world(stack, lambda here: here.blobs.list(f"local/{id}/"))
    return sorted(key.removeprefix(f"local/{id}/") for key in found)


def test_one_that_is_streamed_is_left_gone_on_with_cancelled_and_deleted(stack: Stack) -> None:
    with OpenAI(base_url=stack.base_url, api_key=stack.api_key, _strict_response_validation=True) as client:
        id, first = begun(client, max_output_tokens=40, temperature=2)
        rest = behind(client, id, first[-1]["sequence_number"])
        whole = told(client.responses.retrieve(id, stream=True))
        assert first + rest == whole
        assert [each["sequence_number"] for each in whole] == [*range(len(whole))]
        done = client.responses.retrieve(id)
        assert (whole[-1]["type"], whole[-1]["response"]) == (f"response.{done.status}", done.model_dump(mode="json"))
        assert "".join(each.get("delta", "") for each in whole) == done.output_text
        assert left(stack, id) == ["content", "events.z", "request"]
        with client.responses.stream(response_id=id) as stream:
            assert [event.sequence_number for event in stream] == [*range(len(whole))]
        doomed, first = begun(client, **LONG)
        cancelled = client.responses.cancel(doomed)
        rest = behind(client, doomed, first[-1]["sequence_number"])
        assert cancelled.status == "cancelled"
        assert (rest[-1]["type"], rest[-1]["response"]["status"]) == ("response.failed", "cancelled")
        assert behind(client, doomed, first[-1]["sequence_number"]) == rest
        for each in (id, doomed):
            client.responses.delete(each)
            assert left(stack, each) == []


def test_a_killed_worker_is_not_seen_in_the_stream_of_the_next_one(stack: Stack) -> None:
    with OpenAI(base_url=stack.base_url, api_key=stack.api_key, _strict_response_validation=True) as client:
        before = stack.process("worker").restarts
        id, first = begun(client, **LONG)
        stack.kill("worker")
        shown = left(stack, id)
        assert "content" not in shown, "the answer was complete before the worker was killed"
        rest = behind(client, id, first[-1]["sequence_number"])
        support.restarted(stack, "worker", before)
        whole = told(client.responses.retrieve(id, stream=True))
        assert first + rest == whole
        assert [each["sequence_number"] for each in whole] == [*range(len(whole))]
        done = client.responses.retrieve(id)
        assert done.status in ("completed", "incomplete"), done.error
        assert "".join(each.get("delta", "") for each in whole) == done.output_text
        client.responses.delete(id)
