"""Archives and their documents on the way to a data set; both are joins as well: whoever ends last goes on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from contracts.documents.facts import Fact, ReadModel, View, first
from contracts.documents.files import OF_DOCUMENTS as BIRTHS
from contracts.documents.files import source
from contracts.envelope import Event

OF_ARCHIVES = frozenset(
    {
        *BIRTHS,
        "zip.extracted",
        "corpus.planned",
        "dataset.assembled",
        "dataset.failed",
        "file.rejected",
        "file.deleted",
    }
)
OF_DOCUMENTS = frozenset(
    {"document.extracted", "document.rejected", "document.chunked", "examples.synthesized", "examples.failed"}
)


def _subject(event: Event) -> Iterable[str]:
    return (event.subject,)


def archive_view(id: str, facts: Mapping[str, Fact]) -> View | None:
    """Return an archive: what it holds and how far it is; None for other files.

    The documents of one that was re-curated, and how far they are, are those of its `source`.
    """
    born = first(facts, *BIRTHS)
    if born is None:
        return None

    def said(topic: str) -> dict[str, Any] | None:
        fact = first(facts, topic)
        return dict(fact["data"]) if fact else None

    extracted = said("zip.extracted")
    single = born["type"] == "document.uploaded"
    assembled, failed = said("dataset.assembled"), said("dataset.failed") or said("file.rejected")
    deleted = first(facts, "file.deleted") is not None
    return {
        "id": id,
        "tenant": born["tenant"],
        "created_at": born["at"],
        "uploaded": born["data"],
        "source": source(born),
        "single": single,
        "extracted": extracted,
        "documents": 1 if single else extracted["taken"] if extracted else None,
        "planned": said("corpus.planned"),
        "assembled": assembled,
        "failed": failed,
        "deleted": deleted,
        "unfinished": not (assembled or failed or deleted),
    }


ARCHIVES = ReadModel(
    name="archives",
    version=7,
    topics=OF_ARCHIVES,
    births=frozenset(BIRTHS),
    touches=_subject,
    view=archive_view,
    indexes=(("tenant", "-created_at", "-id"), ("unfinished",)),
)


def document_view(id: str, facts: Mapping[str, Fact]) -> View | None:
    """Return a document; `cut` says that its chunks are there or never will be, `made` the same of its rows."""
    anything = first(facts, *OF_DOCUMENTS)
    if anything is None:
        return None
    extracted, rejected = first(facts, "document.extracted"), first(facts, "document.rejected")
    chunked = first(facts, "document.chunked")
    made, failed = first(facts, "examples.synthesized"), first(facts, "examples.failed")
    named = extracted or rejected
    return {
        "id": id,
        "tenant": anything["tenant"],
        "archive": anything["data"]["archive"],
        "path": named["data"]["path"] if named else None,
        "extracted": extracted["data"] if extracted else None,
        "rejected": rejected["data"] if rejected else None,
        "chunked": chunked["data"] if chunked else None,
        "examples": made["data"] if made else None,
        "failed": failed["data"] if failed else None,
        "cut": chunked is not None or rejected is not None,
        "made": made is not None or failed is not None,
    }


DOCUMENTS = ReadModel(
    name="documents",
    version=4,
    topics=OF_DOCUMENTS,
    births=OF_DOCUMENTS,
    touches=_subject,
    view=document_view,
    indexes=(("archive", "cut"), ("archive", "made"), ("archive", "id")),
)
