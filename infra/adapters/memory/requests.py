"""Requests in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

from contracts.ports import Reservation


@dataclass(frozen=True, slots=True)
class KeptRequest:
    """What one POST was given."""

    tenant: str
    route: str
    key: str | None
    body: str
    id: str
    completed: bool = False


class MemoryRequests:
    """The `Requests` port in a list, the oldest first."""

    def __init__(self) -> None:
        self.made: list[KeptRequest] = []

    async def reserve(
        self, tenant: str, route: str, key: str | None, body_sha256: str, retry: bool, new_id: str
    ) -> Reservation:
        """Set `new_id` aside, or adopt what an earlier attempt set aside."""
        mine = [each for each in self.made if (each.tenant, each.route, each.key) == (tenant, route, key)]
        if key is None:
            mine = [each for each in mine if retry and each.body == body_sha256 and not each.completed]
        if mine:
            return Reservation(mine[-1].id, "adopted" if mine[-1].body == body_sha256 else "mismatch")
        self.made.append(KeptRequest(tenant, route, key, body_sha256, new_id))
        return Reservation(new_id, "new")

    async def reserved(self, id: str) -> bool:
        """Return whether an object id is set aside."""
        return any(each.id == id for each in self.made)

    async def complete(self, reservation: Reservation) -> None:
        """Say that the reply for this object went out, so that no later request without a key adopts it."""
        self.made = [replace(each, completed=each.completed or each.id == reservation.id) for each in self.made]
