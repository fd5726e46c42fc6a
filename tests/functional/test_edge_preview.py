"""Previews over the edge: what a model would be trained on of a row, made by the code that prepares jobs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.canonical import sha256
from contracts.documents.models import PUBLIC
from contracts.events.files import FileRejected, FileUploaded, FileValidated
from contracts.events.models import ModelRegistered
from contracts.manifest import Manifest, ManifestFile, ManifestRef
from contracts.ports import Reply
from functions.generate_text.app import create_app
from functions.prepare_job.preview import examples
from tests.functional.edge import CannedReply, World
from tests.unit.prepare_job import tiny

MODEL = "tiny"
CHAT = [
    {"role": "user", "content": "What opens gate 7?"},
    {"role": "assistant", "content": "The red key."},
    {"role": "user", "content": "And gate 8?"},
    {"role": "assistant", "content": "Nothing."},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
async def serving(world: World, folder: Path, tmp_path: Path) -> AsyncIterator[None]:
    async with previewing(world, folder, tmp_path):
        yield


@asynccontextmanager
async def previewing(world: World, folder: Path, scratch: Path) -> AsyncIterator[None]:
    """A model of which only the tokenizer is stored, and the real serving process in this one."""
    files = []
    for path in sorted(folder.iterdir()):
        if path.suffix != ".safetensors":
            blob = await world.blobs.put(f"public/tiny/{path.name}", path.read_bytes())
            role: Any = "config" if path.name == "config.json" else "tokenizer"
            files.append(
                ManifestFile(path=path.name, key=blob.key, sha256=blob.sha256, bytes=blob.bytes or 0, role=role)
            )
    manifest = Manifest(kind="base", files=tuple(files), template_sha256=sha256(tiny.PLAIN.encode()), context=512)
    ref = ManifestRef(key="public/tiny/manifest.json", sha256=manifest.digest())
    await world.blobs.put(ref.key, manifest.encoded())
    data = ModelRegistered(
        kind="base", manifest=ref, template_sha256=manifest.template_sha256, context=512, owned_by="temper"
    )
    await world.say(data, MODEL, PUBLIC)
    app = create_app(world.blobs, scratch, "cpu", examples=examples)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://serving") as inside:

        async def complete(path: str, body: bytes, manifest: ManifestRef, request_id: str, tenant: str) -> Reply:
            headers = {"x-temper-manifest": f"{manifest.key}#{manifest.sha256}"}
            said = await inside.post(path, content=body, headers=headers)

            async def chunks() -> AsyncIterator[bytes]:
                yield said.content

            return CannedReply(said.status_code, dict(said.headers), chunks())

        world.complete = complete
        yield
    app.state.engine.close()


async def rows(world: World, *chats: Any, id: str = "file-1", tenant: str = "local") -> str:
    """A file whose rows were found good, at every other line."""
    made = [json.dumps({"messages": chat, "line": 2 * place + 1}) + "\n" for place, chat in enumerate(chats)]
    blob = await world.blobs.put(f"{tenant}/{id}/rows.jsonl", "".join(made).encode())
    await world.say(FileUploaded(blob=blob, filename="a.jsonl", purpose="fine-tune"), id, tenant)
    await world.say(FileValidated(blob=blob, rows=len(chats), format="jsonl", shape="chat"), id, tenant)
    return id


async def previewed(api: httpx.AsyncClient, file: str, row: int) -> Any:
    response = await api.get(f"/v1/files/{file}/preview", params={"model": MODEL, "row": row})
    assert response.status_code == 200, response.text
    return response.json()


async def refused(api: httpx.AsyncClient, file: str, **query: Any) -> tuple[int, str | None, str | None, str]:
    response = await api.get(f"/v1/files/{file}/preview", params={"model": MODEL, **query})
    error = response.json()["error"]
    return response.status_code, error["code"], error["param"], error["message"]


@pytest.mark.usefixtures("serving")
async def test_a_preview_shows_what_is_trained_of_any_row_and_what_it_is_asked_with(
    world: World, api: httpx.AsyncClient
) -> None:
    file = await rows(world, CHAT[:2], CHAT)
    found = await previewed(api, file, 2)
    (example,) = found.pop("examples")
    assert found == {"object": "row.preview", "row": 2, "model": MODEL, "refused": None}
    text = example["text"]
    assert [text[begin:end] for begin, end in example["trained"]] == ["The red key.<|end|>", "Nothing.<|end|>"]
    assert text.startswith("<|user|>What opens gate 7?<|end|>\n<|assistant|>")
    assert example["tokens"] == len(tiny.tokenizer()(text)["input_ids"])
    assert len((await previewed(api, file, 1))["examples"][0]["trained"]) == 1


@pytest.mark.usefixtures("serving")
async def test_a_row_that_is_not_trained_on_says_why_in_its_preview(world: World, api: httpx.AsyncClient) -> None:
    odd = [{"role": "user", "content": "a <|end|> b"}, CHAT[1]]
    long = [{"role": "user", "content": "word " * 200}, CHAT[1]]
    file = await rows(world, odd, long)
    found = await previewed(api, file, 1)
    assert found["refused"]["code"] == "special_token"
    assert "'<|end|>'" in found["refused"]["message"]
    assert found["examples"] == []
    assert (await previewed(api, file, 2))["refused"]["code"] == "row_too_long"


@pytest.mark.usefixtures("serving")
async def test_a_row_or_model_that_is_not_there_is_refused_by_name(world: World, api: httpx.AsyncClient) -> None:
    file = await rows(world, CHAT, CHAT)
    status, code, param, message = await refused(api, file, row=3)
    assert (status, code, param) == (400, "row_not_found", "row")
    assert message == "The file file-1 has 2 rows, numbered from 1, so there is no row 3."
    assert (await refused(api, file, row=0))[2] == "row"
    assert (await refused(api, file, row="x"))[2] == "row"
    assert (await refused(api, file, model=""))[1:3] == ("missing_required_parameter", "model")
    assert (await refused(api, file, model="nobody"))[:3] == (404, "model_not_found", "model")
    assert (await refused(api, "file-9"))[0] == 404


async def test_a_file_without_rows_has_no_preview(world: World, api: httpx.AsyncClient) -> None:
    blob = await world.blobs.put("local/file-1/content", b"x")
    for id, purpose in (("file-1", "fine-tune"), ("file-2", "fine-tune"), ("file-3", "embedding")):
        await world.say(FileUploaded(blob=blob, filename="a", purpose=purpose), id, "local")
    await world.say(FileRejected(code="empty_file", message="The file is empty."), "file-2", "local")
    assert (await refused(api, "file-1"))[:3] == (400, "file_not_ready", "id")
    assert (await refused(api, "file-2")) == (400, "empty_file", "id", "The file is empty.")
    assert (await refused(api, "file-3"))[:2] == (400, "invalid_file_purpose")


async def test_a_file_of_another_tenant_has_no_preview(world: World, api: httpx.AsyncClient) -> None:
    file = await rows(world, CHAT)
    async with world.client(await world.key("umbrella", 2)) as other:
        assert (await refused(other, file))[0] == 404


async def test_a_row_that_is_too_long_to_be_shown_is_not_sent_to_serving(world: World, api: httpx.AsyncClient) -> None:
    file = await rows(world, [{"role": "user", "content": "x" * 2**20}, CHAT[1]])
    await world.base(MODEL)
    assert (await refused(api, file))[:3] == (400, "request_too_large", "row")
