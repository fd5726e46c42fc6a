"""An edge with a thing of every kind behind it, for those who hold all answers against what is said of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from contracts.events.benchmarks import BenchmarkCompleted, BenchmarkProgressed, BenchmarkStarted, TaskScore
from contracts.events.corpus import DocumentRejected
from contracts.events.jobs import JobProgressed, JobQueued, JobStarted, JobSucceeded, RunTracked, StepMetrics
from contracts.events.models import ModelRegistered
from contracts.events.notifications import NotificationDelivered, NotificationFailed, NotificationRequested
from contracts.manifest import ManifestRef
from tests.functional.dataset import BROKEN, Assembled, whole_way
from tests.functional.edge import BASE, CannedReply, World, plan
from tests.functional.test_assemble_dataset import ARCHIVE
from tests.functional.test_edge_clients import answers
from tests.functional.test_edge_files import upload
from tests.functional.test_edge_preview import CHAT, previewing, rows
from tests.functional.test_edge_preview import MODEL as TINY
from tests.functional.test_evals import EXACT
from tests.functional.test_model_files import stored
from tests.unit.benchmark_model.synthetic import synthetic

TENANT, TUNED = "acme", f"ft:{BASE}:acme::xyz"
Ids = dict[str, str]


@asynccontextmanager
async def furnished(world: World, assembled: Assembled, folder: Path, scratch: Path) -> AsyncIterator[tuple[str, Ids]]:
    """Yield a key, and what there is by its kind, in a world in which serving answers; `folder` is a tiny model's."""
    ids = {"dataset": ARCHIVE, "base": BASE, "tuned": TUNED, "tiny": TINY, "document": BROKEN, "row": "train-3"}
    key = await world.key(TENANT, 3)
    async with previewing(world, folder, scratch), world.client(key) as api:
        ids["chats"] = await rows(world, CHAT, id="file-chats", tenant=TENANT)
        shown = world.complete

        async def complete(path: str, body: bytes, *more: Any) -> CannedReply:
            found: CannedReply = await (shown if "/preview" in path else answers)(path, body, *more)
            return found

        world.complete = complete
        await whole_way(world, assembled)
        await world.say(DocumentRejected(archive=ARCHIVE, path="b.pdf", code="encrypted", message="m"), BROKEN, TENANT)
        ids["waiting"] = (await upload(api)).json()["id"]
        model = await _models(world)
        ids["job"] = await _job(world, api, model)
        ids["ended"] = await _job(world, api, model)
        ids["queued"] = (await api.post("/v1/fine_tuning/jobs", json={"model": BASE, "training_file": ARCHIVE})).json()[
            "id"
        ]
        await _registered(world, ids["job"], model)
        ids["benchmark"] = await _benchmark(world, api)
        hook = {"name": "a", "url": "https://example.com/", "event_types": ["fine_tuning.job.failed"]}
        ids["endpoint"] = (await api.post("/v1/webhook_endpoints", json=hook)).json()["id"]
        rows_of = {"data_source_config": {"type": "custom", "item_schema": {}}, "testing_criteria": [EXACT]}
        ids["eval"] = (await api.post("/v1/evals", json=rows_of)).json()["id"]
        source = {"type": "jsonl", "source": {"type": "file_content", "content": [{"item": {}}]}}
        asked = {"data_source": source}
        ids["run"] = (await api.post(f"/v1/evals/{ids['eval']}/runs", json=asked)).json()["id"]
        ids["notification"] = await _notifications(world, ids)
        yield key, ids


async def _models(world: World) -> dict[str, ManifestRef]:
    roles = {"model.safetensors": "weights", "config.json": "config", "tokenizer.json": "tokenizer"}
    base = await stored(world, "public/base", "base", roles, None)
    said = ModelRegistered(kind="base", manifest=base, template_sha256="1" * 64, context=512, owned_by="temper")
    await world.say(said, BASE, "public")
    own = {"adapter_model.safetensors": "weights", "adapter_config.json": "config"}
    return {"base": base, "adapter": await stored(world, f"{TENANT}/ftjob-1/ckpt/1/30", "adapter", own, base)}


async def _registered(world: World, job: str, model: dict[str, ManifestRef]) -> None:
    data = ModelRegistered(
        kind="adapter", manifest=model["adapter"], base=model["base"], base_name=BASE, template_sha256="1" * 64,
        context=512, owned_by=TENANT, job=job, step=30,
    )  # fmt: skip
    await world.say(data, TUNED, TENANT)


async def _job(world: World, api: httpx.AsyncClient, model: dict[str, ManifestRef]) -> str:
    """A job that has succeeded."""
    asked = {"model": BASE, "training_file": ARCHIVE, "chat_template_kwargs": {"enable_thinking": False}}
    id: str = (await api.post("/v1/fine_tuning/jobs", json=asked)).json()["id"]
    steps = tuple(
        StepMetrics(step=step, train_loss=1 / step, train_mean_token_accuracy=0.5, tokens=9, elapsed=step, valid_loss=1)
        for step in (1, 2, 3)
    )
    at = {"epoch": 1, "attempt": 1}
    await world.say(JobQueued(plan=plan(3)), id, TENANT)
    await world.say(JobStarted(total_steps=3, holder="me"), id, TENANT, **at)
    await world.say(JobProgressed(total_steps=3, steps=steps), id, TENANT, **at)
    await world.say(RunTracked(kind="training", tracker="mlflow", run_id="r", url="http://m/"), id, TENANT)
    done = JobSucceeded(
        fine_tuned_model=TUNED, manifest=model["adapter"], result_files=(), trained_tokens=9, step=3,
        prompt_sha256="3" * 64,
    )  # fmt: skip
    await world.say(done, id, TENANT, **at)
    return id


async def _benchmark(world: World, api: httpx.AsyncClient) -> str:
    """A benchmark that is completed."""
    id: str = (await api.post("/v1/benchmarks", json={"model": TUNED, "file": ARCHIVE})).json()["id"]
    result, items = synthetic()
    lines = "".join(each.model_dump_json() + "\n" for each in items)
    texts = {"result": result.model_dump_json(), "items": lines, "report": "<html>scores</html>"}
    blobs = {name: await world.blobs.put(f"{TENANT}/{id}/{name}", text.encode()) for name, text in texts.items()}
    score = TaskScore(name="documents", metric="f1", scorer="s", n=9, base=0.1, tuned=0.5, difference=(0.4, 0.2, 0.6))
    await world.say(BenchmarkStarted(total=40), id, TENANT)
    await world.say(BenchmarkProgressed(done=40, total=40), id, TENANT)
    await world.say(BenchmarkCompleted(**blobs, verdict="better", sentence="B.", scores=(score,)), id, TENANT)
    return id


async def _notifications(world: World, ids: Ids) -> str:
    """One that was delivered, one that never will be, and one that waits."""
    told: Any = {"what": "fine_tuning.job.succeeded", "job": ids["job"], "event_id": "e1", "at": 1}
    for id, ending in (
        ("ntf-1", NotificationDelivered(answer="200")),
        ("ntf-2", NotificationFailed(code="c", message="m")),
    ):
        await world.say(NotificationRequested(**told, channel="webhook", to=ids["endpoint"]), id, TENANT)
        await world.say(ending, id, TENANT)
    await world.say(NotificationRequested(**told, channel="email", to="key-3"), "ntf-3", TENANT)
    return "ntf-1"
