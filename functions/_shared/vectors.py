"""Texts embedded by the platform's own serving, once: what it answered is stored before it is used."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.blobs import BlobRef
from contracts.canonical import sha256
from contracts.documents import View
from contracts.envelope import derived_id
from contracts.events.corpus import DatasetFailed, Embedded
from contracts.manifest import ManifestRef
from contracts.ports import BlobExistsError, BlobNotFoundError, Blobs, Complete, Documents
from contracts.wire.asked import EMBEDDINGS
from functions._shared.model_files import read_manifest
from functions._shared.patience import ask_patiently
from functions._shared.stage import NoResultError
from functions._shared.visible import visible_model

MOST_TEXTS, MOST_BYTES = 128, 128 * 1024
"""Of a request: some seconds of a processor's time."""
LONGEST = 32 * 1024
"""Characters of a text that are sent: more than any model reads."""
IN_FLIGHT = 2
"""Requests at the same time: serving finds the next one there when it has answered one."""
PASSAGE, QUESTION = ("document", "passage", "corpus"), ("query",)
"""How models name the prompt that stands before what is searched, and before what is asked."""
_PROMPTS = "config_sentence_transformers.json"
_MEDIA_TYPE = "application/octet-stream"

Texts = Sequence[tuple[str, str]]
"""Ids and texts."""


class _Part(msgspec.Struct):
    """One answer as it is stored."""

    cut: int
    vectors: bytes
    """float32, little endian."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """A model of embeddings as a tenant sees it."""

    complete: Complete
    blobs: Blobs
    tenant: str
    model: str
    manifest: ManifestRef

    async def of(self, texts: Texts, key: str, prompts: Sequence[str]) -> Embedded:
        """Return the vectors of texts, in the order of their ids, stored as `{key}.f32`; made once, then read.

        Before each stands the first of `prompts` that the model has, else its default. Raises UnavailableError while
        serving is away, and NoResultError with `dataset.failed` where it refuses.
        """
        known = await self._known(key)
        if known is not None:
            return known
        asked = _Asked(self, f"{key}.parts", await self._prompt(prompts))
        parts = await asked.all([text for _, text in sorted(texts)])
        vectors = await asyncio.to_thread(_unit, [part.vectors for _, part in parts], len(texts))
        with suppress(BlobExistsError):  # an attempt that lost its lease was faster; its own is used
            await self.blobs.put(f"{key}.f32", vectors.tobytes(), _MEDIA_TYPE, exclusive=True)
        stored = await self.blobs.get(f"{key}.f32")
        ref = BlobRef(key=f"{key}.f32", sha256=sha256(stored), bytes=len(stored), media_type=_MEDIA_TYPE)
        said = Embedded(
            model=self.model,
            manifest=self.manifest,
            vectors=ref,
            dimensions=vectors.shape[1],
            cut=sum(part.cut for _, part in parts),
        )
        with suppress(BlobExistsError):
            await self.blobs.put(f"{key}.json", said.model_dump_json().encode(), "application/json", exclusive=True)
        await self.blobs.remove([name for name, _ in parts])
        return await self._known(key) or said

    async def _known(self, key: str) -> Embedded | None:
        try:
            return Embedded.model_validate_json(await self.blobs.get(f"{key}.json"))
        except BlobNotFoundError:
            return None

    async def _prompt(self, names: Sequence[str]) -> str | None:
        """Return the first of `names` that the model has a prompt of."""
        try:
            manifest = await read_manifest(self.blobs, self.manifest)
            file = next((each for each in manifest.files if each.path == _PROMPTS), None)
            said = msgspec.json.decode(await self.blobs.get(file.key)) if file else {}
        except BlobNotFoundError:  # it was deleted meanwhile: serving has a sentence for that
            return None
        has = said.get("prompts") if isinstance(said, dict) else None
        return next((name for name in names if name in (has or ())), None)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Texts on their way: each request's answer is stored under the hash of what was asked."""

    of: Embedding
    prefix: str
    prompt: str | None

    async def all(self, texts: Sequence[str]) -> list[tuple[str, _Part]]:
        """Return the keys and answers of all requests in order."""
        gate = asyncio.Semaphore(IN_FLIGHT)

        async def one(batch: Sequence[str]) -> tuple[str, _Part]:
            async with gate:
                return await self._one(batch)

        try:
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(one(batch)) for batch in batches(texts)]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        return [each.result() for each in asked]

    async def _one(self, texts: Sequence[str]) -> tuple[str, _Part]:
        body = msgspec.json.encode(
            {"model": self.of.model, "input": texts, "encoding_format": "base64", "truncate": "END"}
            | ({"prompt_name": self.prompt} if self.prompt else {})
        )
        digest = sha256(self.of.manifest.sha256.encode() + body)
        key = f"{self.prefix}/{digest}.json"
        with suppress(BlobNotFoundError):
            return key, msgspec.json.decode(await self.of.blobs.get(key), type=_Part)
        id = "req_" + derived_id(self.prefix, digest).replace("-", "")
        status, said = await ask_patiently(self.of.complete, EMBEDDINGS, body, self.of.manifest, id, self.of.tenant)
        if status != 200:
            raise NoResultError(_refused(self.of.model, said))
        vectors = b"".join(base64.b64decode(each["embedding"]) for each in said["data"])
        answered = msgspec.json.encode(_Part(len(said["temper"]["truncated"]), vectors))
        with suppress(BlobExistsError):  # an attempt that lost its lease was faster; what is stored is used
            await self.of.blobs.put(key, answered, "application/json", exclusive=True)
        return key, msgspec.json.decode(await self.of.blobs.get(key), type=_Part)


async def embedding_model(documents: Documents, tenant: str, name: str) -> View:
    """Return the model of embeddings that a tenant calls by that name; raises NoResultError with `dataset.failed`."""
    view = await visible_model(documents, tenant, name)
    if view is None:
        what = f"The model of embeddings '{name[:100]}' does not exist, or you do not have access to it."
        advice = "Upload the documents again with another 'dataset.embedding_model', or with \"none\"."
        raise NoResultError(DatasetFailed(code="embedding_model_not_found", message=f"{what} {advice}"))
    if view["kind"] != "embedding":
        what = f"The model '{name[:100]}' writes text and makes no embeddings; GET /v1/models says which do."
        advice = "Upload the documents again with one of those as 'dataset.embedding_model', or with \"none\"."
        raise NoResultError(DatasetFailed(code="unsupported_model", message=f"{what} {advice}"))
    return view


def batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield texts as they are asked for, in their order: so many together, and of so many bytes, as a request holds."""
    batch: list[str] = []
    size = 0
    for text in texts:
        sent = text[:LONGEST].encode(errors="replace").decode() or " "
        if batch and (len(batch) == MOST_TEXTS or size + len(sent.encode()) > MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(sent)
        size += len(sent.encode())
    if batch:
        yield batch


def _unit(parts: Sequence[bytes], count: int) -> NDArray[np.float32]:
    """Return vectors [count, dimensions] of length 1."""
    found = np.frombuffer(b"".join(parts), "<f4").reshape(count, -1).astype(np.float64)
    unit: NDArray[np.float32] = (found / np.linalg.norm(found, axis=1, keepdims=True).clip(min=1e-12)).astype("<f4")
    return unit


def _refused(model: str, said: object) -> DatasetFailed:
    error = said.get("error") if isinstance(said, dict) else None
    why = str(error["message"]) if isinstance(error, dict) and error.get("message") else "it gives no reason."
    message = f"The model '{model[:100]}' made no vectors of the documents: {why}"
    advice = "Mend the model, or upload the documents again with another 'dataset.embedding_model' or \"none\"."
    return DatasetFailed(code="embedding_failed", message=f"{message} {advice}")
