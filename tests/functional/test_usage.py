"""What is stored for whom: bytes of each kind, and nobody else's."""

from __future__ import annotations

import httpx

from contracts.documents.models import PUBLIC
from contracts.events.models import ModelRegistered
from contracts.manifest import ManifestRef
from tests.functional.edge import World


async def test_the_bytes_of_each_kind_are_those_that_the_store_holds(world: World, api: httpx.AsyncClient) -> None:
    await world.tuned("ftjob-1", "ft:x", 20)
    sizes = {
        "file-1/content": ("files", 1),
        "file-1/rows.jsonl": ("files", 2),
        "file-2/content": ("files", 4),
        "file-2/documents/doc-1/text.json": ("documents", 8),
        "file-2/documents/doc-1/chunks.json": ("documents", 16),
        "file-2/dataset/v/rows.jsonl": ("data sets", 32),
        "ftjob-1/tokens/train.safetensors": ("job inputs", 64),
        "ftjob-1/ckpt/1/10/resume.safetensors": ("checkpoints", 128),
        "ftjob-1/manifest.json": ("job inputs", 256),
        "bench-1/suite.jsonl": ("benchmarks", 512),
        "ingest/x": ("ingest", 1024),
        "strange": ("other", 2048),
    }
    expected: dict[str, tuple[int, int]] = {}
    for name, (kind, size) in sizes.items():
        await world.blobs.put(f"local/{name}", bytes(size))
        bytes_, objects = expected.get(kind, (0, 0))
        expected[kind] = bytes_ + size, objects + 1
    await world.blobs.put("umbrella/file-9/content", bytes(10_000))
    await world.blobs.put(f"{PUBLIC}/base/model", bytes(10_000))
    answer = (await api.get("/v1/usage/storage")).json()
    assert answer["object"] == "usage.storage"
    assert {row["kind"]: (row["bytes"], row["objects"]) for row in answer["data"] if row["objects"]} == expected
    assert (answer["bytes"], answer["objects"]) == (4095, len(sizes))


async def test_a_checkpoint_that_can_be_called_counts_as_a_model(world: World, api: httpx.AsyncClient) -> None:
    ref = ManifestRef(key="local/ftjob-1/ckpt/1/20/manifest.json", sha256="2" * 64)
    data = ModelRegistered(
        kind="adapter", manifest=ref, template_sha256="1" * 64, context=8, owned_by="local", job="ftjob-1"
    )
    await world.say(data, "ft:y", "local")
    for name in ("1/20/manifest.json", "1/20/weights", "1/10/weights"):
        await world.blobs.put(f"local/ftjob-1/ckpt/{name}", b"x")
    kinds = {row["kind"]: row["objects"] for row in (await api.get("/v1/usage/storage")).json()["data"]}
    assert (kinds["models"], kinds["checkpoints"]) == (2, 1)
    await api.delete("/v1/models/ft:y")
    kinds = {row["kind"]: row["objects"] for row in (await api.get("/v1/usage/storage")).json()["data"]}
    assert (kinds["models"], kinds["checkpoints"]) == (0, 3)
