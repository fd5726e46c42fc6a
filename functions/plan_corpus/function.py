"""Planning of a corpus."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.envelope import Event
from contracts.function import NUMERIC, Function, Reaction, Stage
from contracts.ports import Lease
from functions._shared.settings import asked_of
from functions.plan_corpus import handler, work
from functions.plan_corpus.settings import PlanSettings


async def weigh(lease: Lease, ports: work.PlanPorts, settings: PlanSettings) -> Sequence[Event]:
    """Plan one archive, by what was asked of it before the server's settings."""
    asked = await asked_of(ports.documents, lease.claim.control.inputs["archive"])
    said = {name: value for name, value in asked.items() if name in PlanSettings.model_fields}
    return await work.work(lease, ports, PlanSettings.model_validate({**settings.model_dump(), **said}))


FUNCTION = Function(
    name="plan_corpus",
    role="worker",
    of_files=True,
    reactions=(Reaction(handler.TOPICS, handler.on_document_ended, fails=handler.STAGE),),
    stages=(
        Stage(
            name=handler.STAGE,
            model="archives",
            over=lambda archive: archive["planned"] is not None or archive["failed"] is not None,
            work=weigh,
            exhausted=work.exhausted,
            suffix="/plan",
        ),
    ),
    retakes={"archives": handler.retake},
    children={work.PLAN: NUMERIC},
    settings=PlanSettings,
)
