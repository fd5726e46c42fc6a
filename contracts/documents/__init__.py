"""Read models: one table says which documents an event touches; edge, projector and replay all use it."""

from __future__ import annotations

from contracts.documents.benchmarks import BENCHMARKS
from contracts.documents.corpus import ARCHIVES, DOCUMENTS
from contracts.documents.facts import Facts, ReadModel, Stored, View, build, fold
from contracts.documents.files import FILES
from contracts.documents.jobs import JOB_CHECKPOINTS, JOB_EVENTS, JOBS
from contracts.documents.keys import KEYS
from contracts.documents.models import MODELS
from contracts.documents.notifications import NOTIFICATIONS, WEBHOOK_ENDPOINTS
from contracts.documents.prep import PREP_JOBS
from contracts.envelope import Event

READ_MODELS: dict[str, ReadModel] = {
    model.name: model
    for model in (
        FILES,
        ARCHIVES,
        DOCUMENTS,
        JOBS,
        JOB_EVENTS,
        JOB_CHECKPOINTS,
        MODELS,
        BENCHMARKS,
        KEYS,
        WEBHOOK_ENDPOINTS,
        NOTIFICATIONS,
        PREP_JOBS,
    )
}


def touched(event: Event) -> list[tuple[ReadModel, str]]:
    """Return every (read model, document id) that `event` belongs to."""
    return [(model, id) for model in READ_MODELS.values() if event.type in model.topics for id in model.touches(event)]


__all__ = ["READ_MODELS", "Facts", "ReadModel", "Stored", "View", "build", "fold", "touched"]
