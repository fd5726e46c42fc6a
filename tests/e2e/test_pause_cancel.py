"""P5: pause, resume and cancel are shown at once, free the device, and lose nothing."""

from __future__ import annotations

import time

import openai
import psutil
import pytest

from tests.e2e import support
from tests.e2e.support import User
from tests.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]
ROWS, EPOCHS = support.rows(24), 40
TOTAL_STEPS = 24 // 4 * EPOCHS


def running_child(user: User, job: str) -> psutil.Process:
    """The process that trains a job, once it has made a step."""
    user.wait(job, "running")

    def stepped() -> bool:
        assert user.retrieve(job).status == "running"
        return any(event.type == "metrics" for event in user.client.fine_tuning.jobs.list_events(job, limit=5).data)

    support.until(stepped, "a first step")
    child = support.child_of(user.stack)
    assert child is not None
    return child


def gone_within(child: psutil.Process, limit: float) -> float:
    """Wait until a process has ended; returns the seconds that it took."""
    began = time.monotonic()
    support.until(lambda: support.is_gone(child), "the end of the training process", limit)
    return time.monotonic() - began


def test_a_paused_job_holds_no_process_and_goes_on_where_it_was(user: User, stack: Stack) -> None:
    job = user.job(user.upload(ROWS), EPOCHS)
    child = running_child(user, job)
    assert user.lenient.fine_tuning.jobs.pause(job).model_extra["temper"]["pausing"]
    print(f"the process was gone {gone_within(child, support.prompt()):.1f} s after the pause")
    user.wait(job, "paused")
    again = user.lenient.fine_tuning.jobs.pause(job)  # asked twice, answered twice
    assert again.status == "paused"
    assert support.child_of(stack) is None
    (rest,) = support.once(support.about(support.log_of(stack, "job.paused"), job))
    newest = support.checkpoints(stack, job)[-1]
    assert 0 < newest["step"] == rest.data.step < TOTAL_STEPS

    assert user.lenient.fine_tuning.jobs.resume(job).status == "queued"
    user.wait(job, "succeeded")
    events = support.log_of(stack)
    starts = support.about(events, job, "job.started")
    assert [each.data.from_step for each in starts] == [0, newest["step"]]
    made = [step.step for each in support.about(events, job, "job.progressed") for step in each.data.steps]
    assert made == list(range(1, TOTAL_STEPS + 1))
    assert support.endings(events, job) == ["job.succeeded"]
    for late in (user.client.fine_tuning.jobs.cancel, user.lenient.fine_tuning.jobs.pause):
        with pytest.raises(openai.BadRequestError) as refused:
            late(job)
        assert refused.value.code == "job_already_ended"
        assert refused.value.param == "fine_tuning_job_id"
        assert "succeeded" in refused.value.body["message"]
    assert user.retrieve(job).status == "succeeded"


def test_a_cancelled_job_has_ended_at_once_and_its_process_soon(user: User, stack: Stack) -> None:
    job = user.job(user.upload(ROWS), EPOCHS)
    child = running_child(user, job)
    assert user.client.fine_tuning.jobs.cancel(job).status == "cancelled"
    assert user.client.fine_tuning.jobs.retrieve(job).status == "cancelled"
    print(f"the process was gone {gone_within(child, support.prompt()):.1f} s after the cancel")
    trainer = support.health(stack, "trainer")
    support.until(lambda: job not in support.health(stack, "trainer")["busy"], "a free trainer", support.prompt())
    assert trainer["status"] == "ok"
    assert user.client.fine_tuning.jobs.retrieve(job).status == "cancelled"
    assert support.endings(support.log_of(stack), job) == ["job.cancelled"]
    messages = [event.message for event in user.client.fine_tuning.jobs.list_events(job)]
    assert messages[0] == "The job was cancelled" or "cancel" in messages[0]


def test_a_paused_job_that_waits_in_the_queue_is_not_begun(user: User, stack: Stack) -> None:
    file = user.upload(ROWS)
    before = user.job(file, EPOCHS)
    user.wait(before, "running")  # of two that are created together, either may be prepared first
    job = user.job(file, 1)
    user.wait(job, "queued")
    user.lenient.fine_tuning.jobs.pause(job)
    user.wait(job, "paused")
    user.client.fine_tuning.jobs.cancel(before)
    user.lenient.fine_tuning.jobs.resume(job)
    user.wait(job, "succeeded")
    assert [each.data.from_step for each in support.about(support.log_of(stack, "job.started"), job)] == [0]
