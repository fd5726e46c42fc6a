"""What the end-to-end tests do with a running stack: jobs through the official client, the log, the stores."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob
from pymongo import MongoClient

from contracts.envelope import Event, PoisonError
from contracts.manifest import Manifest, ManifestRef
from contracts.topics import ENDINGS
from infra.runtime.folding import ALL
from infra.runtime.replay import Report, records, verify
from infra.runtime.world import World, world
from infra.settings import Settings
from tests.stack import Stack

BASE = "temper-demo-1m"
PATIENCE = 280.0
"""Seconds for whatever has no bound of its own; machines that run tests are slow at times."""
PROMPT = 10.0
"""Seconds within which a change must show on a machine that is not overloaded."""

ROWS, EPOCHS, BATCH = 24, 16, 4
"""Of the jobs that are hit: long enough to be hit between a checkpoint and the end."""
TOTAL_STEPS = ROWS // BATCH * EPOCHS

UNMEASURED: dict[str, Any] = {"extra_body": {"benchmarks": "none"}}
"""Of a job on a stack that benchmarks every job, where nobody looks at that."""

SELDOM = 0.25
"""Seconds between two looks at what takes long."""
HTTP = httpx.Client(timeout=30, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))
"""For single requests; it keeps no connection to a server that a test may end."""

T = TypeVar("T")


@dataclass(frozen=True)
class Unbroken:
    """A job that nothing happened to."""

    file: str
    job: str
    sha256: str
    """Of its final tensors."""


def until(condition: Callable[[], T | None], what: str, within: float = PATIENCE, every: float | None = None) -> T:
    """Return the first true answer of `condition`; fails, saying `what` did not come, after `within` seconds.

    It is asked `every` so many seconds; left out, the less often the longer it takes: a look costs both sides.
    """
    began = time.monotonic()
    while not (found := condition()):
        waited = time.monotonic() - began
        assert waited < within, f"{what} did not come within {within:.0f} s"
        time.sleep(min(SELDOM, max(0.05, waited / 40)) if every is None else every)
    return found


def overload() -> float:
    """How many times as much work this machine has at the moment as it has processors for; 1 at least."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def prompt() -> float:
    """`PROMPT`, longer by as much as other work overloads this machine at the moment."""
    return PROMPT * overload()


def rows(count: int, words: int = 12, first: int = 0) -> bytes:
    """JSON lines of chats, a different one each."""
    said = (
        {
            "messages": [
                {"role": "user", "content": f"What is code {number}?"},
                {"role": "assistant", "content": " ".join(f"red {number + place}" for place in range(words))},
            ]
        }
        for number in range(first, first + count)
    )
    return "\n".join(json.dumps(row) for row in said).encode()


@dataclass(frozen=True)
class User:
    """Somebody with an API key and the official client."""

    stack: Stack
    client: OpenAI
    """Every answer is validated against the client's own types."""
    lenient: OpenAI
    """For the one status that the client's types do not know: `paused`."""

    def get(self, path: str, **options: Any) -> httpx.Response:
        """GET a path below the base URL, once."""
        headers = {"authorization": f"Bearer {self.client.api_key}"}
        return HTTP.get(f"{self.stack.base_url}{path}", headers=headers, **options)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """POST a JSON object to a path below the base URL, once; returns the answer."""
        headers = {"authorization": f"Bearer {self.client.api_key}"}
        answer = HTTP.post(f"{self.stack.base_url}{path}", json=body, headers=headers)
        assert answer.is_success, answer.text
        return answer.json()

    def upload(self, content: bytes, name: str = "rows.jsonl") -> str:
        """Upload a file of rows; returns its id."""
        return self.client.files.create(file=(name, content), purpose="fine-tune").id

    def job(self, file: str, n_epochs: int = 1, batch_size: int = 4, seed: int = 1, **more: Any) -> str:
        """Create a job; returns its id."""
        hyperparameters = {"n_epochs": n_epochs, "batch_size": batch_size}
        method: Any = {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}}
        asked = {"model": BASE, **more}
        return self.client.fine_tuning.jobs.create(training_file=file, seed=seed, method=method, **asked).id

    def retrieve(self, job: str) -> FineTuningJob:
        """The job now."""
        return self.lenient.fine_tuning.jobs.retrieve(job)

    def wait(self, job: str, *wanted: str, within: float = PATIENCE) -> FineTuningJob:
        """Return the job once its status is one of `wanted`; another ending fails the test at once."""

        def reached() -> FineTuningJob | None:
            found = self.retrieve(job)
            if found.status in wanted:
                return found
            assert found.status not in ("succeeded", "failed", "cancelled"), f"{job}: {found.status}, {found.error}"
            return None

        return until(reached, f"{job} {' or '.join(wanted)}", within)


@contextmanager
def database(stack: Stack) -> Iterator[Any]:
    """MongoDB's own client, as an operator uses it."""
    with MongoClient[dict[str, Any]](stack.settings.mongo_url, serverSelectionTimeoutMS=20_000) as client:
        yield client.get_database("temper")


def view(db: Any, model: str, id: str) -> dict[str, Any]:
    """A view as it is stored, empty while there is none; much quicker to ask for than by the API."""
    generation = db.meta.find_one({"_id": {"$regex": "^generation"}, "complete": True})
    found = db[f"{model}@{generation['id']}"].find_one({"_id": id}) if generation else None
    return (found and found["view"]) or {}


def checkpoints(stack: Stack, job: str) -> list[dict[str, Any]]:
    """The checkpoints that the next attempt could go on from; the job must not have ended."""
    return after_checkpoints(stack, job, 0)


def after_checkpoints(stack: Stack, job: str, count: int = 1) -> list[dict[str, Any]]:
    """Return the job's checkpoints as soon as there are `count`, and before its end."""
    with database(stack) as db:

        def enough() -> tuple[list[dict[str, Any]]] | None:
            found = db.controls.find_one({"_id": job}) or {"checkpoints": [], "ended": False}
            assert not found["ended"], f"{job} has ended already; it was to be hit on the way"
            kept = sorted(found["checkpoints"], key=lambda each: each["step"])  # epochs' ends stand behind the others
            return (kept,) if len(kept) >= count else None

        return until(enough, f"{count} checkpoints of {job}", every=0.02)[0]


def child_of(stack: Stack) -> psutil.Process | None:
    """The training process, if there is one."""
    try:
        children = psutil.Process(stack.process("trainer").pid or 0).children(recursive=True)
        return next((each for each in children if "functions.train_model.recipe" in " ".join(each.cmdline())), None)
    except psutil.NoSuchProcess:
        return None


def is_gone(process: psutil.Process) -> bool:
    """Whether a process has ended."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def restarted(stack: Stack, name: str, before: int) -> None:
    """Wait until a killed process of the stack runs again."""
    until(lambda: (found := stack.process(name)).state == "up" and found.restarts > before, f"{name} again")


def health(stack: Stack, name: str) -> dict[str, Any]:
    """What a process of the stack says of itself."""
    found: dict[str, Any] = HTTP.get(f"{stack.process(name).address}/healthz").json()
    return found


def in_world(stack: Stack, do: Callable[[World], Any]) -> Any:
    """Run a coroutine function with the stores of a stack."""

    async def run() -> Any:
        async with world(Settings(home=stack.home)) as here:
            return await do(here)

    return asyncio.run(run())


async def read_log(here: World, *topics: str) -> list[Event]:
    """Every event of the log that can be believed, in order of time."""
    found = []
    async for record in records(str(here.settings.kafka_bootstrap), topics or ALL):
        try:
            found.append(await here.belief(record))
        except PoisonError:
            continue
    return found


def log_of(stack: Stack, *topics: str) -> list[Event]:
    """The same, outside of a coroutine."""
    events: list[Event] = in_world(stack, lambda here: read_log(here, *topics))
    return events


def about(events: Iterable[Event], subject: str, *types: str) -> list[Event]:
    """Those of one subject (and of some types)."""
    return [event for event in events if event.subject == subject and (not types or event.type in types)]


def once(events: Iterable[Event]) -> list[Event]:
    """Each event once: one that is said again is the same one."""
    return list({event.id: event for event in events}.values())


def endings(events: Iterable[Event], job: str) -> list[str]:
    """The types of a job's endings; repetitions of one event count once."""
    return [each.type for each in once(about(events, job, *ENDINGS))]


def manifest(stack: Stack, ref: ManifestRef) -> Manifest:
    """A model's manifest, as it is stored."""
    content: bytes = in_world(stack, lambda here: here.blobs.get(ref.key))
    return Manifest.model_validate_json(content)


def answering(stack: Stack, ref: ManifestRef) -> list[str]:
    """The keys of all that a stored model needs to answer."""
    return [ref.key, *(file.key for file in manifest(stack, ref).files if file.role != "resume")]


def checkpoint_keys(stack: Stack, job: str) -> list[str]:
    """The keys of all blobs of a job's checkpoints."""
    keys: list[str] = in_world(stack, lambda here: here.blobs.list(f"local/{job}/ckpt/"))
    return keys


def tensors_sha256(stack: Stack, ref: ManifestRef) -> str:
    """SHA-256 of the adapter's tensors, read back from the store."""
    weights = next(file for file in manifest(stack, ref).files if file.role == "weights")
    content: bytes = in_world(stack, lambda here: here.blobs.get(weights.key))
    assert hashlib.sha256(content).hexdigest() == weights.sha256
    return weights.sha256


def final_tensors(stack: Stack, job: str) -> str:
    """SHA-256 of the tensors of the model that a job succeeded with."""
    ending: Any = about(log_of(stack, "job.succeeded"), job)[0].data
    return tensors_sha256(stack, ending.manifest)


def verified(stack: Stack) -> Report:
    """What `temper replay verify` finds."""
    report: Report = in_world(stack, lambda here: verify(str(stack.settings.kafka_bootstrap), here.db, here.belief))
    return report


def data_folder() -> Path | None:
    """Public data that lies beside the checkout on some machines."""
    folder = Path(__file__).parents[2].parent / "shared" / "data"
    return folder if folder.is_dir() else None
