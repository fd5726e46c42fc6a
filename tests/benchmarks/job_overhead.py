"""A job's `job.started` → last step ÷ the same plan run by hand with the stack up.

By hand means `python -m functions.train_model.recipe plan.json` on the job's own tokens, base and hyperparameters, in
the trainer's environment; the platform's arm adds leases, events, checkpoint uploads (BENCHMARKS row 2, at most 1.15 on
runs of a minute and more).

`python -m tests.benchmarks.job_overhead [--quick]`
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from openai import OpenAI

from contracts.blobs import BlobRef
from contracts.envelope import Event
from contracts.events.jobs import JobProgressed, Plan
from contracts.manifest import Manifest
from infra.demo.data import jsonl, make_sets, training_rows
from infra.runtime.replay import records
from infra.runtime.world import blob_store, world
from infra.settings import Settings
from tests.stack import Stack, running_stack

ROUNDS, QUICK_ROUNDS = 5, 2
EPOCHS, QUICK_EPOCHS = 11, 2
BATCH = 8
GATE = 1.15
LONG_ENOUGH = 60.0
"""Seconds; a shorter run is no result: raise EPOCHS on a faster machine."""


def by_platform(stack: Stack, epochs: int) -> tuple[Plan, float]:
    """Run one job; returns its plan and the seconds from `job.started` to the event with the last step."""
    with OpenAI(base_url=stack.base_url, api_key=stack.api_key) as client:
        rows = training_rows(make_sets(0))
        file = client.files.create(file=("rows.jsonl", jsonl(rows)), purpose="fine-tune")
        job = client.fine_tuning.jobs.create(
            model="temper-demo-1m",
            training_file=file.id,
            hyperparameters={"n_epochs": epochs, "batch_size": BATCH},
            seed=1,
        )
        while job.status not in ("succeeded", "failed", "cancelled"):
            time.sleep(0.5)
            job = client.fine_tuning.jobs.retrieve(job.id)
        if job.status != "succeeded":
            raise RuntimeError(f"the job {job.status}: {job.error}")
    return asyncio.run(_measured(stack.settings, job.id))


async def _measured(settings: Settings, job: str) -> tuple[Plan, float]:
    events: list[Event] = []
    async with world(settings) as here:
        names = ("job.queued", "job.started", "job.progressed")
        async for record in records(str(settings.kafka_bootstrap), names):
            event = await here.belief(record)
            if event.subject == job:
                events.append(event)
    plan = Plan.model_validate(next(each for each in events if each.type == "job.queued").data.model_dump()["plan"])
    started = next(each for each in events if each.type == "job.started")
    last = max(
        each.at
        for each in events
        if isinstance(each.data, JobProgressed) and each.data.steps[-1].step == plan.total_steps
    )
    return plan, (last - started.at) / 1000


def by_hand(stack: Stack, plan: Plan, folder: Path) -> float:
    """Run the recipe on the plan; returns the seconds from its start to its last step."""
    folder.mkdir(parents=True)
    asyncio.run(_fetch(stack.settings, plan, folder))
    written = {
        "version": 1,
        "job": "by-hand",
        "model_dir": str(folder / "base"),
        "train": str(folder / "train.safetensors"),
        "output_dir": str(folder / "out"),
        "method": {**plan.tuning.model_dump(), "target_modules": "all-linear"},
        "n_epochs": plan.n_epochs,
        "batch_size": plan.batch_size,
        "learning_rate": plan.learning_rate,
        "warmup_steps": plan.warmup_steps,
        "seed": plan.seed,
        "checkpoint_every": plan.checkpoint_every,
    }
    (folder / "plan.json").write_text(json.dumps(written))
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    began = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, "-m", "functions.train_model.recipe", str(folder / "plan.json")],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    if child.stdout is None:
        raise RuntimeError("the recipe has no output")
    took = 0.0
    for line in child.stdout:
        said = json.loads(line)
        if said["type"] == "progressed" and said["step"] == plan.total_steps:
            took = time.monotonic() - began
    if child.wait() or not took:
        raise RuntimeError("the recipe did not reach its last step")
    return took


async def _fetch(settings: Settings, plan: Plan, folder: Path) -> None:
    blobs = blob_store(settings)
    await blobs.fetch(plan.train, folder / "train.safetensors")
    base = Manifest.model_validate_json(await blobs.get(plan.base.key))
    for file in base.files:
        ref = BlobRef(key=file.key, sha256=file.sha256, bytes=file.bytes)
        (folder / "base").mkdir(exist_ok=True)
        await blobs.fetch(ref, folder / "base" / file.path)


def run(quick: bool = False) -> dict[str, Any]:
    """Both arms in turn on one stack; the gate is on the unfavourable bound."""
    ratios, seconds = [], []
    alone = {"TEMPER_BENCHMARKS": "none"}  # what follows a job would run beside the arm by hand
    with (
        tempfile.TemporaryDirectory(prefix="temper-bench-") as folder,
        running_stack(Path(folder) / "home", env=alone) as stack,
    ):
        by_platform(stack, 1)  # warm caches of both arms
        for number in range(QUICK_ROUNDS if quick else ROUNDS):
            plan, platform_seconds = by_platform(stack, QUICK_EPOCHS if quick else EPOCHS)
            hand_seconds = by_hand(stack, plan, Path(folder) / f"hand-{number}")
            ratios.append(platform_seconds / hand_seconds)
            seconds.append((round(platform_seconds, 2), round(hand_seconds, 2)))
    bounds = statistics.quantiles(ratios, n=10, method="inclusive")
    return {
        "ratio": {"median": statistics.median(ratios), "p10": bounds[0], "p90": bounds[-1]},
        "seconds": seconds,
        "gate": GATE,
        "passed": bounds[-1] <= GATE and min(map(min, seconds)) >= LONG_ENOUGH,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("torch", "trl", "peft")}},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    result = run(parser.parse_args().quick)
    print(json.dumps(result, indent=2))
    sys.exit(0 if result["passed"] else 1)
