"""What a run says: names, ids, what is kept."""

from __future__ import annotations

import pytest

from contracts.controls import Checkpoint, Claim, Control
from contracts.events.jobs import JobDelayed, JobSucceeded, StepMetrics
from contracts.manifest import Manifest, ManifestRef
from functions.train_model import outcome
from functions.train_model.kept_checkpoints import kept
from functions.train_model.model_names import model_name
from tests.functional.edge import plan

CONTROL = Control("ftjob-1", "acme", "train", True, 2, "run", 5, 1, "host/1", True, 0)


def checkpoint(step: int, end: bool = True) -> Checkpoint:
    return Checkpoint(step, ManifestRef(key=f"acme/ftjob-1/{step}", sha256=f"{step:064x}"), end, 5)


def test_the_last_three_epochs_ends_are_kept_and_the_last_is_the_last_step() -> None:
    found = [checkpoint(40), checkpoint(10), checkpoint(15, end=False), checkpoint(20), checkpoint(30)]
    assert [each.step for each in kept(found, 40)] == [20, 30, 40]
    with pytest.raises(ValueError, match="no checkpoint at the last step 50"):
        kept(found, 50)


def test_the_final_model_has_the_plain_name_and_the_others_their_step() -> None:
    made = plan(total_steps=40)
    final = model_name(made, CONTROL, "pumps", 40)
    before = model_name(made, CONTROL, "pumps", 30)
    assert final.startswith(f"ft:{made.base_name}:acme:pumps:")
    assert before.endswith(":ckpt-step-30")
    assert final.rpartition(":")[2] not in before


def test_success_is_said_in_order_and_under_ids_that_every_attempt_gives() -> None:
    manifest = Manifest(kind="adapter", files=(), template_sha256="1" * 64, context=512)
    models = [
        (checkpoint(step), manifest, StepMetrics(step=step, train_loss=1, train_mean_token_accuracy=1))
        for step in (20, 30)
    ]
    blob = plan().train
    results = {"step_metrics.csv": blob, "step_metrics.jsonl": blob} | dict.fromkeys((outcome.CSV, outcome.JSONL), blob)
    said = [outcome.success(CONTROL, attempt, plan(), None, models, results, 7, "2" * 64) for attempt in (5, 6)]
    assert [event.type for event in said[0]] == ["file.uploaded"] * 2 + ["model.registered"] * 2 + ["job.succeeded"]
    assert [event.id for event in said[0]] == [event.id for event in said[1]]
    succeeded = said[0][-1].data
    assert isinstance(succeeded, JobSucceeded)
    assert succeeded.fine_tuned_model == said[0][-2].subject
    with pytest.raises(ValueError, match="without a model"):
        outcome.success(CONTROL, 5, plan(), None, [], results, 7, "2" * 64)


@pytest.mark.parametrize("dependency", ["serving", "minio", "kafka", "mongo", "another"])
def test_each_dependency_is_one_code(dependency: str) -> None:
    event = outcome.waiting(CONTROL, 5, dependency)
    assert isinstance(event.data, JobDelayed)
    assert event.data.code == f"waiting_for_{dependency}"
    assert (event.epoch, event.attempt) == (2, 5)


def test_batches_attempts_and_epochs_have_ids_of_their_own() -> None:
    first = StepMetrics(step=1, train_loss=1, train_mean_token_accuracy=1)
    events = [
        outcome.started(CONTROL, 5, plan(), 0, "cpu"),
        outcome.started(CONTROL, 6, plan(), 0, "cpu"),
        outcome.progressed(CONTROL, 5, plan(), [first]),
        outcome.progressed(CONTROL, 5, plan(), [first.model_copy(update={"step": 2})]),
        outcome.checkpointed(CONTROL, checkpoint(2), first),
        outcome.paused(CONTROL, 2),
        outcome.interrupted(CONTROL, 5, "memory ran out"),
        outcome.interrupted(CONTROL, 6, "memory ran out"),
        outcome.failed(CONTROL, 5, "nan_loss", "m"),
    ]
    assert len({event.id for event in events}) == len(events)
    assert outcome.exhausted(Claim(CONTROL, 6, "n"), "w" * 5000)[0].id == events[-1].id
