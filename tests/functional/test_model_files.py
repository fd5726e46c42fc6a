"""A tuned model can be taken away over the API: its files by name and hash, streamed, and nobody else's."""

from __future__ import annotations

import hashlib

import httpx
import pytest

from contracts.events.models import ModelRegistered
from contracts.manifest import Manifest, ManifestFile, ManifestRef
from tests.functional.edge import World

NAME = "ft:base:local::abc"


async def stored(world: World, prefix: str, kind: str, roles: dict[str, str], base: ManifestRef | None) -> ManifestRef:
    files = []
    for name, role in roles.items():
        blob = await world.blobs.put(f"{prefix}/{name}", f"{prefix} {name}".encode())
        files.append(ManifestFile(path=name, key=blob.key, sha256=blob.sha256, bytes=blob.bytes, role=role))  # type: ignore[arg-type]
    manifest = Manifest(kind=kind, base=base, files=tuple(files), template_sha256="1" * 64, context=512)  # type: ignore[arg-type]
    made = await world.blobs.put(f"{prefix}/manifest.json", manifest.encoded())
    return ManifestRef(key=made.key, sha256=made.sha256)


@pytest.fixture
async def model(world: World) -> str:
    """A tuned model."""
    roles = {"model.safetensors": "weights", "config.json": "config", "tokenizer.json": "tokenizer"}
    base = await stored(world, "public/base", "base", roles, None)
    own = {"adapter_model.safetensors": "weights", "adapter_config.json": "config", "resume.json": "resume"}
    ref = await stored(world, "local/ftjob-1/ckpt/1/30", "adapter", own, base)
    data = ModelRegistered(
        kind="adapter", manifest=ref, base=base, base_name="base", template_sha256="1" * 64, context=512,
        owned_by="local", job="ftjob-1", step=30,
    )  # fmt: skip
    await world.say(data, NAME, "local")
    return NAME


async def test_the_files_that_peft_reads_are_listed_and_are_what_their_hashes_say(
    model: str, api: httpx.AsyncClient
) -> None:
    listed = (await api.get(f"/v1/models/{model}/files")).json()["data"]
    names = ["README.md", "adapter_config.json", "adapter_model.safetensors", "tokenizer.json"]
    assert [file["name"] for file in listed] == names
    for file in listed:
        answer = await api.get(f"/v1/models/{model}/files/{file['name']}")
        assert answer.status_code == 200
        assert (len(answer.content), hashlib.sha256(answer.content).hexdigest()) == (file["bytes"], file["sha256"])
    assert "base_model: base" in (await api.get(f"/v1/models/{model}/files/README.md")).text


@pytest.mark.parametrize("name", ["resume.json", "model.safetensors", "nothing"])
async def test_a_file_that_is_not_in_the_folder_is_not_found(model: str, api: httpx.AsyncClient, name: str) -> None:
    assert (await api.get(f"/v1/models/{model}/files/{name}")).status_code == 404


async def test_another_tenants_and_a_deleted_models_files_are_not_found(
    world: World, model: str, api: httpx.AsyncClient
) -> None:
    async with world.client(await world.key("umbrella", 7)) as stranger:
        for path in ("", "/adapter_model.safetensors"):
            assert (await stranger.get(f"/v1/models/{model}/files{path}")).status_code == 404
    await api.delete(f"/v1/models/{model}")
    assert (await api.get(f"/v1/models/{model}/files")).status_code == 404
