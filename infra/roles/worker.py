"""The worker: the small functions, all or some; the projector; the reconciler."""

from __future__ import annotations

from collections.abc import Awaitable, Collection

from infra.adapters.mongo.documents import Builds, MongoDocuments
from infra.runtime.functions import of_role
from infra.runtime.hosting import Host, Loop, children, host
from infra.runtime.projector import GROUP, Projector
from infra.runtime.reconciler import Reconciler
from infra.runtime.sweeper import Sweeper
from infra.runtime.world import World, needed, now_ms, world
from infra.settings import Settings


async def run(settings: Settings, only: Collection[str] = ()) -> None:
    """Run the worker's functions, `only` some, until told to stop; raises UnknownFunctionError."""
    functions = of_role("worker", only)
    async with world(settings, lasting=True) as here:
        there = host(here, functions, *children(settings, "worker", functions, only))
        loops: list[Loop] = [reconciler(there).run]
        projects = projector(here) if any(each.name == GROUP for each in functions) else None
        if projects is not None:
            loops.append(projects.run)
        if any(each.name == "erase_content" for each in functions):
            loops.append(Sweeper(here.documents, here.blobs, here.emit, here.requests, here.controls, now_ms).run)
        await there.run("worker", loops, lambda: projects.trouble if projects else None)


def reconciler(there: Host) -> Reconciler:
    """Return what takes up the unfinished things of this process's functions."""
    here = there.here
    names = {each.function.name for each in there.functions}
    return Reconciler(here.documents, here.controls, here.emit, now_ms, there.retakes(), names)


def projector(here: World) -> Projector:
    """Return what folds the log into the read models."""

    def restore(documents: MongoDocuments) -> Awaitable[int]:
        return Reconciler(documents, here.controls, here.emit, now_ms).restore()

    bootstrap = needed(here.settings.kafka_bootstrap, "kafka_bootstrap")
    return Projector(bootstrap, Builds(here.db), restore, here.belief, here.emit)
