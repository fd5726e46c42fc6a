"""Whose a model's name is: what a tenant can call."""

from __future__ import annotations

from contracts.documents import View
from contracts.documents.models import PUBLIC, model_id
from contracts.ports import Documents

_OWNERS = 10
"""Of models of one name that are looked at: names of tuned models hold their owner's."""
_SHOWN = 200
"""Models of others that a list of models shows, those that were permitted first."""


async def visible_model(documents: Documents, tenant: str, name: str) -> View | None:
    """Return what a tenant calls by that name, unless it is deleted: its own, the public one, or a permitted one."""
    found = await own_model(documents, tenant, name)
    if found is not None:
        return found
    where = {"project": tenant, "model": name, "deleted": False}
    for permission in await documents.find("permissions", where, [("created_at", 1)], _OWNERS):
        if (view := await _of(documents, permission["tenant"], name)) is not None:
            return view
    return None


async def own_model(documents: Documents, tenant: str, name: str) -> View | None:
    """Return the tenant's own model of that name or the public one, unless it is deleted."""
    return await _of(documents, tenant, name) or await _of(documents, PUBLIC, name)


async def permitted(documents: Documents, tenant: str) -> list[View]:
    """Return the models of others that a tenant may call."""
    where = {"project": tenant, "deleted": False}
    found = await documents.find("permissions", where, [("created_at", 1)], _SHOWN)
    ids = {model_id(each["tenant"], each["model"]): each for each in found}
    views = [await _of(documents, each["tenant"], each["model"]) for each in ids.values()]
    return [view for view in views if view is not None]


async def _of(documents: Documents, owner: str, name: str) -> View | None:
    view = await documents.get("models", model_id(owner, name))
    return view if view is not None and not view["deleted"] and view["tenant"] == owner else None
