"""Counts what is stored for a tenant: bytes and objects of each kind, by walking its keys."""

from __future__ import annotations

from contracts.documents.models import PUBLIC
from contracts.ports import Blobs, Documents
from contracts.storage import KINDS, Kind, StoredBytes, kind_of


async def stored(blobs: Blobs, documents: Documents, tenant: str) -> dict[Kind, StoredBytes]:
    """Return kind → how much of it there is, kinds of which there is nothing too; raises UnavailableError.

    Keys are walked, a thousand in a request, and none is held: the time grows with the number of objects, not of bytes.
    """
    found = {kind: StoredBytes() for kind in KINDS}
    models: set[str] = set()
    async for view in documents.each("models", {"tenant": tenant, "deleted": False}):
        models.add(view["manifest"]["key"].rpartition("/")[0])
    async for stat in blobs.walk(f"{tenant}/"):
        found["models" if tenant == PUBLIC else kind_of(tenant, stat.key, models)].add(stat.bytes)
    return found
