"""Training of jobs."""

from __future__ import annotations

from contracts.function import Function, Places, Reaction, Stage
from functions.train_model import handler, outcome, work
from functions.train_model.settings import TrainSettings

GRACE_SECONDS = 5.0
"""For a checkpoint when the process is told to end; `temper up` kills what takes longer than 10 s."""


def device(device: str, threads: int, settings: TrainSettings) -> work.Device:
    """Return how this machine trains."""
    return work.Device(device, threads, settings.deterministic, settings.dtype)


FUNCTION = Function(
    name="train_model",
    role="trainer",
    reactions=(Reaction(("job.queued",), handler.on_job_queued),),
    stages=(
        Stage(
            name=handler.STAGE,
            model="jobs",
            over=lambda job: bool(job["ended"]),
            work=work.work,
            exhausted=outcome.exhausted,
            places=Places(1, 1),
            grace=GRACE_SECONDS,
        ),
    ),
    children={work.RECIPE: work.RECIPE},
    settings=TrainSettings,
    provides={"device": device},
)
