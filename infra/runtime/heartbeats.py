"""Presence: each process says in MongoDB every two seconds that it is alive and well; the edge's `/status` reads it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

from contracts.cancellation import pause
from contracts.ports import UnavailableError
from infra.adapters.mongo.connection import Database, transient_errors

SAY_SECONDS = 2.0
STALE_SECONDS = 6.0


async def say(
    db: Database,
    role: str,
    functions: Collection[str],
    holder: str,
    trouble: Callable[[], str | None],
    groups: Callable[[], Mapping[str, Mapping[str, Any]]],
) -> None:
    """Record this process's state until cancelled, then forget it.

    `trouble` returns what is wrong, or None; `groups` returns the progress of its consumer groups.
    """
    name = {"_id": f"{role}/{holder}"}
    try:
        while True:
            said = {"role": role, "functions": [*functions], "trouble": trouble(), "groups": _slow(groups())}
            change = [{"$set": {"at": "$$NOW", **{field: {"$literal": value} for field, value in said.items()}}}]
            with suppress(UnavailableError), transient_errors():  # readiness shows MongoDB itself
                await db.heartbeats.update_one(name, change, upsert=True)
            await pause(SAY_SECONDS)
    finally:
        with suppress(UnavailableError), transient_errors():
            await db.heartbeats.delete_one(name)


async def look(db: Database, role: str, functions: Collection[str]) -> str | None:
    """Return what is wrong with a role, None when each of its functions is in at least one process that is well."""
    there = [each async for each in _recent(db, {"role": role})]
    well = {name for each in there if each["trouble"] is None for name in each.get("functions", ())}
    if well >= set(functions):
        return None
    troubles = [str(each["trouble"]) for each in there if not well.issuperset(each.get("functions", ()))]
    silent = set(functions) - {name for each in there for name in each.get("functions", ())}
    where = f" with {', '.join(sorted(silent))}" if there else ""
    return troubles[0] if troubles else f"no {role}{where} has said anything for {STALE_SECONDS:.0f} s"


async def slow_groups(db: Database) -> list[str]:
    """Return a sentence for each consumer group that waits or is stuck in some process."""
    return [sentence async for each in _recent(db, {}) for sentence in each.get("groups", ())]


def _slow(groups: Mapping[str, Mapping[str, Any]]) -> list[str]:
    found = []
    for group, progress in groups.items():
        why = next(iter(progress["waiting"].values()), f"nothing done for {progress['idle_s']:.0f} s")
        if progress["state"] != "ok":
            found.append(f"{group} is {progress['state']} with {progress['lag']} to do: {why}"[:300])
    return found


async def _recent(db: Database, where: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
    recent = {"$expr": {"$gt": ["$at", {"$subtract": ["$$NOW", int(STALE_SECONDS * 1000)]}]}}
    with transient_errors():
        async for each in db.heartbeats.find({**where, **recent}):
            yield each
