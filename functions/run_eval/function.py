"""Runs of evals."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.envelope import Event
from contracts.function import Function, Reaction, Stage, Unfinished, places
from contracts.ports import Lease
from functions.run_eval import handler, work
from functions.run_eval.settings import EvalSettings


async def run_eval(lease: Lease, ports: work.EvalPorts) -> Sequence[Event]:
    """Run one."""
    return await work.work(lease, ports)


FUNCTION = Function(
    name="run_eval",
    role="worker",
    reactions=(
        Reaction(("eval_run.created",), handler.on_eval_run_created, fails=handler.STAGE),
        Reaction(("eval_run.ended",), handler.on_eval_run_ended),
        Reaction(("eval.deleted", "eval_run.deleted"), handler.on_deleted),
    ),
    stages=(
        Stage(
            name=handler.STAGE,
            model="eval_runs",
            over=lambda run: bool(run["over"]),
            work=run_eval,
            exhausted=work.exhausted,
            places=places(),
        ),
    ),
    unfinished=Unfinished("eval_runs", {"over": False}, handler.STAGE, inputs=handler.inputs_of),
    settings=EvalSettings,
)
