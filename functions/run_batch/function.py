"""Batches of requests."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.envelope import Event
from contracts.function import Function, Reaction, Stage, Unfinished, places
from contracts.ports import Lease
from functions.run_batch import handler, work
from functions.run_batch.settings import BatchSettings


async def run_batch(lease: Lease, ports: work.BatchPorts) -> Sequence[Event]:
    """Run one batch."""
    return await work.work(lease, ports)


FUNCTION = Function(
    name="run_batch",
    role="worker",
    reactions=(
        Reaction(("batch.created",), handler.on_batch_created, fails=handler.STAGE),
        Reaction(("batch.ended",), handler.on_batch_ended),
    ),
    stages=(
        Stage(
            name=handler.STAGE,
            model="batches",
            over=lambda batch: bool(batch["over"]),
            work=run_batch,
            exhausted=work.exhausted,
            places=places(),
        ),
    ),
    unfinished=Unfinished("batches", {"over": False}, handler.STAGE, inputs=handler.inputs_of),
    settings=BatchSettings,
)
