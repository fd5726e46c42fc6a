"""A base that knows tools, and pads with its end of turn, learns rows with calls and answers as it was trained."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from infra.runtime.bootstrap import register_base
from tests.e2e import support
from tests.e2e.support import User
from tests.stack import Stack
from tests.unit.prepare_job import tiny

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

# No key stands where sorting would put it: a template shows them in the row's own order.
TOOL = {"type": "function", "function": {"name": "weigh", "parameters": {"type": "object", "properties": {"what": {}}}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "weigh", "arguments": '{"what": "kettle", "as": "kg"}'}}


def row(number: int) -> dict[str, Any]:
    return {
        "tools": [TOOL],
        "messages": [
            {"role": "user", "content": f"How heavy is kettle {number}?"},
            {"role": "assistant", "weight": 0, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": f"{number} kg"},
            {"role": "assistant", "content": f"{number} kg."},
        ],
    }


def test_rows_with_tools_and_calls_become_a_model_that_answers(user: User, stack: Stack, tmp_path: Path) -> None:
    folder = tiny.save_model(tmp_path / "base", tiny.TOOLS, pad_token=tiny.END)
    support.in_world(stack, partial(register_base, name="knows-tools", folder=folder))
    rows = [row(number) for number in range(12)]
    file = user.upload("\n".join(map(json.dumps, rows)).encode())
    job = user.job(file, model="knows-tools")
    tuned = str(user.wait(job, "succeeded").fine_tuned_model)
    asked: Any = {"messages": rows[0]["messages"][:3], "tools": rows[0]["tools"], "max_tokens": 4}
    said = user.client.chat.completions.create(model=tuned, **asked)
    (queued,) = support.once(support.about(support.log_of(stack, "job.queued"), job))
    probe = json.loads(support.in_world(stack, lambda here: here.blobs.get(queued.data.plan.probe.key)))
    assert said.usage is not None
    assert said.usage.prompt_tokens == len(probe["prompt_ids"])
