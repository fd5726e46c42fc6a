"""Ends what crashes keep from being done, in the words of the stage that should have done it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from contracts.controls import Claim, Control
from contracts.envelope import Event
from contracts.ports import Controls
from infra.runtime.functions import stages

_OF_ARCHIVE = ("archives", "documents")


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Ends a thing with what its stage says when it is exhausted."""

    controls: Controls
    publish: Callable[[Control], Awaitable[None]]

    async def __call__(self, stage: str, subject: str, tenant: str, inputs: Mapping[str, Any], why: str) -> None:
        """End it, unless somebody is at work on it: that ends by itself; may be repeated."""
        control = await self.controls.open(subject, tenant, stage, inputs, ready=False)
        if control.ready and not control.ended:
            return
        if not control.ended:
            claim = Claim(replace(control, inputs={**inputs, **control.inputs}), control.fence, "")
            control = await self.controls.end(subject, stages()[stage].exhausted(claim, why))
        await self.publish(control)

    async def after(self, event: Event, stage: str, why: str) -> None:
        """End what `event` was to lead to in `stage`, for its handler crashed."""
        there = stages()[stage]
        said = event.data.model_dump(mode="json") if there.model in _OF_ARCHIVE else {}
        inputs: dict[str, Any] = {"event_id": event.id}
        subject = event.subject
        if there.model == "archives":
            subject = inputs["archive"] = said.get("archive", event.subject)
        elif there.model == "documents":
            inputs |= {name: said[name] for name in ("archive", "path")}
        await self(stage, subject + there.suffix, event.tenant, inputs, why)
