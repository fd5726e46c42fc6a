"""A base that knows tools, and pads with its end of turn, learns rows with calls and answers as it was trained."""

from __future__ import annotations

import json
import shutil
from functools import partial
from typing import Any

import pytest
from openai.types.chat import ChatCompletionMessageFunctionToolCall

from infra.runtime.bootstrap import DEMO_FOLDER, register_base
from tests.e2e import support
from tests.e2e.support import User
from tests.e2e.test_recurate import temper
from tests.stack import Stack
from tests.unit.prepare_job import tiny

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]
EPOCHS = 12

# No key stands where sorting would put it: a template shows them in the row's own order.
TOOL = {"type": "function", "function": {"name": "weigh", "parameters": {"type": "object", "properties": {"what": {}}}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "weigh", "arguments": '{"what": "kettle", "as": "kg"}'}}


def row(number: int) -> dict[str, Any]:
    return {
        "tools": [TOOL],
        "messages": [
            {"role": "user", "content": f"How heavy is kettle {number}?"},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": f"{number} kg"},
            {"role": "assistant", "content": f"{number} kg."},
        ],
    }


@pytest.fixture(scope="module")
def job(user: User, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A job on such rows that has succeeded: calls are trained on, and so are the answers behind them."""
    folder = tmp_path_factory.mktemp("tools") / "base"
    shutil.copytree(DEMO_FOLDER, folder)
    (folder / "chat_template.jinja").write_text(tiny.TOOLS)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "pad_token": "<|end|>"}))
    support.in_world(stack, partial(register_base, name="knows-tools", source=folder))
    file = user.upload("\n".join(json.dumps(row(number)) for number in range(12)).encode())
    made = user.job(file, n_epochs=EPOCHS, model="knows-tools")
    user.wait(made, "succeeded")
    return made


@pytest.fixture
def tuned(user: User, job: str) -> str:
    return str(user.retrieve(job).fine_tuned_model)


def test_a_row_with_tools_is_asked_with_the_tokens_that_it_was_trained_with(
    user: User, stack: Stack, job: str, tuned: str
) -> None:
    asked: Any = {"messages": row(0)["messages"][:1], "tools": [TOOL], "max_tokens": 4}
    said = user.client.chat.completions.create(model=tuned, **asked)
    (queued,) = support.once(support.about(support.log_of(stack, "job.queued"), job))
    probe = json.loads(support.in_world(stack, lambda here: here.blobs.get(queued.data.plan.probe.key)))
    assert said.usage is not None
    assert said.usage.prompt_tokens == len(probe["prompt_ids"])
    file = user.retrieve(job).training_file
    (example,) = user.get(f"/files/{file}/preview", params={"model": tuned, "row": 12}).json()["examples"]
    call, answer = (example["text"][begin:end] for begin, end in example["trained"])
    assert (call.startswith("call weigh"), answer) == (True, "11 kg.<|end|>")
    shown = temper(stack.home, "file", "preview", file, "--model", tuned, "--row", "12")
    assert "⟦11 kg.<|end|>⟧" in shown.stdout, shown


def test_the_tuned_model_calls_tools_whole_and_streamed(user: User, tuned: str) -> None:
    asked: Any = {"model": tuned, "messages": row(3)["messages"][:1], "tools": [TOOL], "max_tokens": 80}
    (choice,) = user.client.chat.completions.create(**asked, temperature=0).choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None), choice
    (call,) = choice.message.tool_calls or []
    assert isinstance(call, ChatCompletionMessageFunctionToolCall)
    assert (call.type, call.function.name) == ("function", "weigh")
    assert json.loads(call.function.arguments) == json.loads(CALL["function"]["arguments"])
    assert call.id.startswith("call_")
    with user.client.chat.completions.stream(**asked, temperature=0) as stream:
        whole = stream.get_final_completion().choices[0]
    assert whole.finish_reason == "tool_calls"
    assert [each.function.arguments for each in whole.message.tool_calls or []] == [call.function.arguments]
    (choice,) = user.client.chat.completions.create(**asked, temperature=0, tool_choice="none").choices
    assert choice.message.tool_calls is None
