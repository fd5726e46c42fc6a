"""What the models that a job makes are called."""

from __future__ import annotations

import base64
import hashlib

from contracts.controls import Control
from contracts.events.jobs import Plan


def model_name(plan: Plan, control: Control, suffix: str | None, step: int) -> str:
    """Return `ft:{base}:{tenant}:{suffix}:{8 characters}`, with an id of its own and `:ckpt-step-N` in between."""
    last = step == plan.total_steps
    short = _short(control.subject, "final" if last else str(step))
    name = f"ft:{plan.base_name}:{control.tenant}:{suffix or ''}:{short}"
    return name if last else f"{name}:ckpt-step-{step}"


def _short(*parts: str) -> str:
    digest = hashlib.sha256("/".join(parts).encode()).digest()
    letters = base64.b64encode(digest, altchars=b"xZ").decode()
    return letters[:8]
