"""P2, P5: what a request about a job leads to: which are unanswered, who says that it rests, under which ids."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from contracts.controls import Checkpoint, Control
from contracts.envelope import derived_id, make
from contracts.events.jobs import JobCancelled, JobPaused, JobPauseRequested
from contracts.manifest import ManifestRef
from functions.control_job import core

JOB = "ftjob-1"
REF = ManifestRef(key=f"acme/{JOB}/manifest.json", sha256="0" * 64)
RESTING = Control(JOB, "acme", "train", True, 2, "pause", 1, 1, None, False, 0)


def asked(topic: str, at: int, epoch: int = 0, id: str = "") -> dict[str, Any]:
    return {"topic": f"job.{topic}_requested", "id": id or f"{topic} {at}", "at": at, "epoch": epoch}


def job(*requests: dict[str, Any]) -> dict[str, Any]:
    return {"id": JOB, "tenant": "acme", "requests": list(requests)}


def test_what_was_asked_from_outside_is_answered_in_the_order_in_which_it_was_asked() -> None:
    found = core.unanswered(job(asked("resume", 7), asked("cancel", 9), asked("pause", 5)))
    assert [event.id for event in found] == ["pause 5", "resume 7", "cancel 9"]
    assert [event.type for event in found] == [f"job.{each}_requested" for each in ("pause", "resume", "cancel")]
    assert {(event.subject, event.tenant, event.epoch) for event in found} == {(JOB, "acme", 0)}


def test_of_two_that_were_asked_at_once_the_order_is_always_the_same() -> None:
    requests = [asked("pause", 5, id="b"), asked("resume", 5, id="a")]
    for order in (requests, requests[::-1]):
        assert [event.id for event in core.unanswered(job(*order))] == ["a", "b"]


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        (asked("pause", 6, epoch=2), []),
        (asked("pause", 5, epoch=2), []),
        (asked("pause", 4, epoch=2), ["pause 5"]),  # of an earlier one
        (asked("resume", 6, epoch=2), ["pause 5"]),  # of another kind
    ],
    ids=["later", "at once", "earlier", "of another kind"],
)
def test_a_request_is_answered_when_temper_has_said_the_same_since(answer: dict[str, Any], left: list[str]) -> None:
    assert [event.id for event in core.unanswered(job(asked("pause", 5), answer))] == left


def test_what_temper_said_itself_is_no_request() -> None:
    assert core.unanswered(job(asked("pause", 5, epoch=2), asked("resume", 6, epoch=3))) == []
    assert core.unanswered(job()) == []


def test_an_answer_is_one_per_epoch_and_names_its_cause() -> None:
    event = make(JobPauseRequested(), subject=JOB, tenant="acme", id="outside")
    assert core.asks_from_outside(event)
    answers = [core.answered(event, replace(RESTING, epoch=epoch)) for epoch in (2, 2, 3)]
    assert [answer.epoch for answer in answers] == [2, 2, 3]
    assert answers[0].id == answers[1].id != answers[2].id
    assert {(answer.type, answer.cause, answer.tenant) for answer in answers} == {(event.type, "outside", "acme")}
    assert not core.asks_from_outside(answers[0])


@pytest.mark.parametrize("changes", [{"ended": True}, {"desired": "run"}, {"live": True}], ids=str)
def test_a_job_that_ended_or_should_run_or_is_held_is_not_said_to_rest(changes: dict[str, Any]) -> None:
    assert core.at_rest(RESTING) is not None
    assert core.at_rest(replace(RESTING, **changes)) is None


@pytest.mark.parametrize("steps", [(), (10, 30, 20)], ids=str)
def test_a_job_rests_at_its_newest_checkpoint_in_the_epoch_of_the_pause(steps: tuple[int, ...]) -> None:
    made = tuple(Checkpoint(step=step, manifest=REF, epoch_end=False, fence=1) for step in steps)
    event = core.at_rest(replace(RESTING, checkpoints=made))
    assert event is not None
    assert isinstance(event.data, JobPaused)
    assert (event.data.step, event.epoch) == (max(steps, default=0), 2)
    assert event.id == derived_id(JOB, "job.paused", 2)


def test_a_cancellation_has_the_id_of_the_one_end_that_a_job_has() -> None:
    event = core.cancelled(JOB, "acme", "asked", "requested")
    assert event.id == derived_id(JOB, "end")
    assert isinstance(event.data, JobCancelled)
    assert (event.data.reason, event.cause, event.tenant) == ("requested", "asked", "acme")
