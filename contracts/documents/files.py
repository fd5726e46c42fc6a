"""The read model behind OpenAI's FileObject."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from contracts.documents.facts import Fact, ReadModel, View, first
from contracts.envelope import Event

OF_DOCUMENTS = ("zip.uploaded", "document.uploaded", "dataset.recurated")
BIRTHS = ("file.uploaded", *OF_DOCUMENTS)
VERDICTS = ("file.validated", "dataset.assembled")
"""The rows are there."""
REFUSALS = ("file.rejected", "dataset.failed")
MADE = ("fine-tune-results", "batch_output")
"""Purposes of files that Temper writes: nothing in them is checked."""
_FORMATS = {"zip.uploaded": "zip", "dataset.recurated": "dataset"}
TOPICS = frozenset({*BIRTHS, *VERDICTS, *REFUSALS, "file.deleted"})


def _touches(event: Event) -> Iterable[str]:
    return (event.subject,)


def birth(facts: Mapping[str, Fact]) -> Fact | None:
    """Return what says which file this is; that it holds documents may be found out later, and then counts."""
    return first(facts, *OF_DOCUMENTS) or first(facts, "file.uploaded")


def source(born: Fact) -> str | None:
    """Return the file that one with this birth was re-curated of, None for any other."""
    found: str | None = born["data"]["source"] if born["type"] == "dataset.recurated" else None
    return found


def view(id: str, facts: Mapping[str, Fact]) -> View | None:
    """Return the file as shown; a deletion is a tombstone that no late event revives."""
    born = birth(facts)
    if born is None:
        return None
    data: dict[str, Any] = born["data"]
    validated = first(facts, *VERDICTS)
    rejected = first(facts, *REFUSALS)
    deleted = first(facts, "file.deleted")
    documents = born["type"] != "file.uploaded"
    created_at = (first(facts, "file.uploaded") or born)["at"]
    if data["purpose"] in MADE or (documents and data["purpose"] != "fine-tune"):
        status = "processed"  # only kept: nothing is made of it
    elif rejected is not None:
        status = "error"
    else:
        status = "processed" if validated else "uploaded"
    return {
        "id": id,
        "tenant": born["tenant"],
        "created_at": created_at,
        "filename": data["filename"],
        "purpose": data["purpose"],
        "format": _FORMATS.get(born["type"]) or data["format"],
        "archive": documents,
        "source": source(born),
        "blob": data["blob"],
        "expires_after": data["expires_after"],
        "expires_at": created_at + 1000 * data["expires_after"] if data["expires_after"] and not deleted else None,
        "status": status,
        "validated": validated["data"] if validated else None,
        "rejected": rejected["data"] if rejected else None,
        "deleted": deleted is not None,
        "conflict": any(fact["conflict"] for fact in facts.values()),
    }


FILES = ReadModel(
    name="files",
    version=8,
    topics=TOPICS,
    births=frozenset(BIRTHS),
    touches=_touches,
    view=view,
    indexes=(("tenant", "-created_at", "-id"), ("status", "created_at"), ("source",), ("expires_at",)),
)
