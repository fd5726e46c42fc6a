"""Mail and webhooks."""

from __future__ import annotations

from contracts.function import Function, Reaction, Stage, Unfinished, places
from functions.notify import core, handler, work
from functions.notify.settings import NotifySettings

FUNCTION = Function(
    name="notify",
    role="worker",
    reactions=(
        Reaction(tuple(core.TOLD), handler.on_job_ended),
        Reaction(("notification.requested",), handler.on_notification_requested, fails=core.STAGE),
    ),
    stages=(
        Stage(
            name=core.STAGE,
            model="notifications",
            over=lambda each: bool(each["ended"]),
            work=work.work,
            exhausted=work.exhausted,
            places=places(2),
        ),
    ),
    unfinished=Unfinished("notifications", {"ended": False}, core.STAGE, inputs=core.inputs),
    settings=NotifySettings,
)
