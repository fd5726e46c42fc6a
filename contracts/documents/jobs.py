"""The read models behind OpenAI's FineTuningJob: the job, its event list, its stored checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from contracts.documents.facts import Fact, ReadModel, View, first, of_type
from contracts.documents.job_events import JobMessage, messages, metrics_id
from contracts.envelope import Event, derived_id
from contracts.events.jobs import JobProgressed
from contracts.results import result_ids
from contracts.topics import ENDINGS

LIFECYCLE = frozenset(
    {
        "job.created",
        "job.queued",
        "job.pause_requested",
        "job.resume_requested",
        "job.cancel_requested",
        "job.started",
        "job.paused",
        "job.delayed",
        "run.tracked",
        *ENDINGS,
    }
)
RANKS = {"job.queued": 1, "job.resume_requested": 1, "job.started": 2, "job.paused": 3}
RUNS, REQUESTS = 64, 4
"""The newest that a job shows; who starts and pauses it for ever makes its document no larger."""
STATUS = {0: "validating_files", 1: "queued", 2: "running", 3: "paused"}
ENDED = {"job.succeeded": "succeeded", "job.failed": "failed", "job.cancelled": "cancelled"}


def _subject(event: Event) -> Iterable[str]:
    return (event.subject,)


def _when(delay: Fact) -> tuple[int, int, int]:
    """Return which rank a wait follows: in preparation none, in training that attempt's start."""
    return delay["epoch"], delay["attempt"], RANKS["job.started"] if delay["attempt"] else 0


def view(id: str, facts: Mapping[str, Fact]) -> View | None:
    """Return the job as shown: any ending wins, else the maximum of (epoch, attempt, rank)."""
    born = first(facts, "job.created")
    if born is None:
        return None
    data: dict[str, Any] = born["data"]
    queued = first(facts, "job.queued")
    ending = first(facts, *ENDINGS)
    latest = (0, 0, 0)
    # A request from outside carries no epoch: control_job answers it with Temper's own event, and that one counts.
    if ranked := [
        fact
        for fact in facts.values()
        if fact["type"] in RANKS and (fact["epoch"] or fact["type"] != "job.resume_requested")
    ]:
        latest = max((fact["epoch"], fact["attempt"], RANKS[fact["type"]]) for fact in ranked)
    status = ENDED[ending["type"]] if ending else STATUS[latest[2]]
    starts = of_type(facts, "job.started")
    delays = [fact for fact in of_type(facts, "job.delayed") if latest <= _when(fact)]
    return {
        "id": id,
        "tenant": born["tenant"],
        "created_at": born["at"],
        "created": data,
        "plan": queued["data"]["plan"] if queued else None,
        "queued_at": queued["at"] if queued else None,
        "status": status,
        "results": list(result_ids(id).values()) if starts else [],  # can be read from then on
        "started_at": starts[0]["at"] if starts else None,
        "runs": [_run(fact) for fact in starts[-RUNS:]],
        "delay": delays[-1]["data"] if delays and not ending else None,
        "requests": _requests(facts),
        "tracked": [fact["data"] for fact in of_type(facts, "run.tracked")],
        "ended": ending is not None,
        "deleted": first(facts, "job.deleted") is not None,
        "finished_at": ending["at"] if ending else None,
        "succeeded": ending["data"] if ending and ending["type"] == "job.succeeded" else None,
        "failed": ending["data"] if ending and ending["type"] == "job.failed" else None,
        "conflict": any(fact["conflict"] for fact in facts.values()),
    }


def _run(start: Fact) -> View:
    return {**{name: start[name] for name in ("epoch", "attempt", "at")}, "from_step": start["data"]["from_step"]}


def _requests(facts: Mapping[str, Fact]) -> list[View]:
    return [
        {"topic": fact["type"], "id": event_id, "epoch": fact["epoch"], "at": fact["at"]}
        for event_id, fact in sorted(facts.items())
        if fact["type"] in ("job.pause_requested", "job.resume_requested", "job.cancel_requested")
    ]


JOBS = ReadModel(
    name="jobs",
    version=13,
    topics=LIFECYCLE | {"job.deleted"},
    births=frozenset({"job.created"}),
    touches=_subject,
    view=view,
    indexes=(("tenant", "-created_at", "-id"), ("status", "created_at"), ("results",)),
    keep={
        "job.started": RUNS,
        **dict.fromkeys(("job.pause_requested", "job.resume_requested", "job.cancel_requested"), REQUESTS),
    },
    kinds={"run.tracked": ("tracker", "kind")},
)


def _lines(event: Event) -> list[JobMessage]:
    data = event.data.model_dump(mode="json")
    return messages(event.id, event.type, event.subject, event.epoch, event.attempt, data)


def _item_ids(event: Event) -> Iterable[str]:
    return [message.id for message in _lines(event)]


def _item_part(id: str, event: Event) -> Mapping[str, Any]:
    """Keep one step of a batch per document, or 500 steps would be stored (and written out here) 500 times."""
    body = event.data
    if isinstance(body, JobProgressed):
        steps = tuple(step for step in body.steps if metrics_id(event.subject, step.step) == id)
        body = body.model_copy(update={"steps": steps})
    data: dict[str, Any] = body.model_dump(mode="json")
    return data


def item_view(id: str, facts: Mapping[str, Fact]) -> View | None:
    """Return one line of the job's event list; the highest (epoch, attempt) that says it wins."""
    best: View | None = None
    for event_id, fact in sorted(facts.items(), key=lambda item: (item[1]["epoch"], item[1]["attempt"], item[0])):
        for message in messages(event_id, fact["type"], fact["subject"], fact["epoch"], fact["attempt"], fact["data"]):
            if message.id == id:
                best = {
                    "id": id,
                    "tenant": fact["tenant"],
                    "job": message.job,
                    "created_at": fact["at"],
                    "sort": message.sort,
                    "epoch": fact["epoch"],
                    "attempt": fact["attempt"],
                    "step": message.step,
                    "level": message.level,
                    "message": message.text,
                    "type": message.type,
                    "data": message.data,
                }
    return best


JOB_EVENTS = ReadModel(
    name="job_events",
    version=2,
    topics=frozenset({*LIFECYCLE, "job.progressed", "model.registered"}),
    touches=_item_ids,
    view=item_view,
    indexes=(("job", "-sort"),),
    part=_item_part,
)


def _checkpoint_id(event: Event) -> Iterable[str]:
    data = event.data.model_dump(mode="json")
    return (derived_id(event.subject, "checkpoint", event.epoch, event.attempt, data["step"]),)


def checkpoint_view(id: str, facts: Mapping[str, Fact]) -> View | None:
    """Return one stored checkpoint, from which control documents are derived again after a loss."""
    fact = first(facts, "job.checkpointed")
    if fact is None:
        return None
    return {
        "id": id,
        "job": fact["subject"],
        "tenant": fact["tenant"],
        "epoch": fact["epoch"],
        "attempt": fact["attempt"],
        **{name: fact["data"][name] for name in ("step", "epoch_end", "manifest", "metrics")},
    }


JOB_CHECKPOINTS = ReadModel(
    name="job_checkpoints",
    version=3,
    topics=frozenset({"job.checkpointed"}),
    births=frozenset({"job.checkpointed"}),
    touches=_checkpoint_id,
    view=checkpoint_view,
    indexes=(("job", "-step"),),
)
