"""Responses in the background."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.envelope import Event
from contracts.events.completions import STAGE
from contracts.function import Function, Places, Reaction, Stage, Unfinished, places
from contracts.ports import Lease
from functions.answer_response import handler, work
from functions.answer_response.settings import BackgroundSettings


async def answer_response(lease: Lease, ports: work.ResponsePorts) -> Sequence[Event]:
    """Answer one response."""
    return await work.work(lease, ports)


def at_once(settings: BackgroundSettings) -> Places:
    """Return how many responses are answered at the same time."""
    return places(settings.background_concurrency)


FUNCTION = Function(
    name="answer_response",
    role="worker",
    reactions=(Reaction(("completion.requested",), handler.on_completion_requested, fails=STAGE),),
    stages=(
        Stage(
            name=STAGE,
            model="completions",
            over=lambda completion: bool(completion["background"] and completion["over"]),
            work=answer_response,
            exhausted=work.exhausted,
            places=at_once,
        ),
    ),
    unfinished=Unfinished("completions", {"over": False}, STAGE, inputs=handler.inputs_of),
    settings=BackgroundSettings,
)
