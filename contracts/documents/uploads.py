"""The read model of uploads by parts; which parts there are, the blob store knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from contracts.documents.facts import Fact, ReadModel, View, first
from contracts.envelope import Event


def _subject(event: Event) -> Iterable[str]:
    return (event.subject,)


def view(id: str, facts: Mapping[str, Fact]) -> View | None:
    """Return the upload as shown; that it became a file wins."""
    born = first(facts, "upload.created")
    if born is None:
        return None
    data = born["data"]
    completed, cancelled = first(facts, "upload.completed"), first(facts, "upload.cancelled")
    if completed:
        status = "completed"
    elif cancelled:
        status = "expired" if cancelled["data"]["reason"] == "expired" else "cancelled"
    else:
        status = "pending"
    return {
        "id": id,
        "tenant": born["tenant"],
        "created_at": born["at"],
        **{name: data[name] for name in ("bytes", "filename", "mime_type", "purpose", "expires_after", "dataset")},
        "expires_at": born["at"] + 1000 * data["seconds"],
        "status": status,
        "file": completed["data"]["file"] if completed else None,
        "deleted": status != "pending",  # of the parts, which the sweeper looks for
    }


UPLOADS = ReadModel(
    name="uploads",
    version=1,
    topics=frozenset({"upload.created", "upload.completed", "upload.cancelled"}),
    births=frozenset({"upload.created"}),
    touches=_subject,
    view=view,
    indexes=(("tenant", "status"), ("status", "expires_at")),
)
