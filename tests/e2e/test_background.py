"""Responses in the background on the running stack, by the official client: answered, cancelled, refused, deleted."""

from __future__ import annotations

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
