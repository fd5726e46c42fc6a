"""The flows of LLMHub's two documents, line by line with their own calls; then what those paths refuse and limit."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from openai import OpenAI

from contracts.envelope import Event
from contracts.events.files import FileRejected
from functions.edge.routes import legacy
from functions.validate_file import work as validation
from tests.children import ForkedChild
from tests.functional.edge import ROWS, World
from tests.functional.test_edge_files import error, upload
from tests.leases import held

BASE = "Meta-Llama-3.1-8B-Instruct"
JOBS = "/v1/finetune-jobs"
SAMPLE = [
    {
        "messages": [
            {"role": "system", "content": "Marv is a factual chatbot that is also sarcastic."},
            {"role": "user", "content": "What's the capital of France?"},
            {"role": "assistant", "content": "Paris", "weight": 0},
            {"role": "user", "content": "Can you be more sarcastic?"},
            {"role": "assistant", "content": "Paris, as if everyone doesn't know that already.", "weight": 1},
        ]
    }
]
"""The data set that both documents show."""


class Validator:
    """Validates what is uploaded as the worker does, once it is let."""

    def __init__(self, world: World, scratch: Path) -> None:
        self.world, self.scratch = world, scratch
        self.let = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []
        world.emit.subscribe(self.hear)

    async def hear(self, event: Event) -> None:
        """Take up an upload."""
        if event.type == "file.uploaded":
            self.tasks.append(asyncio.create_task(self.validate(event)))

    async def validate(self, event: Event) -> None:
        """Say the verdict on one file."""
        await self.let.wait()
        inputs = {"event_id": event.id, "uploaded": event.data.model_dump(mode="json")}
        lease = held(event.subject, event.tenant, "validate", inputs)
        for verdict in await validation.work(lease, self.world.blobs, ForkedChild(), self.scratch):
            await self.world.documents.apply(await self.world.emit(verdict))


@pytest.fixture
async def world() -> World:
    world = World()
    await world.base(BASE)
    return world


@pytest.fixture
async def key(world: World) -> str:
    return await world.key("local")


@pytest.fixture
async def api(world: World, key: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(world.app), base_url="http://edge", headers={"api-key": key}
    ) as client:
        yield client


@pytest.fixture
async def validator(world: World, tmp_path: Path) -> AsyncIterator[Validator]:
    made = Validator(world, tmp_path)
    yield made
    made.let.set()
    await asyncio.gather(*made.tasks)


@pytest.fixture
async def address(world: World) -> AsyncIterator[str]:
    """Where the edge listens, for clients that block."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        server = uvicorn.Server(uvicorn.Config(world.app, log_level="warning", access_log=False, ws="none"))
        serving = asyncio.create_task(server._serve(sockets=[listening]))
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


# --- the two documents


class Flow:
    """The calls of the documents' Python, as they stand there."""

    def __init__(self, base_url: str, key: str, model: str = BASE) -> None:
        self.api_base, self.key, self.model = base_url, key, model
        self.client = OpenAI(api_key=key, base_url=base_url)

    def upload(self, path: Path) -> Any:
        """`client.files.create(file=open(…), purpose="fine-tune")`."""
        with path.open("rb") as opened:
            return self.client.files.create(file=opened, purpose="fine-tune")

    def create_job(self, file: str) -> Any:
        """Create fine-tuning job."""
        return self.client.fine_tuning.jobs.create(
            training_file=file, model=self.model, hyperparameters={"n_epochs": 2}
        )

    def list_jobs(self) -> dict[str, Any]:
        """List fine-tuning jobs, converted as in the documents."""
        response: Any = self.client.fine_tuning.jobs.list(limit=10)
        return {
            "object": response.object,
            "data": [
                {
                    "id": job.id,
                    "object": job.object,
                    "model": job.model,
                    "created_at": job.created_at,
                    "status": job.status,
                    "training_file": job.training_file,
                    "hyperparameters": {
                        "n_epochs": job.hyperparameters.n_epochs,
                        "batch_size": job.hyperparameters.batch_size,
                    },
                }
                for job in response.data
            ],
            "has_more": response.has_more,
        }

    def list_events(self, job: str) -> dict[str, Any]:
        """List fine-tuning events, converted as in the documents."""
        events: Any = self.client.fine_tuning.jobs.list_events(fine_tuning_job_id=job, limit=10)
        return {
            "object": events.object,
            "data": [
                {"created_at": event.created_at, "level": event.level, "message": event.message, "type": event.type}
                for event in events.data
            ],
            "has_more": events.has_more,
        }


async def train(flow: Flow, file: str) -> None:
    """Walk through the Fine-Tune API's half, which both documents share."""
    made = await asyncio.to_thread(flow.create_job, file)
    assert made.id.startswith("ftjob-")
    assert (made.object, made.model, made.training_file) == ("fine_tuning.job", BASE, file)
    assert (made.hyperparameters.n_epochs, made.fine_tuned_model, made.error) == (2, None, None)
    listed = await asyncio.to_thread(flow.list_jobs)
    assert (listed["object"], listed["has_more"]) == ("list", False)
    assert [each["id"] for each in listed["data"]] == [made.id]
    assert listed["data"][0]["hyperparameters"] == {"n_epochs": 2, "batch_size": "auto"}
    assert json.dumps(listed)
    events = await asyncio.to_thread(flow.list_events, made.id)
    assert events["data"][-1]["message"] == f"Created fine-tuning job: {made.id}"
    stopped = await asyncio.to_thread(flow.client.fine_tuning.jobs.cancel, made.id)
    assert stopped.status == "cancelled"
    # the same on the paths that the documents name
    with httpx.Client(base_url=flow.api_base, headers={"api-key": flow.key}) as http:
        shown = (await asyncio.to_thread(http.get, "/finetune-jobs")).json()
        lines = (await asyncio.to_thread(http.get, f"/finetune-jobs/{made.id}/events")).json()
    job = shown["data"][0]
    assert (shown["object"], job["id"], job["object"], job["status"]) == ("list", made.id, "fine-tune", "stopped")
    assert [line["type"] for line in lines["data"]] == ["submitted", "message", "stopped"]


async def test_the_document_of_version_2(address: str, key: str, validator: Validator, tmp_path: Path) -> None:
    api_base = f"{address}/v2"
    bearer = {"Authorization": f"Bearer {key}"}
    models = await asyncio.to_thread(lambda: httpx.get(f"{api_base}/models", headers=bearer))
    assert [model["id"] for model in models.json()["data"]] == [BASE]
    path = tmp_path / "your_dataset.jsonl"
    path.write_text(json.dumps(SAMPLE, indent=0))
    flow = Flow(api_base, key)
    with flow.client:
        file = await asyncio.to_thread(flow.upload, path)
        assert file.id.startswith("file-")
        assert (file.bytes, file.filename, file.object, file.purpose) == (
            path.stat().st_size,
            "your_dataset.jsonl",
            "file",
            "fine-tune",
        )
        assert file.validation == {
            "object": "validation",
            "is_checked": False,
            "is_valid": False,
            "message": "File is not yet validated.",
            "errors": {},
            "is_generated_dataset": False,
        }
        files_list = await asyncio.to_thread(lambda: flow.client.files.list(purpose="fine-tune"))
        assert [(each.id, each.bytes, each.created_at, each.filename) for each in files_list.data] == [
            (file.id, file.bytes, file.created_at, file.filename)
        ]

        def validate() -> httpx.Response:
            url = f"{api_base}/files/validate/{file.id}"
            headers = {"Content-Type": "application/json", "api-key": key}
            with httpx.Client() as httpx_client:
                return httpx_client.get(url, headers=headers)

        response = await asyncio.to_thread(validate)
        assert (response.status_code, response.json()) == (
            200,
            {
                "file_id": file.id,
                "object": "validation",
                "message": "Your validation request is in progress. Please use retrieve file api to get update about "
                "the validation result after sometime.",
            },
        )
        validator.let.set()
        checked: Any = await asyncio.to_thread(
            lambda: flow.client.files.wait_for_processing(file.id, poll_interval=0.05)
        )
        assert (checked.status, checked.validation["is_checked"], checked.validation["is_valid"]) == (
            "processed",
            True,
            True,
        )
        assert "complete" in (await asyncio.to_thread(validate)).json()["message"]
        await train(flow, file.id)
        gone = await asyncio.to_thread(flow.client.files.delete, file.id)
        assert (gone.id, gone.deleted, gone.object) == (file.id, True, "file")


async def test_the_document_of_version_1(address: str, key: str, validator: Validator, tmp_path: Path) -> None:
    validator.let.set()
    for headers in ({}, {"Authorization": f"Bearer {key}"}):
        root = await asyncio.to_thread(httpx.get, address, headers=headers)
        assert root.json()["T-Systems Uploading Server"] == "online"
        assert root.json()["T-Systems Fine-Tuning Server"] == "online"
    demo, dataset = tmp_path / "demo.txt", tmp_path / "dataset.jsonl"
    demo.write_text("Gate 7 opens with the brass key.\n" * 23)
    dataset.write_bytes(ROWS)
    flow = Flow(f"{address}/v1", key)
    with flow.client:
        text = await asyncio.to_thread(flow.upload, demo)
        assert (text.bytes, text.filename, text.object, text.purpose) == (759, "demo.txt", "file", "fine-tune")
        files_list: Any = await asyncio.to_thread(flow.client.files.list)
        assert [(each.id, each.checksum) for each in files_list.data] == [(text.id, text.checksum)]
        gone = await asyncio.to_thread(flow.client.files.delete, text.id)
        assert (gone.id, gone.deleted, gone.object) == (text.id, True, "file")
        file = await asyncio.to_thread(flow.upload, dataset)

        def val_dataset() -> httpx.Response:
            url = f"{address}/v1/val_dataset?file_id={file.id}"
            return httpx.post(url, headers={"accept": "application/json", "api-key": key}, content=b"")

        response = await asyncio.to_thread(val_dataset)
        assert response.json() == {"id": file.id, "errors": ["No errors found"], "object": "file"}
        await train(flow, file.id)


# --- validation


async def test_a_data_set_with_errors_gets_them_as_sentences(validator: Validator, api: httpx.AsyncClient) -> None:
    validator.let.set()
    bad = ROWS + b'{"messages": [{"role": "user", "content": "q"}]}\n{"messages": [{"content": "q"}]}\n'
    id = (await upload(api, bad)).json()["id"]
    told = (await api.post(f"/v2/val_dataset?file_id={id}")).json()
    assert (told["id"], told["object"]) == (id, "file")
    assert told["errors"][0].startswith("Example 11")
    assert any("'role' is missing" in sentence for sentence in told["errors"])
    shown = (await api.get(f"/v2/files/{id}")).json()["validation"]
    assert set(shown["errors"]) == {"11", "12"}


async def looked_at(world: World, times: int) -> None:
    """Return when a request has looked at a file so often."""
    count, enough, get = 0, asyncio.Event(), world.documents.get

    async def counted(model: str, id: str) -> dict[str, Any] | None:
        nonlocal count
        count += model == "files"
        if count >= times:
            enough.set()
        return await get(model, id)

    world.documents.get = counted  # type: ignore[method-assign]
    await enough.wait()


async def test_val_dataset_answers_when_the_verdict_comes(world: World, api: httpx.AsyncClient) -> None:
    id = (await upload(api)).json()["id"]
    waiting = asyncio.create_task(api.post(f"/v1/val_dataset?file_id={id}"))
    await asyncio.wait_for(looked_at(world, 3), 10)
    assert not waiting.done()
    await world.say(FileRejected(code="c", message="Why.", param="file"), id, "local")
    assert (await waiting).json()["errors"] == ["Why."]


async def test_val_dataset_waits_within_a_bound(api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(legacy, "PATIENCE", 0.01)
    id = (await upload(api)).json()["id"]
    response = await api.post(f"/v1/val_dataset?file_id={id}")
    assert error(response, 503)["code"] == "validation_in_progress"
    assert response.headers["retry-after"] == "5"


async def test_val_dataset_stops_waiting_for_a_file_that_goes(world: World, api: httpx.AsyncClient) -> None:
    id = (await upload(api)).json()["id"]
    waiting = asyncio.create_task(api.post(f"/v1/val_dataset?file_id={id}"))
    await asyncio.wait_for(looked_at(world, 2), 10)
    await api.delete(f"/v1/files/{id}")
    error(await waiting, 404)


async def test_val_dataset_stops_when_the_client_leaves(world: World, api: httpx.AsyncClient, key: str) -> None:
    id = (await upload(api)).json()["id"]
    messages: list[Any] = [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/val_dataset",
        "raw_path": b"/v1/val_dataset",
        "query_string": f"file_id={id}".encode(),
        "root_path": "",
        "headers": [(b"api-key", key.encode())],
    }
    await asyncio.wait_for(world.app(scope, receive, send), 10)
    assert b"client_disconnected" in sent[1]["body"]


@pytest.mark.parametrize("version", ["/v1", "/v2"])
async def test_what_cannot_be_validated_is_refused(world: World, api: httpx.AsyncClient, version: str) -> None:
    stored = (await upload(api, purpose="embedding")).json()["id"]
    theirs = await world.key("other", 1)
    async with world.client(theirs) as stranger:
        foreign = (await upload(stranger)).json()["id"]
    asked: Callable[[str], list[Any]] = lambda id: [  # noqa: E731
        api.get(f"{version}/files/validate/{id}"),
        api.post(f"{version}/val_dataset?file_id={id}"),
    ]
    for id in ("file-none", foreign):
        for call in asked(id):
            error(await call, 404)
    for call in asked(stored):
        assert error(await call)["code"] == "invalid_file_purpose"
    assert error(await api.post(f"{version}/val_dataset"))["param"] == "file_id"


@pytest.mark.parametrize("purpose", ["embedding", "ingestion"])
async def test_files_for_other_tools_are_stored_and_no_job_takes_them(
    validator: Validator, api: httpx.AsyncClient, purpose: str
) -> None:
    validator.let.set()
    content = b"name,colour\ngate,red\n"
    made = (await upload(api, content, "gates.csv", purpose)).json()
    await asyncio.gather(*validator.tasks)
    shown = (await api.get(f"/v1/files/{made['id']}")).json()
    assert (shown["purpose"], shown["status"], shown["status_details"]) == (purpose, "processed", None)
    assert (await api.get(f"/v1/files/{made['id']}/content")).content == content
    assert [each["id"] for each in (await api.get(f"/v1/files?purpose={purpose}")).json()["data"]] == [made["id"]]
    for documents in (b"PK\x03\x04" + bytes(200), b"%PDF-1.7\n"):  # nothing is made of them either
        assert (await upload(api, documents, "manual", purpose)).json()["status"] == "processed"
    found = error(await api.post(JOBS, json={"model": BASE, "training_file": made["id"]}))
    assert found["code"] == "invalid_file_purpose"
