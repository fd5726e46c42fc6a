"""The read model of permissions to call another tenant's model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from contracts.documents.facts import Fact, ReadModel, View, first
from contracts.envelope import Event, derived_id


def permission_id(tenant: str, model: str, project: str, before: int) -> str:
    """Return the id of the permission that follows `before` revoked ones of the same model and project."""
    return "cp_" + derived_id("checkpoint.permission", tenant, model, project, before).replace("-", "")


def _touches(event: Event) -> Iterable[str]:
    return (event.subject,)


def view(id: str, facts: Mapping[str, Fact]) -> View | None:
    """Return the permission; once revoked, always revoked."""
    granted = first(facts, "permission.granted")
    if granted is None:
        return None
    return {
        "id": id,
        "tenant": granted["tenant"],
        "created_at": granted["at"],
        **granted["data"],
        "deleted": first(facts, "permission.revoked") is not None,
    }


PERMISSIONS = ReadModel(
    name="permissions",
    version=1,
    topics=frozenset({"permission.granted", "permission.revoked"}),
    births=frozenset({"permission.granted"}),
    touches=_touches,
    view=view,
    indexes=(("tenant", "model", "-created_at", "-id"), ("project", "model", "created_at")),
)
