"""The read model of API keys, by hash."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from contracts.documents.facts import Fact, ReadModel, View, first
from contracts.envelope import Event


def _touches(event: Event) -> Iterable[str]:
    return (event.data.model_dump()["sha256"],)


def view(id: str, facts: Mapping[str, Fact]) -> View | None:
    """Return the key; once revoked, always revoked."""
    created = first(facts, "key.created")
    if created is None:
        return None
    revoked = first(facts, "key.revoked")
    return {
        "id": created["subject"],
        "sha256": id,
        "tenant": created["tenant"],
        "created_at": created["at"],
        "kind": created["data"]["kind"],
        "name": created["data"]["name"],
        "email": created["data"].get("email"),
        "dialect": created["data"].get("dialect", "openai"),
        "hint": created["data"]["hint"],
        "revoked_at": revoked["at"] if revoked else None,
    }


KEYS = ReadModel(
    name="keys",
    version=4,
    topics=frozenset({"key.created", "key.revoked"}),
    births=frozenset({"key.created"}),
    touches=_touches,
    view=view,
    indexes=(("tenant", "created_at"), ("id",)),
)
