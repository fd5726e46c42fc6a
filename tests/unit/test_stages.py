"""P5: one table knows every stage that a worker or a trainer runs, and whoever waits for one hears of a crash."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from contracts.documents import READ_MODELS
from infra.adapters.kafka.reliable import no_failure
from infra.roles import trainer, worker
from infra.runtime import benchmarks, corpus
from infra.runtime.reconciler import GIVEN_UP
from infra.runtime.stages import STAGES, GiveUp
from infra.settings import Settings

NOBODY_WAITS = {"control_job", "erase_content"}
"""A request that crashed leaves the job as it is; erasure is looked at again by whoever deletes."""
SETTINGS = Settings(inference_url="http://127.0.0.1:1")
PORTS: Any = SimpleNamespace(blobs=None, documents=None, controls=None, emit=None, settings=SETTINGS)
CHILD: Any = None


def test_the_table_has_every_stage_and_no_other() -> None:
    run = [*worker.stages(PORTS, CHILD, Path(), SETTINGS), trainer.stage(PORTS, CHILD, Path(), CHILD, SETTINGS)]
    assert {stage.name for stage in run} == set(STAGES)
    onward = {stage for each in run for stage in each.onward.values()}
    assert onward <= set(STAGES)
    for stage in run:
        assert stage.exhausted is STAGES[stage.name].exhausted


def test_every_read_model_that_is_worked_on_has_a_stage_that_speaks_for_it() -> None:
    worked_on = {shown.model for shown in STAGES.values()}
    assert worked_on <= set(READ_MODELS)
    assert set(GIVEN_UP) == worked_on - {"documents"}, "documents are their archive's"
    for model, stage in GIVEN_UP.items():
        assert STAGES[stage].model == model


def test_whoever_waits_for_a_function_hears_that_it_crashed() -> None:
    give_up = GiveUp(PORTS.controls, CHILD)
    subscribed = (
        *worker.subscriptions(PORTS, CHILD, CHILD, give_up),
        *corpus.subscriptions(PORTS, CHILD, give_up),
        *benchmarks.subscriptions(PORTS, CHILD, give_up, SETTINGS),
    )
    assert {each.group for each in subscribed if each.on_failure is no_failure} == NOBODY_WAITS
