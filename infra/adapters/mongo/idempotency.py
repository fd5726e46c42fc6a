"""MongoDB: which object each POST was given, so that a retry is given the same one."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from pymongo.errors import DuplicateKeyError

from contracts.ports import RebuildingError, Reservation
from infra.adapters.mongo.connection import Database, transient_errors


class MongoRequests:
    """The Requests port: which object each POST was given, so that a retry is given the same one."""

    def __init__(self, db: Database) -> None:
        self._requests = db.requests

    async def reserve(
        self, tenant: str, route: str, key: str | None, body_sha256: str, retry: bool, new_id: str
    ) -> Reservation:
        """Set `new_id` aside, or adopt what an earlier attempt set aside; raises UnavailableError."""
        content = {"tenant": tenant, "route": route, "key": key, "body": body_sha256}
        with transient_errors():
            if key is None and retry:
                mine = {**content, "completed": False}
                found = await self._requests.find_one(mine, sort=[("at", -1), ("_id", -1)])
                if found is not None:
                    return Reservation(found["id"], "adopted")
            name = new_id if key is None else json.dumps([tenant, route, key])
            fresh = {"_id": name, "id": new_id, **content, "completed": False, "at": datetime.now(UTC)}
            try:
                await self._requests.insert_one(fresh)
                return Reservation(new_id, "new")
            except DuplicateKeyError:
                found = await self._requests.find_one({"_id": name})
        if found is None:
            raise RebuildingError
        return Reservation(found["id"], "adopted" if found["body"] == body_sha256 else "mismatch")

    async def reserved(self, id: str) -> bool:
        """Return whether an object id is set aside."""
        with transient_errors():
            return await self._requests.find_one({"id": id}, {"_id": 1}) is not None

    async def complete(self, reservation: Reservation) -> None:
        """Say that the reply for this object went out, so that no later request without a key adopts it."""
        with transient_errors():
            await self._requests.update_many({"id": reservation.id}, {"$set": {"completed": True}})
