"""The read model of completions: stored responses and chats, and responses that are made in the background."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from contracts.documents.facts import Fact, ReadModel, View, first, of_type
from contracts.envelope import Event

_STATUS = {"completion.recorded": "recorded", "completion.failed": "failed", "completion.cancelled": "cancelled"}
"""How a completion ended → its status; what is recorded says itself whether it is whole."""


def _touches(event: Event) -> Iterable[str]:
    return (event.subject,)


def view(id: str, facts: Mapping[str, Fact]) -> View | None:
    """Return what is kept of a completion, whose content lies in its blob; once deleted, always deleted.

    One in the background begins with its request and has one ending, the first that was said.
    """
    requested, recorded = first(facts, "completion.requested"), first(facts, "completion.recorded")
    deleted = first(facts, "completion.deleted")
    born = requested or recorded
    if born is None:
        return None
    newest = max([born, *of_type(facts, "completion.updated")], key=lambda fact: (fact["at"], fact["hash"]))
    ending = first(facts, *_STATUS) if requested else recorded
    said = recorded if ending is recorded and recorded is not None else born
    return {
        "id": id,
        "tenant": born["tenant"],
        "created_at": born["at"],
        **{name: born["data"][name] for name in ("kind", "model", "previous")},
        "blob": said["data"]["blob"],
        "tokens": said["data"].get("tokens", 0),
        "bytes": sum(_bytes(fact["data"]) for fact in (requested, recorded) if fact),
        "metadata": newest["data"]["metadata"],
        "background": requested is not None,
        "status": _status(facts, ending),
        "error": ending["data"] if ending and ending["type"] == "completion.failed" else None,
        "over": ending is not None or deleted is not None,
        "expires_at": None if deleted else born["at"] + 1000 * born["data"]["expires_after"],
        "deleted": deleted is not None,
    }


def _bytes(said: Mapping[str, Any]) -> int:
    """Return of how many bytes an event says that they are kept."""
    size: int = said["blob"]["bytes"]
    return size + int(said.get("event_bytes", 0))


def _status(facts: Mapping[str, Fact], ending: Fact | None) -> str:
    if ending is not None:
        return _STATUS[ending["type"]]
    return "in_progress" if first(facts, "completion.started") else "queued"


COMPLETIONS = ReadModel(
    name="completions",
    version=3,
    topics=frozenset({
        "completion.requested", "completion.started", "completion.failed", "completion.cancelled",
        "completion.recorded", "completion.updated", "completion.deleted",
    }),
    births=frozenset({"completion.requested", "completion.recorded"}),
    touches=_touches,
    view=view,
    indexes=(
        ("tenant", "kind", "-created_at", "-id"),
        ("tenant", "deleted", "created_at"),
        ("over", "created_at"),
        ("expires_at",),
    ),
)  # fmt: skip
