"""The trainer: one job at a time, under a lease."""

from __future__ import annotations

from collections.abc import Collection

from infra.runtime.functions import of_role
from infra.runtime.hosting import children, host
from infra.runtime.world import world
from infra.settings import Settings


async def run(settings: Settings, only: Collection[str] = ()) -> None:
    """Run training, one job at a time, until told to stop; raises UnknownFunctionError."""
    functions = of_role("trainer", only)
    async with world(settings, lasting=True) as here:
        await host(here, functions, *children(settings, "trainer", functions, only)).run("trainer")
