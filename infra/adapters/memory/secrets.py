"""Secrets in memory."""

from __future__ import annotations


class MemorySecrets:
    """The `Secrets` port in a dictionary."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}

    async def put(self, tenant: str, name: str, value: str) -> None:
        """Keep a secret, in the place of an older one."""
        self.kept[tenant, name] = value

    async def get(self, tenant: str, name: str) -> str | None:
        """Return a secret, None where there is none."""
        return self.kept.get((tenant, name))

    async def drop(self, tenant: str, name: str) -> None:
        """Forget a secret."""
        self.kept.pop((tenant, name), None)
