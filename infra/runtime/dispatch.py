"""From declarations to what runs: a subscription for each function, runners for its stages, what it retakes."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress

from contracts.documents import View
from contracts.envelope import Event
from contracts.function import Function, Places, Stage
from contracts.ports import AbandonedError
from infra.adapters.kafka import Subscription
from infra.runtime.functions import AbsentError, Bound, Ports
from infra.runtime.giving_up import GiveUp
from infra.runtime.leases import Placed

log = logging.getLogger("temper")
Retake = Callable[[View], Awaitable[None]]


def bound(functions: Iterable[Function], ports: Ports) -> list[Bound]:
    """Return functions with their ports; an optional one for which a port is missing is left out."""
    found = []
    for function in functions:
        each = Bound(function, ports)
        try:
            for reaction in function.reactions:
                each.bind(reaction.handle)
        except AbsentError as error:
            if not function.optional:
                raise
            log.info("%s is left out: %s", function.name, error)
            continue
        found.append(each)
    return found


def subscription(each: Bound, give_up: GiveUp) -> Subscription:
    """Return a function's consumer group."""
    function = each.function
    handlers = {topic: each.bind(reaction.handle) for reaction in function.reactions for topic in reaction.topics}
    fails = {topic: reaction.fails for reaction in function.reactions for topic in reaction.topics if reaction.fails}

    async def handle(event: Event) -> None:
        with suppress(AbandonedError):  # what it is about was deleted meanwhile
            await handlers[event.type](event)

    async def on_failure(event: Event, why: str) -> None:
        if event.type in fails:
            await give_up.after(event, fails[event.type], why)

    return Subscription(function.name, function.topics, handle, on_failure, function.deadline, function.optional)


def placed(each: Bound) -> Sequence[Placed]:
    """Return a function's stages, each as often as it may run at the same time."""
    found: list[Placed] = []
    for stage in each.function.stages:
        said = _places(each, stage)
        found += [Placed(stage, each.bind(stage.work), said.per_tenant)] * said.at_once
    return found


def _places(each: Bound, stage: Stage) -> Places:
    return stage.places if isinstance(stage.places, Places) else each.call(stage.places)


def retakes(all_bound: Iterable[Bound], model: str) -> list[Retake]:
    """Return what takes the next steps of an unfinished document of a read model."""
    return [each.bind(each.function.retakes[model]) for each in all_bound if model in each.function.retakes]
