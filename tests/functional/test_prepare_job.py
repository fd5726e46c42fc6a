"""A job is prepared as in operation: joins that wait, a child that makes tokens, a plan that a retry repeats."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors.numpy import load_file

from contracts.blobs import BlobRef
from contracts.controls import Control
from contracts.envelope import Event, derived_id, make
from contracts.events.files import FileDeleted, FileRejected, FileUploaded, FileValidated
from contracts.events.jobs import Hyperparameters, JobCreated, JobDelayed, JobFailed, JobQueued
from contracts.events.models import ModelRegistered
from contracts.manifest import ManifestRef
from contracts.wire.openai import derived_seed
from functions._shared.settings import WaitSettings
from functions.generate_text.app import create_app
from functions.prepare_job import work as preparation
from functions.prepare_job.handler import PreparationPorts, on_prep, retake
from functions.register_model.work import register
from functions.validate_file.core import check
from infra.adapters.http.serving import MANIFEST_HEADER, HttpProve, Serving
from infra.adapters.memory import MemoryBlobs, MemoryControls, MemoryDocuments, MemoryEmit
from infra.runtime.leases import publish_recorded
from tests.children import ForkedChild
from tests.leases import held
from tests.unit.prepare_job import tiny

JOB, FILE, VALID = "ftjob-" + "1" * 32, "file-" + "2" * 32, "file-" + "3" * 32


class World:
    """Joins folded by the real read models, and what was said of one job."""

    def __init__(self) -> None:
        self.controls = MemoryControls()
        self.emit = MemoryEmit()
        self.rung: list[str] = []
        self.now = 0
        documents = MemoryDocuments()
        publish = partial(publish_recorded, controls=self.controls, emit=self.emit, documents=documents)
        self.deps = PreparationPorts(
            documents=documents,
            controls=self.controls,
            emit=self.emit,
            publish=publish,
            wake=lambda stage: self.rung.append(stage),
            now=lambda: self.now,
            settings=WaitSettings(),
        )

    @property
    def said(self) -> list[Event]:
        return self.emit.events

    @property
    def control(self) -> Control | None:
        return self.controls.controls.get(JOB)

    async def see(self, *events: Event) -> None:
        for event in events:
            await on_prep(event, self.deps)


REF = BlobRef(key=f"acme/{FILE}/rows.jsonl", sha256="0" * 64, bytes=1)
BASE = ManifestRef(key="public/tiny/manifest", sha256="1" * 64)


def event(data: Any, subject: str, tenant: str = "acme") -> Event:
    made = make(data, subject=subject, tenant=tenant, id=derived_id(subject, type(data).__name__))
    return replace(made, at=1000)


UPLOADED = event(FileUploaded(blob=REF, filename="f", purpose="fine-tune"), FILE)
VALIDATED = event(FileValidated(format="jsonl", shape="chat", rows=20, blob=REF), FILE)
CREATED = event(JobCreated(model="tiny", training_file=FILE), JOB)
REGISTERED = event(
    ModelRegistered(kind="base", manifest=BASE, template_sha256="2" * 64, context=64, owned_by="x"), "tiny", "public"
)
ALL = (UPLOADED, VALIDATED, CREATED, REGISTERED)


@pytest.mark.parametrize("last", range(4))
async def test_whichever_event_completes_the_join_makes_the_job_ready(last: int) -> None:
    world = World()
    await world.see(*(each for each in ALL if each is not ALL[last]))
    assert "prepare" not in world.rung
    await world.see(ALL[last])
    assert world.control is not None
    assert world.control.ready
    assert world.rung == ["prepare"]
    assert world.control.inputs["training"]["rows"] == 20
    assert world.control.inputs["base"]["context"] == 64


async def test_a_wait_for_something_unknown_is_said_once_and_ends_after_its_time() -> None:
    world = World()
    await world.see(REGISTERED, CREATED)
    await retake({"id": JOB}, world.deps)
    assert [each.data.code for each in world.said if isinstance(each.data, JobDelayed)] == ["waiting_for_file"]
    world.now = 301_000
    await retake({"id": JOB}, world.deps)
    await retake({"id": JOB}, world.deps)
    assert isinstance(world.said[-1].data, JobFailed)
    assert (world.said[-1].data.code, world.said[-1].id) == ("file_not_found", derived_id(JOB, "end"))
    assert len(world.said) == 2


async def test_a_wait_is_said_by_a_reconciler_that_sees_the_job_before_its_event_is_delivered() -> None:
    world = World()
    await world.see(REGISTERED)
    await world.deps.documents.apply(CREATED, "prep_jobs")
    await retake({"id": JOB}, world.deps)
    await retake({"id": JOB}, world.deps)
    assert [each.data.code for each in world.said if isinstance(each.data, JobDelayed)] == ["waiting_for_file"]
    world.now = 301_000
    await world.see(CREATED)
    assert isinstance(world.said[-1].data, JobFailed)


async def test_a_file_that_is_being_validated_is_waited_for_in_silence() -> None:
    world = World()
    await world.see(REGISTERED, UPLOADED, CREATED)
    world.now = 10**9
    await retake({"id": JOB}, world.deps)
    assert world.said == []


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (FileRejected(code="missing_role", message="Invalid file format. Example 1 …"), "invalid_training_file"),
        (FileDeleted(), "file_deleted"),
        (FileValidated(format="jsonl", shape="chat", rows=7, blob=REF), "invalid_n_examples"),
    ],
)
async def test_a_file_that_turns_out_unusable_ends_the_waiting_job(bad: Any, code: str) -> None:
    world = World()
    await world.see(UPLOADED, CREATED, event(bad, FILE))
    assert isinstance(world.said[-1].data, JobFailed)
    assert world.said[-1].data.code == code


async def test_a_job_that_is_further_on_is_left_alone() -> None:
    for further in ({"stage": "train"}, {"ended": True}, {"ready": True}):
        world = World()
        await world.see(UPLOADED, VALIDATED, CREATED)
        world.said.clear()
        assert world.control is not None
        world.controls.controls[JOB] = replace(world.control, **{"ready": True, **further})
        await world.see(event(FileDeleted(), FILE))
        assert world.said == []


# Work


ROWS = [
    {"messages": [{"role": "user", "content": f"q{n}" * n}, {"role": "assistant", "content": f"a{n}"}], "line": n}
    for n in range(1, 13)
]


async def inputs_of(
    blobs: MemoryBlobs,
    folder: Path,
    rows: Sequence[Mapping[str, Any]] = ROWS,
    *,
    template: str = tiny.PLAIN,
    pad_token: str = tiny.PAD,
    **job: Any,
) -> Any:
    """Store a tiny base and rows; return the inputs of a job on them."""
    base_folder = tiny.save_model(folder / "base", template, pad_token=pad_token)
    registered, _ = await register(blobs, ForkedChild(), "tiny", base_folder)
    blob = await blobs.put(REF.key, "".join(json.dumps(row) + "\n" for row in rows).encode())
    file = {"id": FILE, "blob": blob.model_dump(mode="json"), "rows": len(rows), "has_tools": False}
    created = JobCreated(model="tiny", training_file=FILE, **job).model_dump(mode="json")
    base = {"name": "tiny", **registered.model_dump(mode="json")}
    return {"created": created, "training": file, "validation": None, "base": base}


async def prepare(inputs: Any, blobs: MemoryBlobs, folder: Path, controls: MemoryControls | None = None) -> Event:
    events = await preparation.work(
        held(JOB, "acme", "prepare", inputs, controls),
        blobs,
        ForkedChild(threads=1),
        folder / "scratch",
        folder / "cache",
        threads=1,
    )
    assert len(events) == 1
    return events[0]


@pytest.mark.slow
async def test_auto_epochs_count_the_rows_that_an_epoch_takes_and_not_their_variants(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    rows = [{**ROWS[number % 12], "variant_of": str(number // 2)} for number in range(40)]
    queued = await prepare(await inputs_of(blobs, tmp_path, rows), blobs, tmp_path)
    assert isinstance(queued.data, JobQueued)
    plan = queued.data.plan
    assert (plan.rows, plan.rows_per_epoch) == (40, 20)
    assert (plan.n_epochs, plan.total_steps) == (5, 25)  # 40 rows of 40 would be shown 3 times
    assert plan.reasons["n_epochs"] == "20 rows are few: at least 100 are shown"
    assert plan.seed == derived_seed(JOB)


@pytest.mark.slow
async def test_a_job_is_planned_and_a_retry_says_the_same_bytes(tmp_path: Path) -> None:
    blobs, controls = MemoryBlobs(), MemoryControls()
    inputs = await inputs_of(blobs, tmp_path, hyperparameters=Hyperparameters(n_epochs=5, batch_size=4))
    inputs["validation"] = {**inputs["training"], "id": VALID}
    first = await prepare(inputs, blobs, tmp_path, controls)
    assert isinstance(first.data, JobQueued)
    assert first.id == derived_id(JOB, "job.queued")
    plan = first.data.plan
    assert (plan.rows, plan.valid_rows, plan.total_steps, plan.n_epochs, plan.batch_size) == (12, 12, 15, 5, 4)
    assert plan.seconds > 0
    assert plan.memory_bytes > 0
    assert set(plan.reasons) >= {"learning_rate_multiplier", "learning_rate", "seconds"}
    assert sum(plan.histogram.counts) == 12
    (tmp_path / "tokens").write_bytes(await blobs.get(plan.train.key))
    tokens = load_file(tmp_path / "tokens")
    assert {name: str(array.dtype) for name, array in tokens.items()} == {
        "input_ids": "int32",
        "labels_mask": "uint8",
        "offsets": "int64",
        "groups": "int32",
    }
    assert tokens["offsets"].tolist()[-1] == plan.tokens == len(tokens["input_ids"])
    assert int(tokens["labels_mask"].sum()) == plan.label_tokens
    assert int(np.diff(tokens["offsets"]).max()) == plan.longest_row
    probe = json.loads(await blobs.get(plan.probe.key))
    assert probe["messages"] == ROWS[0]["messages"][:1]  # type: ignore[index]
    assert probe["prompt_ids"] == tokens["input_ids"][: len(probe["prompt_ids"])].tolist()
    assert await prepare(inputs, blobs, tmp_path, controls) == first
    assert list((tmp_path / "scratch").iterdir()) == []
    assert [path.name for path in (tmp_path / "cache" / "models").iterdir()] == [plan.base.sha256]


CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "weigh", "arguments": '{"what": "kettle", "b": {"z": 1, "a": 2}}'},
}
TOOL = {
    "type": "function",
    "function": {"name": "weigh", "parameters": {"type": "object", "properties": {"what": {}, "b": {}}}},
}


def with_a_call(number: int) -> dict[str, Any]:
    """Return a row whose first trained turn follows a call and its answer; no key stands where sorting would put it."""
    messages = [
        {"role": "user", "content": f"How heavy is kettle {number}?"},
        {"role": "assistant", "weight": 0, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "1 kg"},
        {"role": "assistant", "content": "It weighs 1 kg."},
    ]
    row = check({"messages": messages, "tools": [TOOL]}, number, number)
    assert row.errors == []
    checked: dict[str, Any] = json.loads(row.encoded)
    return checked


@pytest.mark.slow
async def test_a_row_with_tools_and_a_call_before_its_first_trained_turn_is_proved(tmp_path: Path) -> None:
    blobs, rows = MemoryBlobs(), [with_a_call(number) for number in range(1, 13)]
    inputs = await inputs_of(blobs, tmp_path, rows, template=tiny.TOOLS, pad_token=tiny.END)
    queued = await prepare(inputs, blobs, tmp_path)
    assert isinstance(queued.data, JobQueued), queued.data
    plan = queued.data.plan
    probe = json.loads(await blobs.get(plan.probe.key))
    (tmp_path / "tokens").write_bytes(await blobs.get(plan.train.key))
    assert probe["prompt_ids"] == load_file(tmp_path / "tokens")["input_ids"][: len(probe["prompt_ids"])].tolist()
    app = create_app(blobs, tmp_path / "serving", "cpu", threads=1)
    serving = Serving("http://serving")
    await serving.close()
    serving.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://serving")
    try:
        proof = await HttpProve(serving)(plan.base, probe["messages"], probe["tools"], probe["prompt_ids"])
        assert list(proof.prompt_ids) == probe["prompt_ids"]
        asked = {"model": "m", "messages": rows[0]["messages"][:3], "tools": rows[0]["tools"], "max_tokens": 1}
        header = {MANIFEST_HEADER: f"{plan.base.key}#{plan.base.sha256}"}
        answer = await serving.client.post("/v1/chat/completions", json=asked, headers=header)
        assert answer.json()["usage"]["prompt_tokens"] == len(probe["prompt_ids"])
    finally:
        await serving.close()
        await asyncio.to_thread(app.state.engine.close)


async def test_too_few_rows_within_the_context_end_the_job(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    long = {"messages": [{"role": "user", "content": "x" * 600}, {"role": "assistant", "content": "a"}], "line": 13}
    inputs = await inputs_of(blobs, tmp_path, [*ROWS[:9], long], overlong="drop")
    ended = await prepare(inputs, blobs, tmp_path)
    assert isinstance(ended.data, JobFailed)
    assert (ended.data.code, ended.data.param, ended.id) == (
        "invalid_n_examples",
        "training_file",
        derived_id(JOB, "end"),
    )
    assert "has 9 example(s) within the context of 512 tokens" in ended.data.message


async def test_rows_longer_than_the_jobs_context_length_follow_overlong(tmp_path: Path) -> None:
    """Source 002: `hyperparameters.context_length`."""
    blobs = MemoryBlobs()
    long = {"messages": [{"role": "user", "content": "x" * 300}, {"role": "assistant", "content": "a"}], "line": 13}
    plans = {}
    for overlong in ("drop", "truncate", "fail"):
        asked = {"overlong": overlong, "hyperparameters": Hyperparameters(context_length=200)}
        said = await prepare(await inputs_of(blobs, tmp_path, [*ROWS, long], **asked), blobs, tmp_path)
        plans[overlong] = said.data
    for overlong, dropped, truncated in (("drop", 1, 0), ("truncate", 0, 1)):
        queued = plans[overlong]
        assert isinstance(queued, JobQueued)
        plan = queued.plan
        assert (plan.context_length, plan.context) == (200, 512)
        assert (plan.dropped_rows, plan.truncated_rows) == (dropped, truncated)
        assert plan.longest_row <= 200
    failed = plans["fail"]
    assert isinstance(failed, JobFailed)
    assert "but the job's `context_length` is 200" in failed.message


async def test_a_context_length_beyond_the_bases_ends_a_job_from_outside(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    inputs = await inputs_of(blobs, tmp_path, hyperparameters=Hyperparameters(context_length=513))
    ended = await prepare(inputs, blobs, tmp_path)
    assert isinstance(ended.data, JobFailed)
    assert (ended.data.code, ended.data.param) == ("invalid_hyperparameters", "hyperparameters.context_length")
    assert "reads 512 tokens" in ended.data.message


async def test_bytes_that_are_gone_or_wrong_end_the_job_with_a_reason(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    inputs = await inputs_of(blobs, tmp_path)
    await blobs.delete(f"acme/{FILE}/")
    gone = await prepare(inputs, blobs, tmp_path)
    assert isinstance(gone.data, JobFailed)
    assert gone.data.code == "file_deleted"
    inputs = await inputs_of(blobs, tmp_path)
    await blobs.put(inputs["base"]["manifest"]["key"], b"{}")
    wrong = await prepare(inputs, blobs, tmp_path)
    assert isinstance(wrong.data, JobFailed)
    assert (wrong.data.code, wrong.data.param) == ("model_unusable", "model")
