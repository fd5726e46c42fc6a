"""Completions that are kept: storing them, finding them again, and what is between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from starlette.requests import Request

from contracts.envelope import derived_id, make
from contracts.events.completions import CompletionDeleted, CompletionRecorded, CompletionUpdated
from functions._shared.keeping import content_key, encoded
from functions.edge.context import deps, is_retry, owned, publish, tenant

Kind = Literal["response", "chat"]
DAY_SECONDS = 24 * 3600


async def keep(
    request: Request,
    id: str,
    kind: Kind,
    content: Mapping[str, Any],
    metadata: Mapping[str, str],
    previous: str | None = None,
) -> None:
    """Store a completion and say so, so that the caller's next read shows it; raises UnavailableError."""
    answered: Mapping[str, Any] = content["response" if kind == "response" else "completion"]
    ports = deps(request)
    data = CompletionRecorded(
        kind=kind,
        model=answered["model"],
        blob=await ports.blobs.put(content_key(tenant(request), id), encoded(content), "application/json"),
        metadata=dict(metadata),
        previous=previous,
        expires_after=ports.stored_days * DAY_SECONDS,
        tokens=(answered.get("usage") or {}).get("total_tokens", 0),
    )
    event_id = derived_id(id, "completion.recorded")
    await publish(request, make(data, subject=id, tenant=tenant(request), id=event_id))


async def found(request: Request, kind: Kind, id: str) -> dict[str, Any] | None:
    """Return the view of what the caller's tenant keeps; None where there is no such thing, or no more."""
    view = await owned(request, "completions", id[:128])
    return view if view is not None and view["kind"] == kind and not view["deleted"] else None


async def content_of(request: Request, id: str) -> dict[str, Any]:
    """Return all that is kept of a completion; raises BlobNotFoundError."""
    content: dict[str, Any] = msgspec.json.decode(await deps(request).blobs.get(content_key(tenant(request), id)))
    return content


async def forget(request: Request, kind: Kind, id: str) -> bool:
    """Erase what is kept; returns whether there was any, or a retry asks again."""
    view = await owned(request, "completions", id[:128])
    if view is None or view["kind"] != kind or (view["deleted"] and not is_retry(request)):
        return False
    if not view["deleted"]:
        event_id = derived_id(id, "completion.deleted")
        await publish(request, make(CompletionDeleted(), subject=id, tenant=tenant(request), id=event_id))
    await deps(request).blobs.delete(f"{tenant(request)}/{id}/")
    return True


async def label(request: Request, id: str, metadata: Mapping[str, str]) -> None:
    """Give what is kept other metadata."""
    data = CompletionUpdated(metadata=dict(metadata))
    await publish(request, make(data, subject=id, tenant=tenant(request), id=deps(request).new_id()))
