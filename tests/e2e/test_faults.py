"""P1, P2, P4, P5: whatever is killed, a job ends once, with the model that it would have had anyway."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from contracts.manifest import ManifestRef
from tests.e2e import support
from tests.e2e.support import EPOCHS, TOTAL_STEPS, Unbroken, User
from tests.stack import Stack, running_stack, shared

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]


def check_ended_once(user: User, job: str, like: Unbroken) -> None:
    """One ending, one model and its checkpoints, the same tensors as without the fault, nothing kept twice."""
    events = support.log_of(user.stack)
    assert support.endings(events, job) == ["job.succeeded"]
    assert len({each.id for each in events if each.type == "job.succeeded" and each.subject == job}) == 1
    models = {each.subject: each for each in events if each.type == "model.registered" and each.data.job == job}
    finals = [name for name, each in models.items() if each.data.step == TOTAL_STEPS]
    assert finals == [user.retrieve(job).fine_tuned_model]
    assert len(models) == 3
    assert support.final_tensors(user.stack, job) == like.sha256
    needed = {key for each in models.values() for key in support.answering(user.stack, each.data.manifest)}
    support.until(lambda: set(support.checkpoint_keys(user.stack, job)) == needed, "only what the models need", 60)


def check_resumed(user: User, job: str) -> tuple[int, int]:
    """The second attempt makes the steps that were missing, and those alone; returns (from_step, steps made)."""
    events = support.log_of(user.stack, "job.started", "job.progressed")
    starts = {each.attempt: each.data.from_step for each in support.about(events, job, "job.started")}
    (first, second) = sorted(starts)
    assert starts[first] == 0
    from_step = starts[second]
    assert 0 < from_step < TOTAL_STEPS
    made = [
        step.step
        for each in support.about(events, job, "job.progressed")
        if each.attempt == second
        for step in each.data.steps
    ]
    assert made == list(range(from_step + 1, TOTAL_STEPS + 1))
    listed = user.client.fine_tuning.jobs.list_events(job)
    shown = [each.data["step"] for each in listed if each.type == "metrics"]
    assert shown == list(range(TOTAL_STEPS, 0, -1))
    return from_step, len(made)


def test_a_killed_training_process_costs_only_the_steps_since_its_checkpoint(
    user: User, stack: Stack, unbroken: Unbroken
) -> None:
    job = user.job(unbroken.file, EPOCHS)
    support.after_checkpoints(stack, job)
    child = support.child_of(stack)
    assert child is not None
    child.kill()
    user.wait(job, "succeeded")
    check_ended_once(user, job, unbroken)
    print("resumed from step, made steps:", check_resumed(user, job))


def test_a_trainer_that_is_told_to_end_saves_what_it_has_and_the_next_one_loses_no_step(
    user: User, stack: Stack, unbroken: Unbroken
) -> None:
    job = user.job(unbroken.file, EPOCHS)
    support.after_checkpoints(stack, job)
    trainer = stack.process("trainer")
    assert trainer.pid is not None
    os.kill(trainer.pid, signal.SIGTERM)
    support.restarted(stack, "trainer", trainer.restarts)
    user.wait(job, "succeeded")
    check_ended_once(user, job, unbroken)
    from_step, _ = check_resumed(user, job)
    progressed = support.about(support.log_of(stack, "job.progressed"), job)
    first = min(each.attempt for each in progressed)
    assert from_step == max(step.step for each in progressed if each.attempt == first for step in each.data.steps)


def test_a_killed_trainer_goes_on_before_the_checkpoint_that_was_damaged(
    user: User, stack: Stack, unbroken: Unbroken
) -> None:
    job = user.job(unbroken.file, EPOCHS)
    support.after_checkpoints(stack, job, 2)
    child = support.child_of(stack)
    restarts = stack.process("trainer").restarts
    stack.kill("trainer")
    assert child is not None
    support.until(lambda: support.is_gone(child), "the end of the training process with its parent", support.PROMPT)
    *_, before, newest = support.checkpoints(stack, job)
    damage(stack, newest["manifest"])
    support.restarted(stack, "trainer", restarts)
    user.wait(job, "succeeded")
    check_ended_once(user, job, unbroken)
    from_step, _ = check_resumed(user, job)
    assert from_step == before["step"]


def damage(stack: Stack, ref: dict[str, str]) -> None:
    """Flip one bit of a checkpoint's weights in the store."""
    manifest = support.manifest(stack, ManifestRef.model_validate(ref))
    weights = next(file.key for file in manifest.files if file.role == "weights")
    content = bytearray(support.in_world(stack, lambda here: here.blobs.get(weights)))
    content[-1] ^= 1
    support.in_world(stack, lambda here: here.blobs.put(weights, bytes(content)))


def test_a_killed_worker_and_a_killed_edge_are_not_noticed_by_a_job(
    user: User, stack: Stack, unbroken: Unbroken
) -> None:
    job = user.job(unbroken.file, EPOCHS)
    support.after_checkpoints(stack, job)
    for name in ("worker", "edge"):
        restarts = stack.process(name).restarts
        stack.kill(name)
        support.checkpoints(stack, job)  # it has not ended yet
        support.restarted(stack, name, restarts)
    user.wait(job, "succeeded")
    check_ended_once(user, job, unbroken)
    starts = support.about(support.log_of(stack, "job.started"), job)
    assert len({each.attempt for each in starts}) == 1


def test_mongodb_wiped_during_a_job_is_rebuilt_and_the_job_ends_once(
    user: User, stack: Stack, unbroken: Unbroken
) -> None:
    job = user.job(unbroken.file, EPOCHS)
    support.after_checkpoints(stack, job)
    model = support.BASE
    with support.database(stack) as db:
        db.client.drop_database(db.name)
    paths = (f"/fine_tuning/jobs/{job}", f"/files/{unbroken.file}", f"/models/{model}", "/files", "/models")
    seen: set[int] = set()

    def whole_again() -> bool:
        answers = [user.get(path) for path in paths]
        for answer in answers:
            assert answer.status_code in (200, 503), answer.text
            assert answer.status_code == 200 or int(answer.headers["retry-after"]) > 0
        seen.update(answer.status_code for answer in answers)
        return all(answer.status_code == 200 for answer in answers)

    assert not whole_again()
    support.until(whole_again, "the read models, rebuilt", every=0.02)
    assert seen == {200, 503}
    assert job in [each.id for each in user.lenient.fine_tuning.jobs.list()]
    user.wait(job, "succeeded")
    check_ended_once(user, job, unbroken)
    check_resumed(user, job)
    report = support.verified(stack)
    assert report.ok, report.differences


@pytest.fixture(scope="session")
def later(stack: Stack) -> Iterator[ExitStack]:
    """What is to last as long as the stack."""
    with ExitStack() as exits:
        yield exits


def test_after_kill_9_of_temper_up_the_next_one_goes_on(
    user: User, stack: Stack, unbroken: Unbroken, later: ExitStack
) -> None:
    job = user.job(unbroken.file, EPOCHS)
    user.wait(job, "running")
    waiting = user.job(unbroken.file, 1)
    support.after_checkpoints(stack, job)
    child = support.child_of(stack)
    stack.up.kill()
    stack.up.wait()
    assert child is not None
    support.until(lambda: support.is_gone(child), "the end of everything with `temper up`", support.PROMPT)
    later.enter_context(running_stack(stack.home, env=shared(stack.home)))
    user.wait(job, "succeeded")
    check_ended_once(user, job, unbroken)
    check_resumed(user, job)
    user.wait(waiting, "succeeded")
