"""Joins for preparation: what a job needs, and which jobs wait for a file or a base model.

Whoever completes a join acts, so each side files its own event first and reads the other side afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from contracts.documents.facts import Fact, ReadModel, View, first, of_type
from contracts.documents.files import BIRTHS, REFUSALS, VERDICTS, birth
from contracts.documents.models import PUBLIC
from contracts.envelope import Event


def _files(event: Event) -> list[str]:
    data = event.data.model_dump()
    return [name for name in (data["training_file"], data["validation_file"]) if name]


def _touched_files(event: Event) -> Iterable[str]:
    return _files(event) if event.type == "job.created" else (event.subject,)


def file_view(id: str, facts: Mapping[str, Fact]) -> View | None:
    """Return what is known of a file, and the jobs that wait for it; born with whichever comes first."""
    born = birth(facts)
    validated = first(facts, *VERDICTS)
    rejected = first(facts, *REFUSALS)
    waiting = sorted(event_subject(fact) for fact in of_type(facts, "job.created"))
    return {
        "id": id,
        "tenant": born["tenant"] if born else None,
        "uploaded": born["data"] if born else None,
        "archive": born is not None and born["type"] != "file.uploaded",
        "validated": {"has_tools": False, **validated["data"]} if validated else None,
        "rejected": rejected["data"] if rejected else None,
        "deleted": first(facts, "file.deleted") is not None,
        "jobs": waiting,
    }


def event_subject(fact: Fact) -> str:
    """Return the subject that a fact is about."""
    subject: str = fact["subject"]
    return subject


PREP_FILES = ReadModel(
    name="prep_files",
    version=4,
    topics=frozenset({"job.created", "file.deleted", *BIRTHS, *VERDICTS, *REFUSALS}),
    touches=_touched_files,
    view=file_view,
)


def _job(event: Event) -> Iterable[str]:
    return (event.subject,)


def job_view(id: str, facts: Mapping[str, Fact]) -> View | None:
    """Return what a job needs before it can be prepared."""
    born = first(facts, "job.created")
    if born is None:
        return None
    data = born["data"]
    return {
        "id": id,
        "tenant": born["tenant"],
        "at": born["at"],
        "needs": {
            "files": [name for name in (data["training_file"], data["validation_file"]) if name],
            "model": data["model"],
        },
        "created": data,
    }


PREP_JOBS = ReadModel(
    name="prep_jobs",
    version=3,
    topics=frozenset({"job.created"}),
    births=frozenset({"job.created"}),
    touches=_job,
    view=job_view,
)


def base_id(name: str) -> str:
    """Return the document id under which jobs wait for a base model."""
    return f"{PUBLIC}/{name}"


def _base(event: Event) -> Iterable[str]:
    if event.type == "job.created":
        return (base_id(event.data.model_dump()["model"]),)
    return (base_id(event.subject),) if event.tenant == PUBLIC else ()


def base_view(id: str, facts: Mapping[str, Fact]) -> View | None:
    """Return the newest registration of a base model, if any, and the jobs that wait for it."""
    registered = of_type(facts, "model.registered")
    latest = max(registered, key=lambda fact: (fact["at"], fact["hash"])) if registered else None
    deleted = max((fact["at"] for fact in of_type(facts, "model.deleted")), default=0)
    alive = latest is not None and deleted < latest["at"]
    return {
        "id": id,
        "registered": latest["data"] if latest is not None and alive else None,
        "jobs": sorted(event_subject(fact) for fact in of_type(facts, "job.created")),
    }


PREP_BASES = ReadModel(
    name="prep_bases",
    version=2,
    topics=frozenset({"job.created", "model.registered", "model.deleted"}),
    touches=_base,
    view=base_view,
)
