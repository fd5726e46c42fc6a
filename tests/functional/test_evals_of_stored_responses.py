"""P1: stored responses are graded as they were answered, or as another model answers them; each filter is exact."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from contracts.blobs import BlobRef
from contracts.events.completions import CompletionRecorded
from tests.functional.edge import BASE
from tests.functional.responding import Model, Says, call
from tests.functional.test_evals import Crash, Evaluating, evaluating
from tests.functional.test_evals_of_stored_chats import begun, of
from tests.functional.test_evals_of_stored_chats import store as store_chats

__all__ = ("evaluating",)

PATH = "/v1/responses"
SOURCE: dict[str, Any] = {"type": "responses"}
WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object"}}


async def store(evaluating: Evaluating, *asked: dict[str, Any], says: Says | None = None) -> list[str]:
    """Ask and keep responses, which are all answered with `red`; return their ids."""
    evaluating.world.complete = Model([says or Says("red")])
    async with evaluating.world.client(evaluating.client.api_key) as api:
        answers = [await api.post(PATH, json={"model": BASE, "input": "Hi", **each}) for each in asked]
    assert [each.status_code for each in answers] == [200] * len(asked)
    return [each.json()["id"] for each in answers]


async def graded(evaluating: Evaluating, source: dict[str, Any], **more: Any) -> tuple[Any, list[Any]]:
    """Return a run over stored responses that is over, with its items."""
    run = await begun(evaluating, type="responses", source={**SOURCE, **source}, **more)
    await evaluating.attempt(run)
    return await evaluating.run(run), await evaluating.items(run)


async def test_stored_responses_are_graded_as_they_were_answered(evaluating: Evaluating) -> None:
    said = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "1"}, {"role": "user", "content": "?"}]
    task = {"task": "colours"}
    first, second, _ = await store(
        evaluating,
        {"input": said, "instructions": "Be brief.", "metadata": {**task, "wanted": "red"}},
        {"metadata": {**task, "wanted": "blue"}},
        {},
    )
    await store_chats(evaluating, ("one", {**task, "wanted": "red"}))
    await of(evaluating, "logs", **task)
    run, items = await graded(evaluating, {})
    assert (run.status, run.result_counts.passed, run.result_counts.failed) == ("completed", 1, 1)
    assert evaluating.serving.asked == {}, "nobody is asked"
    assert [each.datasource_item["id"] for each in items] == [first, second]
    asked = [{"role": "system", "content": "Be brief."}, *said]
    assert items[0].datasource_item["input"] == items[0].datasource_item["input_trajectory"] == asked
    assert [each.model_dump() for each in items[0].sample.input] == asked
    assert (items[0].sample.output[0].content, items[0].sample.model) == ("red", BASE)


async def test_calls_of_stored_responses_are_graded(evaluating: Evaluating) -> None:
    says = Says("so", thought="well then", calls=(call("weather", '{"at": "A"}'),))
    await store(evaluating, {"tools": [WEATHER]}, says=says)
    called = "{{ sample.output_tools[0].function.name }} {{ sample.choices[0].finish_reason }} {{ sample.output_text }}"
    check = {"type": "string_check", "name": "c", "input": called, "operation": "eq"}
    made = await evaluating.client.evals.create(
        data_source_config={"type": "logs"},
        testing_criteria=[{**check, "reference": "weather tool_calls so"}],
    )
    evaluating.id = made.id
    run, items = await graded(evaluating, {})
    assert run.result_counts.passed == 1, items[0].results


async def test_stored_responses_are_asked_anew_of_another_model_by_its_own_messages(evaluating: Evaluating) -> None:
    ids = await store(evaluating, *({"input": text, "metadata": {"wanted": text}} for text in ("red", "blue", "no")))
    await of(evaluating)
    run, items = await graded(evaluating, {"limit": 2}, model=BASE)
    assert (run.result_counts.passed, run.model) == (2, BASE)
    assert [each.datasource_item["id"] for each in items] == ids[:2]
    ask = {"type": "template", "template": [{"role": "user", "content": "{{ item.metadata.wanted }}!"}]}
    sampling = {"max_completion_tokens": 3}
    await graded(evaluating, {"limit": 1}, model=BASE, input_messages=ask, sampling_params=sampling)
    assert evaluating.serving.asked == {"red": 1, "blue": 1, "red!": 1}
    assert evaluating.serving.bodies[-1]["max_completion_tokens"] == 3


OTHER = {"type": "function", "name": "time", "parameters": {"type": "object"}}
FILTERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "model": ({"model": BASE}, {"model": "other"}),
    "metadata": ({"metadata": {"a": "b"}}, {"metadata": {"a": "c"}}),
    "after": ({"created_after": 0}, {"created_after": 2**40}),
    "before": ({"created_before": 2**40}, {"created_before": 0}),
    "instructions": ({"instructions_search": "be BRIEF"}, {"instructions_search": "brief be"}),
    "effort": ({"reasoning_effort": "low"}, {"reasoning_effort": "high"}),
    "temperature": ({"temperature": 0.5}, {"temperature": 1}),
    "top_p": ({"top_p": 1}, {"top_p": 0}),
    "tools": ({"tools": ["time", "weather"]}, {"tools": ["time"]}),
    "users": ({"users": ["v", "u"]}, {"users": ["v"]}),
    "calls": ({"has_tool_calls": False}, {"has_tool_calls": True}),
}


async def test_each_filter_of_stored_responses_takes_what_it_says_and_nothing_else(evaluating: Evaluating) -> None:
    asked = {"instructions": "Always be brief.", "metadata": {"a": "b"}, "reasoning": {"effort": "low"},
             "temperature": 0.5, "tools": [WEATHER], "user": "u"}  # fmt: skip
    await store(evaluating, asked)
    await of(evaluating)
    counts = {
        name: [(await graded(evaluating, each))[0].result_counts.total for each in both]
        for name, both in FILTERS.items()
    }
    assert counts == {name: [1, 0] for name in FILTERS}


async def test_a_response_that_is_not_completed_is_not_graded(evaluating: Evaluating) -> None:
    await store(evaluating, {}, says=Says("re", finish="length"))
    (id,) = await store(evaluating, {"metadata": {"wanted": "red"}})
    world = evaluating.world
    began = {"response": {"status": "in_progress", "model": BASE, "output": []}, "input": []}
    blob: BlobRef = await world.blobs.put("local/resp_1/content", json.dumps(began).encode(), "application/json")
    await world.say(CompletionRecorded(kind="response", model=BASE, blob=blob, expires_after=3600), "resp_1", "local")
    await of(evaluating)
    _, items = await graded(evaluating, {})
    assert [each.datasource_item["id"] for each in items] == [id]


async def test_the_rows_of_a_run_over_responses_stay_whatever_is_stored_and_deleted_meanwhile(
    evaluating: Evaluating,
) -> None:
    first, _ = await store(evaluating, *({"input": text, "metadata": {"wanted": text}} for text in ("red", "blue")))
    await of(evaluating)
    run = await begun(evaluating, type="responses", source=SOURCE, model=BASE)

    def crash(_: str) -> None:
        raise Crash

    evaluating.serving.before = crash
    with pytest.raises(BaseExceptionGroup):
        await evaluating.attempt(run)
    await store(evaluating, {"input": "later"})
    async with evaluating.world.client(evaluating.client.api_key) as api:
        assert (await api.delete(f"{PATH}/{first}")).status_code == 200
    evaluating.serving.before = None
    await evaluating.attempt(run)
    counts = (await evaluating.run(run)).result_counts
    assert (counts.total, counts.passed) == (2, 2)


async def test_another_tenants_responses_are_not_graded(evaluating: Evaluating) -> None:
    key = await evaluating.world.key("acme", 7)
    evaluating.world.complete = Model([Says("red")])
    async with evaluating.world.client(key) as other:
        assert (await other.post(PATH, json={"model": BASE, "input": "Hi"})).status_code == 200
    await of(evaluating)
    run, _ = await graded(evaluating, {})
    assert (run.status, run.error.code) == ("failed", "no_rows")
    assert "stored responses" in run.error.message


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"allow_parallel_tool_calls": True}, "unknown_parameter", "data_source.source.allow_parallel_tool_calls"),
        ({"metadata": {"a.b": "c"}}, "invalid_value", "data_source.source.metadata"),
        ({"temperature": 3}, "decimal_above_max_value", "data_source.source.temperature"),
        ({"tools": [5]}, "invalid_type", "data_source.source.tools[0]"),
        ({"users": ["u"] * 129}, "array_above_max_length", "data_source.source.users"),
        ({"reasoning_effort": "much"}, "invalid_value", "data_source.source.reasoning_effort"),
    ],
)
async def test_a_filter_that_is_none_is_refused_by_name(
    evaluating: Evaluating, change: dict[str, Any], code: str, param: str
) -> None:
    await of(evaluating)
    with pytest.raises(openai.BadRequestError) as refused:
        await begun(evaluating, type="responses", source={**SOURCE, **change})
    assert (refused.value.code, refused.value.param) == (code, param)


@pytest.mark.parametrize(("kind", "of_what"), [("completions", "responses"), ("responses", "stored_completions")])
async def test_a_source_stands_in_the_data_source_of_its_own_type(
    evaluating: Evaluating, kind: str, of_what: str
) -> None:
    await of(evaluating)
    with pytest.raises(openai.BadRequestError) as refused:
        await begun(evaluating, type=kind, source={"type": of_what})
    assert (refused.value.code, refused.value.param) == ("unsupported", "data_source.source.type")
