"""Presence: each process says in MongoDB every two seconds that it is alive and well; the edge's readiness reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from contracts.ports import UnavailableError
from infra.adapters.mongo_connection import Database, weather

SAY_SECONDS = 2.0
STALE_SECONDS = 6.0


async def say(db: Database, role: str, holder: str, trouble: Callable[[], str | None]) -> None:
    """Record this process's state until cancelled, then forget it; `trouble` returns what is wrong, or None."""
    name = {"_id": f"{role}/{holder}"}
    try:
        while True:
            change = [{"$set": {"role": {"$literal": role}, "at": "$$NOW", "trouble": {"$literal": trouble()}}}]
            with suppress(UnavailableError), weather():  # readiness shows MongoDB itself
                await db.presence.update_one(name, change, upsert=True)
            await asyncio.sleep(SAY_SECONDS)
    finally:
        with suppress(UnavailableError), weather():
            await db.presence.delete_one(name)


async def look(db: Database, role: str) -> str | None:
    """Return what is wrong with a role, None when at least one process of it is well."""
    recent = {"role": role, "$expr": {"$gt": ["$at", {"$subtract": ["$$NOW", int(STALE_SECONDS * 1000)]}]}}
    with weather():
        troubles = [each["trouble"] async for each in db.presence.find(recent)]
    if not troubles:
        return f"no {role} has said anything for {STALE_SECONDS:.0f} s"
    return None if None in troubles else str(troubles[0])
