"""Answers to POST /v1/embeddings: inputs are read, checked, embedded beside those of others, and told."""

import asyncio
import base64
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from contracts.manifest import ManifestRef
from contracts.ports import BlobMismatchError, Blobs
from contracts.wire.embeddings import MAX_TOKENS, Embeddings
from contracts.wire.errors import ApiError, shown
from functions._shared.model_files import ModelFiles, UnusableModelError, read_manifest
from functions.generate_text.core import check_token_ids
from functions.generate_text.embedder import Embedder, EmbeddingModel, InputRow
from functions.generate_text.models import ModelError

log = logging.getLogger("temper.serving")
_IDS = (
    "They are those of the model's own tokenizer, special tokens included; send texts where your client has another "
    "one (LangChain: check_embedding_ctx_length=False)."
)


@dataclass(eq=False)
class _Held:
    model: EmbeddingModel
    context: int
    users: int = 0


class EmbeddingModels:
    """The models of embeddings in memory, by manifest hash; drops the least recently used that nobody uses."""

    def __init__(self, blobs: Blobs, cache: Path, device: torch.device, dtype: str, max_bytes: int) -> None:
        self._blobs, self._files = blobs, ModelFiles(blobs, cache)
        self._device, self._dtype, self._max_bytes = device, dtype, max_bytes
        self._loaded: OrderedDict[str, _Held] = OrderedDict()
        self._turn = asyncio.Lock()  # one loads at a time

    @asynccontextmanager
    async def use(self, ref: ManifestRef) -> AsyncIterator[tuple[EmbeddingModel, int]]:
        """The model of a manifest and the tokens that it reads; raises ModelError, ApiError."""
        held = self._loaded.get(ref.sha256)
        if held is None:
            async with self._turn:
                held = self._loaded.get(ref.sha256) or await self._load(ref)
                self._loaded[ref.sha256] = held
        self._loaded.move_to_end(ref.sha256)
        held.users += 1
        try:
            yield held.model, held.context
        finally:
            held.users -= 1
            self._evict()

    def _evict(self) -> None:
        for sha256, held in list(self._loaded.items()):
            if sum(each.model.bytes for each in self._loaded.values()) <= self._max_bytes:
                return
            if not held.users:
                del self._loaded[sha256]

    async def _load(self, ref: ManifestRef) -> _Held:
        try:
            manifest = await read_manifest(self._blobs, ref)
        except (BlobMismatchError, ValidationError) as error:
            raise ModelError("manifest_mismatch", f"{ref.key} is not the manifest that it should be") from error
        if manifest.kind != "embedding":
            sentence = (
                "This model writes text and makes no embeddings; GET /v1/models says `embedding` of those that do."
            )
            raise ApiError(sentence, param="model", code="unsupported_model")
        try:
            async with self._files.hold(ref) as folder:
                model = await asyncio.to_thread(EmbeddingModel, folder, self._device, self._dtype)
        except UnusableModelError as error:
            raise ModelError("weights_mismatch", str(error)) from error
        except (OSError, ValueError, RuntimeError) as error:
            log.warning("the model of %s does not load: %s", ref.key, error)
            raise ModelError("weights_mismatch", f"the model of {ref.key} does not load") from error
        return _Held(model, manifest.context)


async def embeddings(
    embedder: Embedder, models: EmbeddingModels, ref: ManifestRef, wanted: Embeddings, request: Request
) -> Response:
    """Answer POST /v1/embeddings."""
    async with models.use(ref) as (model, context):
        _check(model, wanted)
        rows = await asyncio.to_thread(_rows, model, wanted, context)
        tokens = _check_lengths(rows, context)
        ask = embedder.submit(model, rows, request.headers.get("x-temper-tenant", ""))
        working, leaving = asyncio.wrap_future(ask.done), asyncio.create_task(_left(request))
        try:
            await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise ClientDisconnect
            cut = [place for place, row in enumerate(rows) if row.cut]
            body = await asyncio.to_thread(_told, wanted, working.result(), tokens, cut)
        finally:
            ask.cancelled = True
            leaving.cancel()
            working.cancel()
    return Response(body, media_type="application/json")


def _check(model: EmbeddingModel, wanted: Embeddings) -> None:
    """ApiError for what this model does not have."""
    if wanted.dimensions is not None and wanted.dimensions > model.dimensions:
        most = f"this model's vectors have {model.dimensions} dimensions, so at most that many can be asked for"
        raise ApiError(f"Invalid 'dimensions': {most}.", param="dimensions", code="integer_above_max_value")
    only = getattr(model.model.transformers_model.config, "matryoshka_dimensions", None)
    if wanted.dimensions is not None and only and wanted.dimensions not in (*only, model.dimensions):
        known = ", ".join(str(each) for each in only)
        sentence = f"Invalid 'dimensions': this model was trained to be cut to {known} dimensions only."
        raise ApiError(sentence, param="dimensions", code="invalid_value")
    if wanted.prompt_name is not None and wanted.prompt_name not in model.prompts:
        known = ", ".join(model.prompts) or "none"
        sentence = f"Invalid 'prompt_name': {shown(wanted.prompt_name)}; this model's prompts are: {known}."
        raise ApiError(sentence, param="prompt_name", code="invalid_value")


def _rows(model: EmbeddingModel, wanted: Embeddings, context: int) -> list[InputRow]:
    """The inputs as the model reads them, texts cut where that was asked for; token ids are taken as they are."""
    for given in wanted.input:
        if not isinstance(given, str):
            try:
                check_token_ids(given, model.vocabulary, "input")
            except ApiError as error:
                raise ApiError(f"{error.message} {_IDS}", param=error.param, code=error.code) from None
    texts = [given for given in wanted.input if isinstance(given, str)]
    most = context if wanted.truncate == "END" else None
    read = iter(model.read(texts, wanted.prompt_name, most) if texts else [])
    return [next(read) if isinstance(given, str) else InputRow(given) for given in wanted.input]


def _check_lengths(rows: Sequence[InputRow], context: int) -> int:
    """Tokens of all inputs; ApiError in OpenAI's words when one, or all together, are too many."""
    for place, row in enumerate(rows):
        if (length := len(row.ids)) > context:
            raise ApiError(
                f"This model's maximum context length is {context} tokens, however you requested {length} tokens "
                f"({length} in your prompt; 0 for the completion): input {place}. Please reduce your prompt.",
                param="input",
                code="context_length_exceeded",
            )
        if not length:
            raise ApiError(f"Invalid 'input[{place}]': no token is left of it.", param="input", code="invalid_value")
    tokens = sum(len(row.ids) for row in rows)
    if tokens > MAX_TOKENS:
        sentence = f"Requested {tokens} tokens, max {MAX_TOKENS} tokens per request. Split the inputs."
        raise ApiError(sentence, param="input", code="max_tokens_per_request")
    return tokens


def _told(wanted: Embeddings, vectors: np.ndarray[Any, Any], tokens: int, cut: Sequence[int]) -> bytes:
    if wanted.dimensions is not None:
        vectors = vectors[:, : wanted.dimensions]
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(min=1e-12)
    little = vectors.astype("<f4")
    as_text = wanted.encoding_format == "base64"
    told = [base64.b64encode(each.tobytes()).decode() for each in little] if as_text else little.tolist()
    data = [{"object": "embedding", "index": place, "embedding": each} for place, each in enumerate(told)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    said = {"object": "list", "data": data, "model": wanted.model, "usage": usage}
    if wanted.truncate == "END":
        said["temper"] = {"truncated": cut}
    return msgspec.json.encode(said)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
