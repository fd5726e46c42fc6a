"""Read models: one table says which documents an event touches; edge, projector and replay all use it."""

from __future__ import annotations

from collections.abc import Iterable

from contracts.documents.batches import BATCHES
from contracts.documents.benchmarks import BENCHMARKS
from contracts.documents.completions import COMPLETIONS
from contracts.documents.corpus import ARCHIVES, DOCUMENTS
from contracts.documents.evals import EVAL_RUNS, EVALS
from contracts.documents.facts import Facts, ReadModel, Stored, View, build, fold
from contracts.documents.files import FILES
from contracts.documents.jobs import JOB_CHECKPOINTS, JOB_EVENTS, JOBS
from contracts.documents.keys import KEYS
from contracts.documents.models import MODELS
from contracts.documents.notifications import NOTIFICATIONS, WEBHOOK_ENDPOINTS
from contracts.documents.permissions import PERMISSIONS
from contracts.documents.prep import PREP_JOBS
from contracts.documents.uploads import UPLOADS
from contracts.envelope import Event

READ_MODELS: dict[str, ReadModel] = {
    model.name: model
    for model in (
        DOCUMENTS,
        ARCHIVES,
        FILES,
        MODELS,
        JOB_EVENTS,
        JOB_CHECKPOINTS,
        JOBS,
        PERMISSIONS,
        BENCHMARKS,
        BATCHES,
        EVALS,
        EVAL_RUNS,
        UPLOADS,
        COMPLETIONS,
        KEYS,
        WEBHOOK_ENDPOINTS,
        NOTIFICATIONS,
        PREP_JOBS,
    )
}


"""In the order in which they are folded: what others are asked about once these say that it is over comes first.

A file that is processed has its data set, and a job that succeeded its last event.
"""


def touched(event: Event) -> list[tuple[ReadModel, str]]:
    """Return every (read model, document id) that `event` belongs to."""
    return [(model, id) for model in READ_MODELS.values() if event.type in model.topics for id in model.touches(event)]


def grouped(events: Iterable[Event]) -> dict[str, dict[str, list[Event]]]:
    """Return read model → document id → its events, read models in the order in which they are folded."""
    found: dict[str, dict[str, list[Event]]] = {name: {} for name in READ_MODELS}
    for event in events:
        for model, id in touched(event):
            found[model.name].setdefault(id, []).append(event)
    return {name: by_id for name, by_id in found.items() if by_id}


__all__ = ["READ_MODELS", "Facts", "ReadModel", "Stored", "View", "build", "fold", "grouped", "touched"]
