"""P1: stored chats are graded as they were answered, or as another model answers them, through crashes and deletion."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.functional.edge import BASE
from tests.functional.responding import Says
from tests.functional.test_edge_stored_chats import PATH, Counting, kept
from tests.functional.test_evals import Crash, Evaluating, evaluating

__all__ = ("evaluating",)

WANTED: dict[str, Any] = {
    "type": "string_check", "name": "wanted", "input": "{{ sample.output_text }}", "operation": "eq",
    "reference": "{{ item.metadata.wanted }}",
}  # fmt: skip
STORED = {"type": "completions", "source": {"type": "stored_completions"}}


async def store(evaluating: Evaluating, *chats: tuple[str, dict[str, str]]) -> list[str]:
    """Ask and keep chats, which are all answered with `red`."""
    if not isinstance(evaluating.world.complete, Counting):
        evaluating.world.complete = Counting([Says("red")])
    async with evaluating.world.client(evaluating.client.api_key) as api:
        return [await kept(api, text, metadata=metadata) for text, metadata in chats]


async def of(evaluating: Evaluating, kind: str = "stored_completions", **metadata: str) -> None:
    made = await evaluating.client.evals.create(
        data_source_config={"type": kind, "metadata": metadata}, testing_criteria=[WANTED]
    )
    assert (made.data_source_config.type, made.data_source_config.metadata) == (kind, metadata)
    evaluating.id = made.id


async def begun(evaluating: Evaluating, **more: Any) -> str:
    source = {**STORED, **more}
    run: str = (await evaluating.client.evals.runs.create(evaluating.id, data_source=source)).id
    return run


@pytest.mark.parametrize("kind", ["stored_completions", "logs"])
async def test_stored_chats_are_graded_as_they_were_answered(evaluating: Evaluating, kind: str) -> None:
    task = {"task": "colours"}
    await store(evaluating, ("one", {**task, "wanted": "red"}), ("two", {**task, "wanted": "blue"}), ("three", {}))
    await of(evaluating, kind, **task)
    run = await begun(evaluating)
    await evaluating.attempt(run)
    shown = await evaluating.run(run)
    assert (shown.status, shown.result_counts.passed, shown.result_counts.failed) == ("completed", 1, 1)
    assert evaluating.serving.asked == {}, "nobody is asked"
    items = await evaluating.items(run)
    assert [each.status for each in items] == ["pass", "fail"]
    assert (items[0].sample.input[0].content, items[0].sample.output[0].content) == ("one", "red")
    assert items[0].sample.model == BASE


async def test_stored_chats_are_asked_anew_of_another_model(evaluating: Evaluating) -> None:
    ids = await store(evaluating, ("red", {"wanted": "red"}), ("blue", {"wanted": "blue"}), ("no", {"wanted": "x"}))
    await of(evaluating)
    run = await begun(evaluating, model=BASE, source={**STORED["source"], "limit": 2})
    await evaluating.attempt(run)
    assert (await evaluating.run(run)).result_counts.passed == 2
    assert evaluating.serving.asked == {"red": 1, "blue": 1}
    assert [each.datasource_item["id"] for each in await evaluating.items(run)] == ids[:2]


async def test_the_rows_of_a_run_stay_whatever_is_stored_and_deleted_meanwhile(evaluating: Evaluating) -> None:
    first, _ = await store(evaluating, ("red", {"wanted": "red"}), ("blue", {"wanted": "blue"}))
    await of(evaluating)
    run = await begun(evaluating, model=BASE)

    def crash(_: str) -> None:
        raise Crash

    evaluating.serving.before = crash
    with pytest.raises(BaseExceptionGroup):
        await evaluating.attempt(run)
    await store(evaluating, ("later", {"wanted": "x"}))
    async with evaluating.world.client(evaluating.client.api_key) as api:
        assert (await api.delete(f"{PATH}/{first}")).status_code == 200
    evaluating.serving.before = None
    await evaluating.attempt(run)
    counts = (await evaluating.run(run)).result_counts
    assert (counts.total, counts.passed) == (2, 2)
    await evaluating.client.evals.runs.delete(run, eval_id=evaluating.id)
    assert list(await evaluating.world.blobs.list(f"local/{run}/")) == []


async def test_a_run_over_no_stored_chat_says_so(evaluating: Evaluating) -> None:
    await store(evaluating, ("red", {}))
    await of(evaluating)
    run = await begun(evaluating, source={**STORED["source"], "metadata": {"task": "none"}})
    await evaluating.attempt(run)
    shown = await evaluating.run(run)
    assert (shown.status, shown.error.code) == ("failed", "no_rows")
    assert "None of the stored chats" in shown.error.message


@pytest.mark.parametrize("label", ["", "a.b", "$where", "a\0"])
async def test_what_cannot_be_searched_for_is_refused(evaluating: Evaluating, label: str) -> None:
    await of(evaluating)
    with pytest.raises(openai.BadRequestError) as refused:
        await begun(evaluating, source={**STORED["source"], "metadata": {label: "x"}})
    assert refused.value.param == "data_source.source.metadata"
