"""From a manifest's hash to a model that answers: fetched once, verified, loaded when first asked for."""

import asyncio
import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import torch
import transformers
from pydantic import ValidationError
from transformers import AutoTokenizer

from contracts.manifest import Manifest, ManifestFile, ManifestRef
from contracts.ports import BlobMismatchError, Blobs
from contracts.wire.chat import refusal
from contracts.wire.errors import ApiError
from functions._shared.model_files import ModelFiles, UnusableModelError, is_inside, read_manifest
from functions.generate_text.engine import AdapterError, Engine, EngineError
from functions.generate_text.shapes import AnswerPiece

log = logging.getLogger("temper.serving")


class ModelError(Exception):
    """A stored model that is not what its manifest says; `code` is what a proof fails with."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(eq=False)
class ServedModel:
    """A loaded model: names in the engine, tokenizer, template, context."""

    sha256: str
    base: str
    adapter: str | None
    tokenizer: Any
    context: int
    stop_ids: frozenset[int]
    size: int
    """Bytes in memory."""
    parent: "ServedModel | None" = None
    users: int = 0
    answer_prefix: str = field(default="", init=False)
    """What the template itself puts between the generation prompt and an answer's first character (white space)."""

    def __post_init__(self) -> None:
        # A token's bytes in byte-level vocabularies: the letters that stand for bytes (GPT-2's table).
        printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
        odd = [b for b in range(256) if b not in printable]
        self._letters = {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(odd)}
        self._byte_level = "ByteLevel" in str(getattr(self.tokenizer.backend_tokenizer, "decoder", ""))
        self.answer_prefix = self._find_answer_prefix()

    @property
    def template(self) -> str:
        """The chat template's text, empty where the model has none."""
        template = self.tokenizer.chat_template
        return str(template["default"] if isinstance(template, dict) else template or "")

    @property
    def fingerprint(self) -> str:
        """What an answer was made with: the model and the software."""
        made_with = f"{self.sha256} torch {torch.__version__} transformers {transformers.__version__}"
        return "fp_" + hashlib.sha256(made_with.encode()).hexdigest()[:10]

    def begin(self) -> list[int]:
        """The tokens of an empty prompt: the one that begins a text, else the one that ends it."""
        begin = (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id)
        return [next(token for token in begin if token is not None)] if any(t is not None for t in begin) else []

    def render(self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]] | None) -> list[int]:
        """The prompt's token ids, generation prompt included, by the model's own template (sandboxed)."""
        if not self.template:
            raise ApiError(
                "This model has no chat template; use /v1/completions.", param="messages", code="unsupported"
            )
        try:
            text = self._text(messages, tools, prompt=True)
            if tools and text == self._text(messages, None, prompt=True):
                raise ApiError(
                    "This model's chat template ignores tools; leave them out or use a model that knows them.",
                    param="tools",
                    code="unsupported",
                )
        except ApiError:
            raise
        except Exception as error:  # whatever a template raises is its refusal
            raise ApiError(
                f"The model's chat template refuses these messages: {refusal(error)}.",
                param="messages",
                code="invalid_value",
            ) from error
        return self.encode(text, special=False)

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Token ids of a text; `special` adds what the tokenizer puts around plain text."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=special)["input_ids"]
        return ids

    def decode(self, ids: list[int]) -> str:
        """The text of token ids, special tokens left out."""
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def piece(self, token: int, logprob: float | None = None, top: Sequence[tuple[int, float]] = ()) -> AnswerPiece:
        """A token as logprobs show it."""
        shown = tuple(self.piece(other, value) for other, value in top)
        text: str = self.tokenizer.decode([token], clean_up_tokenization_spaces=False)
        return AnswerPiece(text, self._bytes(token, text), logprob, shown)

    def _bytes(self, token: int, text: str) -> bytes:
        name = self.tokenizer.convert_ids_to_tokens(token) or ""
        if self._byte_level and all(letter in self._letters for letter in name):
            return bytes(self._letters[letter] for letter in name)
        if len(name) == 6 and name.startswith("<0x") and name.endswith(">"):
            return bytes([int(name[3:5], 16)])
        return text.encode()

    def _text(self, messages: Sequence[dict[str, Any]], tools: Any, *, prompt: bool) -> str:
        text: str = self.tokenizer.apply_chat_template(
            list(messages), tools=tools, tokenize=False, add_generation_prompt=prompt
        )
        return text

    def _find_answer_prefix(self) -> str:
        question, answer = {"role": "user", "content": "x"}, "Answer"
        try:
            before = self._text([question], None, prompt=True)
            whole = self._text([question, {"role": "assistant", "content": answer}], None, prompt=False)
        except Exception:  # noqa: BLE001  a template that cannot render this has no prefix that we could know
            return ""
        if not whole.startswith(before):
            return ""
        answer_prefix = whole[len(before) :].partition(answer)[0]
        return answer_prefix if answer_prefix.isspace() else ""


class Models:
    """The models in memory, by manifest hash; loads what is asked for and drops the least recently used."""

    def __init__(self, engine: Engine, blobs: Blobs, cache_dir: Path, max_bytes: int, max_adapters: int) -> None:
        self._engine, self._blobs, self._files = engine, blobs, ModelFiles(blobs, cache_dir)
        self._max_bytes, self._max_adapters = max_bytes, max_adapters
        self._loaded: OrderedDict[str, ServedModel] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}

    @property
    def names(self) -> list[str]:
        """Hashes of the loaded manifests, the most recently used last."""
        return list(self._loaded)

    @asynccontextmanager
    async def use(self, ref: ManifestRef) -> AsyncIterator[ServedModel]:
        """The model of a manifest, kept in memory while the block runs; ModelError when it is not what it should be."""
        model = await self._get(ref)
        try:
            yield model
        finally:
            model.users -= 1
            self._evict()

    async def _get(self, ref: ManifestRef) -> ServedModel:
        """Load if need be, and count a user before anything else can run."""
        lock = self._locks.setdefault(ref.sha256, asyncio.Lock())
        async with lock:
            model = self._loaded.get(ref.sha256)
            if model is None:
                model = await self._load(ref)
                self._loaded[ref.sha256] = model
            self._loaded.move_to_end(ref.sha256)
            model.users += 1
        self._evict()
        return model

    def _evict(self) -> None:
        """Drop the least recently used models that nobody uses, while there are too many."""
        while True:
            heavy = sum(model.size for model in self._loaded.values()) > self._max_bytes
            many = sum(model.adapter is not None for model in self._loaded.values()) > self._max_adapters
            idle = (
                sha for sha, model in self._loaded.items() if not model.users and (heavy or (many and model.adapter))
            )
            sha = next(idle, None)
            if sha is None:
                return
            model = self._loaded.pop(sha)
            self._engine.unload(sha)
            if model.parent is not None:
                model.parent.users -= 1

    async def _load(self, ref: ManifestRef) -> ServedModel:
        manifest = await self._manifest(ref)
        if manifest.kind == "adapter":
            if manifest.base is None:
                raise ModelError("manifest_mismatch", f"the manifest {ref.key} is an adapter without a base")
            parent = await self._get(manifest.base)  # counted as used while the adapter is loaded
            try:
                if parent.adapter is not None:
                    raise ModelError("manifest_mismatch", f"the base of {ref.key} is itself an adapter")
                return await self._load_adapter(ref, manifest, parent)
            except BaseException:
                parent.users -= 1
                raise
        return await self._load_base(ref, manifest)

    async def _load_base(self, ref: ManifestRef, manifest: Manifest) -> ServedModel:
        async with self._held(ref, manifest) as folder:
            tokenizer = await asyncio.to_thread(_tokenizer, folder)
            stops = _stop_ids(folder, tokenizer)
            model = ServedModel(ref.sha256, ref.sha256, None, tokenizer, manifest.context, stops, 0)
            _check_template(model, manifest, ref)
            try:
                model.size = await asyncio.to_thread(self._engine.load_base, ref.sha256, folder)
            except (OSError, ValueError, EngineError) as error:
                raise _unloaded(f"the model of {ref.key}", error) from error
        return model

    async def _load_adapter(self, ref: ManifestRef, manifest: Manifest, parent: ServedModel) -> ServedModel:
        async with self._held(ref, manifest) as folder:
            model = ServedModel(
                ref.sha256, parent.base, ref.sha256, parent.tokenizer, manifest.context, parent.stop_ids, 0, parent
            )
            _check_template(model, manifest, ref)
            try:
                model.size = await asyncio.to_thread(self._engine.load_adapter, ref.sha256, parent.base, folder)
            except (OSError, AdapterError) as error:
                raise _unloaded(f"the adapter of {ref.key}", error) from error
        return model

    async def _manifest(self, ref: ManifestRef) -> Manifest:
        try:
            return await read_manifest(self._blobs, ref)
        except BlobMismatchError as error:
            raise ModelError("manifest_mismatch", str(error)) from error
        except ValidationError as error:
            raise ModelError("manifest_mismatch", f"{ref.key} is not a manifest") from error

    @asynccontextmanager
    async def _held(self, ref: ManifestRef, manifest: Manifest) -> AsyncIterator[Path]:
        """The model's files while they are loaded; what is loaded outlives them."""
        for file in manifest.files:
            if file.role != "resume":
                _check_path(file)
        try:
            async with self._files.hold(ref) as folder:
                yield folder
        except UnusableModelError as error:
            raise ModelError("weights_mismatch", str(error)) from error


def _unloaded(what: str, error: Exception) -> ModelError:
    """Return the verdict on what a library does not load; the log has its words, which name folders."""
    log.warning("%s does not load: %s", what, error)
    why = error if isinstance(error, EngineError | AdapterError) else type(error).__name__
    return ModelError("weights_mismatch", f"{what} does not load: {why}")


def _check_path(file: ManifestFile) -> None:
    if not is_inside(file.path):
        raise ModelError("manifest_mismatch", f"the manifest names a file outside its folder: {file.path!r}")
    if file.role == "weights" and PurePosixPath(file.path).suffix not in (".safetensors", ".json"):
        raise ModelError("weights_mismatch", f"{file.path}: only safetensors weights are loaded")


def _check_template(model: ServedModel, manifest: Manifest, ref: ManifestRef) -> None:
    if hashlib.sha256(model.template.encode()).hexdigest() != manifest.template_sha256:
        raise ModelError("template_mismatch", f"the chat template of {ref.key} is not the one it was made with")


def _tokenizer(folder: Path) -> Any:
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise _unloaded("the tokenizer", error) from error


def _stop_ids(folder: Path, tokenizer: Any) -> frozenset[int]:
    """Every token that ends an answer: of the tokenizer and of both configs."""
    stops = {tokenizer.eos_token_id}
    for name in ("config.json", "generation_config.json"):
        path = folder / name
        found = json.loads(path.read_text("utf-8")).get("eos_token_id") if path.is_file() else None
        stops.update(found if isinstance(found, list) else [found])
    return frozenset(stop for stop in stops if isinstance(stop, int))
