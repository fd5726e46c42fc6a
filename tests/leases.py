"""Leases as runners hold them, on control documents in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
