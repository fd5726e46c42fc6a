"""The read model of batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from contracts.documents.facts import Fact, ReadModel, View, first, of_type
from contracts.envelope import Event

TOPICS = frozenset({
    "batch.created", "batch.started", "batch.progressed", "batch.cancel_requested", "batch.finalizing", "batch.ended",
})  # fmt: skip


def _subject(event: Event) -> Iterable[str]:
    return (event.subject,)


def view(id: str, facts: Mapping[str, Fact]) -> View | None:
    """Return the batch as shown; progress is the furthest that anybody said."""
    born = first(facts, "batch.created")
    if born is None:
        return None
    started, finalizing = first(facts, "batch.started"), first(facts, "batch.finalizing")
    cancelling, ended = first(facts, "batch.cancel_requested"), first(facts, "batch.ended")
    said = (fact["data"] for fact in of_type(facts, "batch.progressed"))
    counts = max(said, key=lambda each: (each["completed"] + each["failed"], each["failed"]), default=None)
    if ended:
        status = ended["data"]["status"]
    elif cancelling:
        status = "cancelling"
    else:
        status = "finalizing" if finalizing else "in_progress" if started else "validating"
    data = ended["data"] if ended else counts
    return {
        "id": id,
        "tenant": born["tenant"],
        "created_at": born["at"],
        "created": born["data"],
        "input_file": born["data"]["input_file"],
        "status": status,
        "model": started["data"]["model"] if started else None,
        "total": started["data"]["total"] if started else 0,
        "completed": data["completed"] if data else 0,
        "failed": data["failed"] if data else 0,
        "in_progress_at": started["at"] if started else None,
        "finalizing_at": finalizing["at"] if finalizing else None,
        "cancelling_at": cancelling["at"] if cancelling else None,
        "finished_at": ended["at"] if ended else None,
        "ended": ended["data"] if ended else None,
        "over": ended is not None,
    }


BATCHES = ReadModel(
    name="batches",
    version=1,
    topics=TOPICS,
    births=frozenset({"batch.created"}),
    touches=_subject,
    view=view,
    indexes=(("tenant", "-created_at", "-id"), ("over", "created_at"), ("input_file",)),
)
