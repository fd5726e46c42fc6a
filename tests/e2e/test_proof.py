"""P4: `succeeded` carries proof. What is wrong with a stored model by then fails the job with a code."""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from contracts.canonical import compact
from contracts.controls import Checkpoint
from contracts.envelope import Event
from contracts.manifest import Manifest, ManifestRef
from functions.train_model.work import METRICS, Device
from functions.train_model.work import work as train
from infra.adapters.http.serving import HttpProve, Serving
from infra.adapters.mongo.controls import MongoControls
from infra.adapters.mongo.documents import Builds, connect
from infra.children.child import ProcessChild
from infra.runtime.leases import HeldLease
from infra.runtime.world import World
from tests.e2e import support
from tests.e2e.support import Unbroken
from tests.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@dataclass(frozen=True)
class Trained:
    """A job whose last step is made and stored, and which is not proven yet."""

    subject: str
    inputs: dict[str, Any]
    step: int
    manifest: Manifest

    @property
    def prefix(self) -> str:
        """Where the checkpoint lies."""
        return f"local/{self.subject}/ckpt/1/{self.step}/"

    @property
    def weights(self) -> str:
        """Key of the weights."""
        return next(file.key for file in self.manifest.files if file.role == "weights")


Deed = Callable[[World, Trained], Awaitable[None]]


async def again(here: World, job: str) -> Trained:
    """The end of a job's training once more, as another job with files of its own."""
    events = support.about(await support.read_log(here), job)
    queued: Any = next(event.data for event in events if event.type == "job.queued")
    created: Any = next(event.data for event in events if event.type == "job.created")
    ended: Any = next(event.data for event in events if event.type == "job.succeeded")
    stored = Manifest.model_validate_json(await here.blobs.get(ended.manifest.key))
    inputs = {"plan": queued.plan.model_dump(mode="json"), "created": created.model_dump(mode="json")}
    made = Trained(f"ftjob-{uuid.uuid4().hex}", inputs, stored.step, stored)
    files = []
    steps = {each.step: each for event in events if event.type == "job.progressed" for each in said(event).steps}
    metrics = b"".join(compact(steps[step].model_dump(mode="json")) + b"\n" for step in sorted(steps))
    for file in stored.files:  # what only going on needs went when the job had ended: the metrics are told again
        if file.role != "resume" or file.path == METRICS:
            content = metrics if file.path == METRICS else await here.blobs.get(file.key)
            ref = await here.blobs.put(made.prefix + file.path, content)
            files.append(file.model_copy(update={"key": ref.key, "sha256": ref.sha256, "bytes": ref.bytes}))
    return replace(made, manifest=stored.model_copy(update={"files": tuple(files)}))


def said(event: Event) -> Any:
    """What an event says."""
    return event.data


async def conclude(here: World, stack: Stack, made: Trained, before_proof: Deed, scratch: Path) -> Sequence[Event]:
    """Do the trainer's work on it under a real lease, with something done just before serving is asked."""
    db = connect(str(stack.settings.mongo_url), f"proof_{uuid.uuid4().hex[:12]}")
    serving = Serving(str(stack.settings.inference_url))
    prove = HttpProve(serving)

    async def ask(manifest: ManifestRef, *question: Any) -> Any:
        await before_proof(here, made)
        return await prove(manifest, *question)

    try:
        await Builds(db).begin("g")
        await Builds(db).complete("g", {})
        controls = MongoControls(db)
        key = made.prefix + "manifest.json"
        await here.blobs.put(key, made.manifest.encoded())
        await controls.open(made.subject, "local", "train", made.inputs)
        first = await controls.claim("train", "the trainer that made the last step")
        assert first is not None
        ref = ManifestRef(key=key, sha256=made.manifest.digest())
        await controls.checkpoint(first, Checkpoint(step=made.step, manifest=ref, epoch_end=True, fence=first.fence))
        await controls.release(first)
        claim = await controls.claim("train", "the trainer that concludes")
        assert claim is not None
        lease = HeldLease(controls, claim)
        child, cache = ProcessChild(), stack.settings.cache
        return await train(lease, here.blobs, child, here.emit, here.documents, ask, scratch, cache, Device("cpu"))
    finally:
        await serving.close()
        await db.client.drop_database(db.name)
        await db.client.close()


async def nothing(here: World, made: Trained) -> None:
    """Leave it as it is."""


async def flip_a_bit(here: World, made: Trained) -> None:
    """Damage one weight."""
    content = bytearray(await here.blobs.get(made.weights))
    content[-1] ^= 1
    await here.blobs.put(made.weights, bytes(content))


async def lose_the_weights(here: World, made: Trained) -> None:
    """Delete them."""
    await here.blobs.delete(made.weights)


async def rewrite_the_manifest(here: World, made: Trained) -> None:
    """Store another manifest under the same key."""
    other = made.manifest.model_copy(update={"step": made.step + 1})
    await here.blobs.put(made.prefix + "manifest.json", other.encoded())


def run(stack: Stack, job: str, before_proof: Deed, scratch: Path, change: Any = None) -> Event:
    """The last event of a job that is trained, perhaps changed, and concluded."""

    async def do(here: World) -> Event:
        made = await again(here, job)
        if change is not None:
            made = await change(here, made)
        events = await conclude(here, stack, made, before_proof, scratch)
        return events[-1]

    found: Event = support.in_world(stack, do)
    return found


@pytest.mark.parametrize(
    ("before_proof", "code"),
    [
        (flip_a_bit, "weights_mismatch"),
        (lose_the_weights, "weights_mismatch"),
        (rewrite_the_manifest, "manifest_mismatch"),
    ],
)
def test_a_model_that_changed_in_the_store_fails_the_job(
    stack: Stack, unbroken: Unbroken, tmp_path: Path, before_proof: Deed, code: str
) -> None:
    ending = run(stack, unbroken.job, before_proof, tmp_path)
    check_failed(ending, code)


def check_failed(ending: Event, code: str) -> None:
    """The job failed with this code and a sentence."""
    data: Any = ending.data
    assert ending.type == "job.failed"
    assert data.code == code, data.message
    assert "was refused by the serving process" in data.message


def test_the_same_model_left_alone_is_proven(stack: Stack, unbroken: Unbroken, tmp_path: Path) -> None:
    ending: Any = run(stack, unbroken.job, nothing, tmp_path)
    assert ending.type == "job.succeeded"
    proven = next(event.data for event in support.log_of(stack, "job.succeeded") if event.subject == unbroken.job)
    assert ending.data.prompt_sha256 == proven.prompt_sha256  # type: ignore[attr-defined]


def test_another_template_fails_the_job(stack: Stack, unbroken: Unbroken, tmp_path: Path) -> None:
    async def another(_here: World, made: Trained) -> Trained:
        return replace(made, manifest=made.manifest.model_copy(update={"template_sha256": "0" * 64}))

    check_failed(run(stack, unbroken.job, nothing, tmp_path, another), "template_mismatch")


def test_other_token_ids_than_in_training_fail_the_job(stack: Stack, unbroken: Unbroken, tmp_path: Path) -> None:
    async def other_ids(here: World, made: Trained) -> Trained:
        probe = made.inputs["plan"]["probe"]
        asked = json.loads(await here.blobs.get(probe["key"]))
        asked["prompt_ids"][-1] += 1
        stored = await here.blobs.put(f"local/{made.subject}/probe.json", compact(asked))
        plan = {**made.inputs["plan"], "probe": stored.model_dump(mode="json")}
        return replace(made, inputs={**made.inputs, "plan": plan})

    check_failed(run(stack, unbroken.job, nothing, tmp_path, other_ids), "template_mismatch")


def test_weights_that_are_no_numbers_fail_the_job(stack: Stack, unbroken: Unbroken, tmp_path: Path) -> None:
    async def overflown(here: World, made: Trained) -> Trained:
        content = bytearray(await here.blobs.get(made.weights))
        content[-4:] = b"\x00\x00\xc0\x7f"  # the last 32-bit number becomes NaN
        stored = await here.blobs.put(made.weights, bytes(content))
        files = tuple(
            file.model_copy(update={"sha256": stored.sha256}) if file.key == made.weights else file
            for file in made.manifest.files
        )
        return replace(made, manifest=made.manifest.model_copy(update={"files": files}))

    check_failed(run(stack, unbroken.job, nothing, tmp_path, overflown), "not_finite")
