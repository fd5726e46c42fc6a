"""The read model behind OpenAI's Model, and the checkpoints that can be called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from contracts.documents.facts import Fact, ReadModel, View, of_type
from contracts.envelope import Event

PUBLIC = "public"
"""The tenant of base models: everyone may call them."""


def model_id(tenant: str, name: str) -> str:
    """Return the document id of a model name as one tenant sees it."""
    return f"{tenant}/{name}"


def _touches(event: Event) -> Iterable[str]:
    return (model_id(event.tenant, event.subject),)


def view(id: str, facts: Mapping[str, Fact]) -> View | None:
    """Return the model as shown; the newest registration of a name counts, a deletion after it is final."""
    registered = of_type(facts, "model.registered")
    if not registered:
        return None
    latest = max(registered, key=lambda fact: (fact["at"], fact["hash"]))
    deleted = max((fact["at"] for fact in of_type(facts, "model.deleted")), default=0)
    data = latest["data"]
    # A tuned model's name is never given twice; a base may be registered again after its deletion.
    gone = deleted >= latest["at"] or (bool(deleted) and data["job"] is not None)
    return {
        "id": latest["subject"],
        "tenant": latest["tenant"],
        "created_at": min(fact["at"] for fact in registered),
        "deleted": gone,
        **data,
        "conflict": any(fact["conflict"] for fact in facts.values()),
    }


MODELS = ReadModel(
    name="models",
    version=4,
    topics=frozenset({"model.registered", "model.deleted"}),
    births=frozenset({"model.registered"}),
    touches=_touches,
    view=view,
    indexes=(("tenant", "created_at"), ("job", "step")),
)
