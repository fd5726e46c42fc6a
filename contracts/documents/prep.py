"""The join of preparation: a document per job, with what it needs and whether it waits still.

Whoever completes a join acts, so each side files its own event first and reads the other side afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from contracts.documents.facts import Fact, ReadModel, View, first
from contracts.documents.models import PUBLIC, model_id
from contracts.envelope import Event
from contracts.topics import ENDINGS

BIRTH = "job.created"
PREPARED = ("job.queued", *ENDINGS)


def _touches(event: Event) -> Iterable[str]:
    return (event.subject,)


def _part(id: str, event: Event) -> Mapping[str, Any]:
    return event.data.model_dump(mode="json") if event.type == BIRTH else {}


def view(id: str, facts: Mapping[str, Fact]) -> View | None:
    """Return what a job needs before it can be prepared, and whether it waits for it."""
    born = first(facts, BIRTH)
    if born is None:
        return None
    data = born["data"]
    files = [name for name in (data["training_file"], data["validation_file"]) if name]
    base = model_id(PUBLIC, data["model"])
    return {
        "id": id,
        "tenant": born["tenant"],
        "at": born["at"],
        "files": files,
        "base": base,
        "needs": [*files, base],
        "waits": first(facts, *PREPARED) is None,
        "created": data,
    }


PREP_JOBS = ReadModel(
    name="prep_jobs",
    version=7,
    topics=frozenset({BIRTH, *PREPARED}),
    births=frozenset({BIRTH}),
    touches=_touches,
    view=view,
    indexes=(("needs", "waits"),),
    part=_part,
)
