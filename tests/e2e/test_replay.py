"""After the whole run: the log alone says what every document is, in whatever order it is read."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from contracts.envelope import Event
from infra.runtime.folding import Folded, fold_into
from tests.e2e import support
from tests.e2e.support import Unbroken, User
from tests.sizes import sized

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]
SHUFFLES, COPIES = sized(200, 1000), 40


def of_the_job(events: list[Event], unbroken: Unbroken) -> list[Event]:
    """All that was ever said of a job, of its file and of its models."""
    models = {event.subject for event in events if getattr(event.data, "job", None) == unbroken.job}
    return [event for event in events if event.subject in {unbroken.job, unbroken.file, *models}]


def folded(events: list[Event]) -> Folded:
    into: Folded = {}
    for event in events:
        fold_into(into, event)
    return into


def test_any_order_of_a_real_jobs_log_gives_one_document(user: User, unbroken: Unbroken) -> None:
    events = of_the_job(support.log_of(user.stack), unbroken)
    assert {event.type for event in events} >= {
        "file.uploaded", "file.validated", "job.created", "job.queued", "job.started", "job.progressed",
        "job.checkpointed", "job.succeeded", "model.registered",
    }  # fmt: skip
    expected, late = folded(events), max(event.at for event in events)
    assert expected["jobs"][unbroken.job].view["status"] == "succeeded"  # type: ignore[index]
    for seed in range(SHUFFLES):
        chance = random.Random(seed)
        copies = [replace(chance.choice(events), at=late + number) for number in range(COPIES)]
        order = [*events, *copies]
        chance.shuffle(order)
        assert folded(order) == expected, f"shuffle {seed}"


def test_every_document_of_the_whole_run_is_what_the_log_says(user: User, unbroken: Unbroken) -> None:
    report = support.verified(user.stack)
    assert report.ok, report.differences[:10]
    assert set(report.documents) >= {"files", "jobs", "job_events", "job_checkpoints", "models"}
    assert all(report.documents[name] for name in ("files", "jobs", "job_events", "job_checkpoints", "models"))
    print(f"{report.records} records, {report.poison} unreadable; documents {report.documents}")
