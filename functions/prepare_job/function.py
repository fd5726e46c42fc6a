"""Preparation of jobs."""

from __future__ import annotations

from contracts.function import Function, Reaction, Stage, Unfinished
from functions.prepare_job import handler, work
from functions.prepare_job.settings import PrepareSettings

FUNCTION = Function(
    name="prepare_job",
    role="worker",
    reactions=(
        Reaction(("job.created",), handler.on_prep, fails=handler.STAGE),
        Reaction(handler.WAITED_FOR, handler.on_prep),
    ),
    stages=(
        Stage(
            name=handler.STAGE,
            model="jobs",
            over=lambda job: bool(job["ended"]),
            work=work.work,
            exhausted=work.exhausted,
            onward={"job.queued": "train"},
        ),
    ),
    unfinished=Unfinished("jobs", {"status": {"$in": ["validating_files", "queued", "running", "paused"]}}, "prepare"),
    retakes={"jobs": handler.retake},
    children={work.TOKENISE: "functions.prepare_job.preload"},
    settings=PrepareSettings,
    provides={"dtype": lambda settings: settings.dtype},
)
