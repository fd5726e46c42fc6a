"""Leases as runners hold them, on control documents in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from contracts.controls import Claim, Control
from infra.adapters.memory import MemoryControls
from infra.runtime.leases import HeldLease


def held(
    subject: str,
    tenant: str,
    stage: str,
    inputs: Mapping[str, Any],
    controls: MemoryControls | None = None,
    recorded: Mapping[str, Any] | None = None,
) -> HeldLease:
    """Return the lease of a new attempt at a thing; what earlier ones recorded in `controls` is still there."""
    controls = controls or MemoryControls()
    before = controls.controls.get(subject)
    fence = before.fence + 1 if before else 1
    control = Control(
        subject=subject,
        tenant=tenant,
        stage=stage,
        ready=True,
        epoch=1,
        desired="run",
        fence=fence,
        attempts=1,
        holder="test",
        live=True,
        opened_at=0,
        inputs=json.loads(json.dumps(inputs)),
        recorded={**(before.recorded if before else {}), **(recorded or {})},
    )
    controls.controls[subject] = control
    return HeldLease(controls, Claim(control, fence, "n"))


@dataclass
class Opened:
    """What a handler opened, and for what it woke whom."""

    controls: MemoryControls = field(default_factory=MemoryControls)
    woken: list[tuple[str, list[str]]] = field(default_factory=list)
    """Stages, each with the subjects that were there to be found by then."""

    def wake(self, stage: str) -> None:
        """The WakeUp port."""
        self.woken.append((stage, [*self.controls.controls]))

    @property
    def inputs(self) -> dict[tuple[str, str, str], Mapping[str, Any]]:
        """(subject, tenant, stage) → inputs."""
        found = self.controls.controls.values()
        return {(each.subject, each.tenant, each.stage): each.inputs for each in found if each.ready}
