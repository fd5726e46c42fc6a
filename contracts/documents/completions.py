"""The read model of completions that are kept: OpenAI's stored responses and stored chats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from contracts.documents.facts import Fact, ReadModel, View, first, of_type
from contracts.envelope import Event


def _touches(event: Event) -> Iterable[str]:
    return (event.subject,)


def view(id: str, facts: Mapping[str, Fact]) -> View | None:
    """Return what is kept of a completion, whose content lies in its blob; once deleted, always deleted."""
    born, deleted = first(facts, "completion.recorded"), first(facts, "completion.deleted")
    if born is None:
        return None
    newest = max([born, *of_type(facts, "completion.updated")], key=lambda fact: (fact["at"], fact["hash"]))
    data = born["data"]
    return {
        "id": id,
        "tenant": born["tenant"],
        "created_at": born["at"],
        **{name: data[name] for name in ("kind", "model", "blob", "previous", "tokens")},
        "metadata": newest["data"]["metadata"],
        "expires_at": None if deleted else born["at"] + 1000 * data["expires_after"],
        "deleted": deleted is not None,
    }


COMPLETIONS = ReadModel(
    name="completions",
    version=1,
    topics=frozenset({"completion.recorded", "completion.updated", "completion.deleted"}),
    births=frozenset({"completion.recorded"}),
    touches=_touches,
    view=view,
    indexes=(("tenant", "kind", "-created_at", "-id"), ("tenant", "deleted", "created_at"), ("expires_at",)),
)
