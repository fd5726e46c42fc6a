"""The read model of benchmarks: what was asked for, how far it is, what was found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from contracts.documents.facts import Fact, ReadModel, View, first, of_type
from contracts.envelope import Event

TOPICS = frozenset(
    {"benchmark.requested", "benchmark.started", "benchmark.progressed", "benchmark.completed", "benchmark.failed"}
)


def _subject(event: Event) -> Iterable[str]:
    return (event.subject,)


def view(id: str, facts: Mapping[str, Fact]) -> View | None:
    """Return the benchmark as shown; progress is the furthest that anybody said."""
    born = first(facts, "benchmark.requested")
    if born is None:
        return None
    started = first(facts, "benchmark.started")
    completed, failed = first(facts, "benchmark.completed"), first(facts, "benchmark.failed")
    done = max((fact["data"]["done"] for fact in of_type(facts, "benchmark.progressed")), default=0)
    ending = completed or failed
    if completed:
        status = "completed"
    elif failed:
        status = "cancelled" if failed["data"]["code"] == "cancelled" else "failed"
    else:
        status = "running" if started else "queued"
    return {
        "id": id,
        "tenant": born["tenant"],
        "created_at": born["at"],
        "requested": born["data"],
        "job": born["data"]["job"],
        "status": status,
        "total": started["data"]["total"] if started else None,
        "done": started["data"]["total"] if completed and started else done,
        "finished_at": ending["at"] if ending else None,
        "completed": completed["data"] if completed else None,
        "failed": failed["data"] if failed and not completed else None,
        "ended": ending is not None,
        "conflict": any(fact["conflict"] for fact in facts.values()),
    }


BENCHMARKS = ReadModel(
    name="benchmarks",
    version=4,
    topics=TOPICS,
    births=frozenset({"benchmark.requested"}),
    touches=_subject,
    view=view,
    indexes=(("tenant", "-created_at", "-id"), ("job", "created_at"), ("ended", "created_at")),
)
