"""The read models of evals and of their runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from contracts.documents.facts import Fact, ReadModel, View, first, of_type
from contracts.envelope import Event


def _touches(event: Event) -> Iterable[str]:
    return (event.subject,)


def eval_view(id: str, facts: Mapping[str, Fact]) -> View | None:
    """Return the eval, whose criteria lie in its blob; once deleted, always deleted."""
    born = first(facts, "eval.created")
    if born is None:
        return None
    newest = max([born, *of_type(facts, "eval.updated")], key=lambda fact: (fact["at"], fact["hash"]))
    return {
        "id": id,
        "tenant": born["tenant"],
        "created_at": born["at"],
        "updated_at": newest["at"],
        "name": newest["data"]["name"],
        "metadata": newest["data"]["metadata"],
        "blob": born["data"]["blob"],
        "deleted": first(facts, "eval.deleted") is not None,
    }


def run_view(id: str, facts: Mapping[str, Fact]) -> View | None:
    """Return the run; progress is the furthest that anybody said."""
    born = first(facts, "eval_run.created")
    if born is None:
        return None
    started, ended = first(facts, "eval_run.started"), first(facts, "eval_run.ended")
    canceled = first(facts, "eval_run.cancel_requested")
    said = (fact["data"] for fact in of_type(facts, "eval_run.progressed"))
    furthest: dict[str, Any] | None = max(said, key=_how_far, default=None)
    counts = (ended["data"] if ended else furthest) or {}
    status = "canceled" if canceled else "in_progress" if started else "queued"
    return {
        "id": id,
        "tenant": born["tenant"],
        "created_at": born["at"],
        "created": born["data"],
        "eval": born["data"]["eval"],
        "status": ended["data"]["status"] if ended else status,
        "total": started["data"]["total"] if started else 0,
        **{name: counts.get(name, 0) for name in ("passed", "failed", "errored")},
        "canceled": canceled is not None,
        "finished_at": ended["at"] if ended else None,
        "ended": ended["data"] if ended else None,
        "over": ended is not None,
        "deleted": first(facts, "eval_run.deleted") is not None,
    }


def _how_far(data: Mapping[str, Any]) -> tuple[int, int, int]:
    return data["passed"] + data["failed"] + data["errored"], data["passed"], data["failed"]


EVALS = ReadModel(
    name="evals",
    version=1,
    topics=frozenset({"eval.created", "eval.updated", "eval.deleted"}),
    births=frozenset({"eval.created"}),
    touches=_touches,
    view=eval_view,
    indexes=(("tenant", "created_at", "id"), ("tenant", "updated_at", "id")),
)
EVAL_RUNS = ReadModel(
    name="eval_runs",
    version=1,
    topics=frozenset({
        "eval_run.created", "eval_run.started", "eval_run.progressed", "eval_run.cancel_requested", "eval_run.ended",
        "eval_run.deleted",
    }),
    births=frozenset({"eval_run.created"}),
    touches=_touches,
    view=run_view,
    indexes=(("tenant", "eval", "created_at", "id"), ("over", "created_at")),
)  # fmt: skip
