"""From a manifest's hash to a model that answers: fetched once, verified, loaded when first asked for."""

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import torch
import transformers
from pydantic import ValidationError
from transformers import AutoTokenizer

from contracts.canonical import compact, sha256
from contracts.manifest import Manifest, ManifestFile, ManifestRef, RowShape
from contracts.ports import BlobMismatchError, Blobs
from contracts.wire.chat import refusal
from contracts.wire.errors import ApiError
from functions._shared.chat_template import ChatTemplate
from functions._shared.dialect import ASKED
from functions._shared.model_files import (
    ModelFiles,
    UnusableModelError,
    is_inside,
    read_manifest,
    special_ids,
    stop_ids,
)
from functions._shared.plain_prompt import prompt_ids
from functions._shared.turns import Marks, TemplateRefusalError, next_header
from functions.generate_text.call_forms import read_form, shown_calls
from functions.generate_text.call_rules import Shown, read_shown
from functions.generate_text.engine import AdapterError, Engine, EngineError
from functions.generate_text.grammars import GrammarError, Vocabulary
from functions.generate_text.shapes import AnswerPiece
from functions.generate_text.thoughts import AnswerReader, Splitter
from functions.generate_text.tool_calls import CallForm, CallReader

log = logging.getLogger("temper.serving")


class ModelError(Exception):
    """A stored model that is not what its manifest says; `code` is what a proof fails with."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt, and how the answer to it is read."""

    ids: list[int]
    lead: str
    marks: Marks | None
    opened: bool
    calls: CallForm | None = None
    """None: there are no tools, or calls cannot be told from text."""
    tools: Sequence[dict[str, Any]] = ()
    tail: str = ""
    again: str = ""

    def reader(self, most_calls: int | None) -> AnswerReader:
        """What takes an answer apart."""
        calls = CallReader(self.calls, self.tools, most_calls) if self.calls else None
        return AnswerReader(Splitter(self.lead, self.marks, self.opened, self.tail, self.again), calls)


@dataclass(eq=False)
class ServedModel:
    """A loaded model: names in the engine, tokenizer, template, context."""

    sha256: str
    base: str
    adapter: str | None
    tokenizer: Any
    context: int
    chat: ChatTemplate
    size: int = 0
    """Bytes in memory."""
    parent: "ServedModel | None" = None
    switches: Mapping[str, Any] = field(default_factory=dict)
    """Of the template, unless a request says others."""
    row_shape: RowShape = "chat"
    """What it was trained on."""
    users: int = 0
    forces_calls: bool = False
    """Whether calls by rule were compared with what its template writes."""

    def __post_init__(self) -> None:
        # A token's bytes in byte-level vocabularies: the letters that stand for bytes (GPT-2's table).
        printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
        odd = [b for b in range(256) if b not in printable]
        self._letters = {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(odd)}
        self._byte_level = "ByteLevel" in str(getattr(self.tokenizer.backend_tokenizer, "decoder", ""))
        self.stops = self.chat.stops
        self._vocabulary: Vocabulary | None = None
        marks = self.chat.thinking.marks
        shown = self.encode(f"{marks.open}{marks.close}" if marks else "", special=False)
        shown += self.encode(self.chat.lead(self.switches), special=False)
        self._special = special_ids(self.tokenizer)
        self._shown = self._special & frozenset(shown)

    @property
    def template(self) -> str:
        """The chat template's text, empty where the model has none."""
        return self.chat.source

    @property
    def fingerprint(self) -> str:
        """What an answer was made with: the model and the software."""
        made_with = f"{self.sha256} torch {torch.__version__} transformers {transformers.__version__}"
        return "fp_" + hashlib.sha256(made_with.encode()).hexdigest()[:10]

    @property
    def completes_turns(self) -> bool:
        """Whether a text to be completed is a user's turn, as in training."""
        return self.row_shape == "prompt_completion" and bool(self.template)

    def prompt(self, text: str) -> Rendered:
        """A text to be completed, as the model was trained to: a user's turn of its template, or the text alone."""
        if self.completes_turns:
            return self.render([{"role": "user", "content": text}], None)
        return self.untouched(text)

    def untouched(self, prompt: str | Sequence[int]) -> Rendered:
        """A text or token ids as they are; of nothing, the token that begins a text, else the one that ends it."""
        ids = prompt_ids(self.tokenizer, prompt) if isinstance(prompt, str) else list(prompt)
        return Rendered(ids, "", None, False)

    def render(
        self,
        messages: Sequence[dict[str, Any]],
        tools: Sequence[dict[str, Any]] | None,
        switches: Mapping[str, Any] | None = None,
    ) -> Rendered:
        """The prompt, generation prompt included, by the model's own template (sandboxed)."""
        if not self.template:
            raise ApiError(
                "This model has no chat template; use /v1/completions.", param="messages", code="unsupported"
            )
        wanted = {**self.switches, **(switches or {})}
        try:
            text = self.chat.prompt(messages, tools, wanted)
        except TemplateRefusalError as error:
            raise _refused(error) from error
        except Exception as error:  # whatever a chat makes of the template is its refusal
            raise ApiError(
                f"The model's chat template refuses these messages: {refusal(error)}.",
                param="messages",
                code="invalid_value",
            ) from error
        opened = self.chat.left_open(text)
        marks = opened or self.chat.thinking.marks
        return Rendered(
            self.encode(text, special=False),
            self.chat.lead(wanted),
            marks,
            opened is not None,
            self.calls if tools else None,
            tools or (),
            self.chat.tail(wanted) if self._shown or tools else "",
            next_header(text, marks) if tools and marks else "",
        )

    @cached_property
    def calls(self) -> CallForm | None:
        """How its template writes calls of tools."""

        return read_form(self._answer)

    @cached_property
    def shown_calls(self) -> Shown | None:
        """What its template writes of known calls; None where it cannot be told. Raises UnknownFormError."""
        if self.calls is None:
            return None
        marks = self.chat.thinking.marks
        shown: tuple[str, str] | None = None
        with suppress(Exception):  # whatever a template raises: it shows no calls
            shown = shown_calls(self._answer)
        return read_shown(self.calls, *shown, self.stops.shown, marks.close if marks else "") if shown else None

    def _answer(self, message: dict[str, Any], tools: list[dict[str, Any]]) -> str:
        return self.chat.turn([ASKED, message], tools, self.switches).answer

    @cached_property
    def _hidden(self) -> frozenset[int]:
        return frozenset(self._special - self._shown)  # asked for with every token

    @cached_property
    def _hidden_beside_calls(self) -> frozenset[int]:
        hidden = list(self._hidden)
        tokens = zip(hidden, self.tokenizer.convert_ids_to_tokens(hidden), strict=True)
        return frozenset(id for id, token in tokens if not (self.calls and self.calls.keeps(token)))

    def vocabulary(self, size: int) -> Vocabulary:
        """Its tokens as grammars know them, `size` in all; seconds for the first. Raises GrammarError."""
        if self.parent is not None:
            return self.parent.vocabulary(size)
        if self._vocabulary is None:
            decoder = str(self.tokenizer.backend_tokenizer.decoder)
            if not self._byte_level and ("WordPiece" in decoder or "\u2581" not in decoder):
                raise GrammarError("the model's tokenizer puts spaces of its own between tokens")
            known = self.tokenizer.convert_ids_to_tokens(list(range(min(size, len(self.tokenizer)))))
            names: list[str | None] = [*known, *[None] * (size - len(known))]
            added = self.tokenizer.get_added_vocab()
            hidden = self._special | self.stops.ids
            tokens = [
                None if name is None or id in hidden else name.encode() if name in added else self._written(name)
                for id, name in enumerate(names)
            ]
            special = {str(names[id]): id for id in hidden if id < len(names)}
            self._vocabulary = Vocabulary(tokens, special, self.stops.ids, not self._byte_level)
        return self._vocabulary

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Token ids of a text; `special` adds what the tokenizer puts around plain text."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=special)["input_ids"]
        return ids

    def decode(self, ids: list[int], calls: bool = False) -> str:
        """The text of token ids, without special tokens other than those around a thought or, with `calls`, a call."""
        hidden = self._hidden_beside_calls if calls else self._hidden
        shown = [id for id in ids if id not in hidden]
        text: str = self.tokenizer.decode(shown, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text

    def piece(self, token: int, logprob: float | None = None, top: Sequence[tuple[int, float]] = ()) -> AnswerPiece:
        """A token as logprobs show it."""
        shown = tuple(self.piece(other, value) for other, value in top)
        text: str = self.tokenizer.decode([token], clean_up_tokenization_spaces=False)
        return AnswerPiece(text, self._bytes(token, text), logprob, shown)

    def _written(self, name: str) -> bytes:
        """A token's bytes within a text."""
        return self._bytes_of(name, name.replace("\u2581", " "))

    def _bytes(self, token: int, text: str) -> bytes:
        return self._bytes_of(self.tokenizer.convert_ids_to_tokens(token) or "", text)

    def _bytes_of(self, name: str, text: str) -> bytes:
        if self._byte_level and all(letter in self._letters for letter in name):
            return bytes(self._letters[letter] for letter in name)
        if len(name) == 6 and name.startswith("<0x") and name.endswith(">"):
            return bytes([int(name[3:5], 16)])
        return text.encode()


class Models:
    """The models in memory, by manifest hash; loads what is asked for and drops the least recently used."""

    def __init__(self, engine: Engine, blobs: Blobs, cache_dir: Path, max_bytes: int, max_adapters: int) -> None:
        self._engine, self._blobs, self._files = engine, blobs, ModelFiles(blobs, cache_dir)
        self._max_bytes, self._max_adapters = max_bytes, max_adapters
        self._loaded: OrderedDict[str, ServedModel] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}
        self._names: dict[str, str] = {}
        self._firsts: dict[str, str] = {}

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
        name = await self._name(ref)
        lock = self._locks.setdefault(name, asyncio.Lock())
        async with lock:
            model = self._loaded.get(name)
            if model is None:
                model = await self._load(name, ref)
                self._loaded[name] = model
            self._loaded.move_to_end(name)
            model.users += 1
        self._evict()
        return model

    async def _name(self, ref: ManifestRef) -> str:
        """The hash of the first manifest seen of these very files: a base is held once, however many names it has."""
        if ref.sha256 not in self._names:
            manifest = await self._manifest(ref)
            content = sha256(compact([manifest.context, manifest.template_sha256, *_hashes(manifest)]))
            first = self._firsts.setdefault(content, ref.sha256) if manifest.kind == "base" else ref.sha256
            self._names[ref.sha256] = first
        return self._names[ref.sha256]

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

    async def _load(self, name: str, ref: ManifestRef) -> ServedModel:
        manifest = await self._manifest(ref)
        if manifest.kind == "embedding":
            sentence = "This model makes embeddings and writes no text; ask it at POST /v1/embeddings."
            raise ApiError(sentence, param="model", code="unsupported_model")
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
        return await self._load_base(name, ref, manifest)

    async def _load_base(self, name: str, ref: ManifestRef, manifest: Manifest) -> ServedModel:
        async with self._held(ref, manifest) as folder:
            tokenizer = await asyncio.to_thread(_tokenizer, folder)
            chat = ChatTemplate(tokenizer, stop_ids(folder, tokenizer))
            model = ServedModel(
                name,
                name,
                None,
                tokenizer,
                manifest.context,
                chat,
                switches=manifest.chat_template_kwargs,
                row_shape=manifest.row_shape,
            )
            _check_template(model, manifest, ref)
            try:
                model.size = await asyncio.to_thread(self._engine.load_base, name, folder)
            except (OSError, ValueError, EngineError) as error:
                raise _unloaded(f"the model of {ref.key}", error) from error
        return model

    async def _load_adapter(self, ref: ManifestRef, manifest: Manifest, parent: ServedModel) -> ServedModel:
        async with self._held(ref, manifest) as folder:
            model = ServedModel(
                ref.sha256,
                parent.base,
                ref.sha256,
                parent.tokenizer,
                manifest.context,
                parent.chat,
                parent=parent,
                switches=manifest.chat_template_kwargs,
                row_shape=manifest.row_shape,
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


def _hashes(manifest: Manifest) -> list[list[str]]:
    return sorted([file.path, file.sha256] for file in manifest.files if file.role != "resume")


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


def _refused(error: TemplateRefusalError) -> ApiError:
    """What a client is told of a chat that the template does not show."""
    if error.param == "tools":
        what = "This model's chat template does not show all of these tools; leave some out or use another model."
        return ApiError(what, param="tools", code="unsupported")
    if error.__cause__ is not None:
        what = f"The model's chat template refuses these messages: {refusal(error.__cause__)}."
        return ApiError(what, param="messages", code="invalid_value")
    return ApiError(f"This chat cannot be shown: {error}", param="messages", code="invalid_value")
