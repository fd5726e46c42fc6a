"""Controls in memory."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from contracts.controls import LEASE_SECONDS, Checkpoint, Claim, Control
from contracts.envelope import Event, PoisonError, sayable
from contracts.ports import LostLeaseError


class MemoryControls:
    """The `Controls` port in a dictionary; `now` is a clock in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.controls: dict[str, Control] = {}
        self.now = now
        self._until: dict[str, float] = {}
        self._not_before: dict[str, float] = {}
        self._requests: dict[tuple[str, str], int] = {}

    async def open(
        self, subject: str, tenant: str, stage: str, inputs: Mapping[str, Any], ready: bool = True
    ) -> Control:
        new = Control(
            subject=subject,
            tenant=tenant,
            stage=stage,
            ready=ready,
            epoch=1,
            desired="run",
            fence=0,
            attempts=0,
            holder=None,
            live=False,
            opened_at=len(self.controls),
            inputs=_stored(inputs),
        )
        known = self.controls.setdefault(subject, new)
        if known.tenant != tenant:
            raise PoisonError("foreign_subject", f"{subject} is not of tenant {tenant}")
        if ready and not known.ready and known.stage == stage and not known.ended:
            self._set(known, ready=True, inputs=_stored(inputs))
        return self.controls[subject]

    async def get(self, subject: str) -> Control | None:
        control = self.controls.get(subject)
        return control and replace(control, live=self._live(control))

    async def claimable(self) -> set[str]:
        return {control.stage for control in self.controls.values() if self._claimable(control)}

    async def claim(self, stage: str, holder: str, per_tenant: int | None = None) -> Claim | None:
        held = [each for each in self.controls.values() if each.stage == stage and self._live(each)]
        counts = Counter(each.tenant for each in held)
        mine = Counter(each.tenant for each in held if each.holder == holder)
        found = [
            each
            for each in self.controls.values()
            if each.stage == stage and self._claimable(each) and (per_tenant is None or mine[each.tenant] < per_tenant)
        ]
        if not found:
            return None
        control = min(found, key=lambda each: (counts[each.tenant], each.opened_at))
        self._until[control.subject] = self.now() + LEASE_SECONDS
        taken = self._set(control, fence=control.fence + 1, attempts=control.attempts + 1, holder=holder, live=True)
        return Claim(taken, taken.fence, f"nonce {taken.fence}")

    async def heartbeat(self, claim: Claim) -> Control:
        control = self._held(claim)
        self._until[claim.subject] = self.now() + LEASE_SECONDS
        return control

    async def release(self, claim: Claim, retry_after: float = 0, forgive: bool = False, why: str = "") -> None:
        control = self._freed(self._held(claim))
        self._not_before[claim.subject] = self.now() + retry_after
        waits = control.waits + 1 if forgive and why else 0
        self._set(control, attempts=max(0, control.attempts - forgive), waits=waits, why=why)

    async def record(self, claim: Claim, name: str, value: Any) -> Any:
        control = self._held(claim)
        return self._set(control, recorded={name: _stored(value), **control.recorded}).recorded[name]

    async def checkpoint(self, claim: Claim, checkpoint: Checkpoint) -> None:
        control = self._held(claim)
        if checkpoint in control.checkpoints:
            return
        if any(each.step >= checkpoint.step for each in control.checkpoints):
            raise LostLeaseError(f"{claim.subject} is beyond step {checkpoint.step}")
        self._set(control, checkpoints=(*control.checkpoints, checkpoint), attempts=0, waits=0)

    async def drop_checkpoint(self, claim: Claim, step: int) -> None:
        control = self._held(claim)
        self._set(control, checkpoints=tuple(each for each in control.checkpoints if each.step != step))

    async def advance(self, claim: Claim, stage: str, inputs: Mapping[str, Any], events: Sequence[Event]) -> None:
        if events and set(events) <= set(self.controls[claim.subject].events):
            return
        for event in events:
            sayable(event)
        control = self._freed(self._held(claim))
        said = (*control.events, *events)
        self._set(control, stage=stage, inputs=_stored(inputs), recorded={}, attempts=0, waits=0, events=said)

    async def desire(self, subject: str, desired: str, request: str) -> Control | None:
        control = self.controls.get(subject)
        if control is None or control.ended:
            return None
        if (subject, request) not in self._requests:
            self._requests[subject, request] = control.epoch + 1
            control = self._set(control, epoch=control.epoch + 1, desired=desired, attempts=0, waits=0)
        return replace(control, epoch=self._requests[subject, request])

    async def end(self, subject: str, events: Sequence[Event], claim: Claim | None = None) -> Control:
        for event in events:
            sayable(event)
        control = self.controls.get(subject)
        if control is not None and not control.ended and (claim is None or self._held(claim)):
            control = self._set(self._freed(control), ended=True, events=(*control.events, *events))
        if control is None or not control.ended:
            raise LostLeaseError(f"{subject} is held by somebody else")
        return control

    async def published(self, subject: str, count: int) -> None:
        control = self.controls[subject]
        self._set(control, published=max(control.published, count))

    def _set(self, control: Control, **changes: Any) -> Control:
        self.controls[control.subject] = replace(control, **changes)
        return self.controls[control.subject]

    def _freed(self, control: Control) -> Control:
        self._until.pop(control.subject, None)
        return self._set(control, holder=None, live=False)

    def _live(self, control: Control) -> bool:
        return self._until.get(control.subject, 0.0) > self.now()

    def _claimable(self, control: Control) -> bool:
        free = control.ready and not control.ended and control.desired == "run" and not self._live(control)
        return free and self._not_before.get(control.subject, 0.0) <= self.now()

    def _held(self, claim: Claim) -> Control:
        control = self.controls.get(claim.subject)
        if control is None or control.ended or control.holder is None or control.fence != claim.fence:
            raise LostLeaseError(f"the lease {claim.fence} of {claim.subject} is lost")
        return control


def _stored(value: Any) -> Any:
    """As a store gives it back: of JSON's types, and nobody else's."""
    return json.loads(json.dumps(value))
