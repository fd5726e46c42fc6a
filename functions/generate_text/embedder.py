"""The embedding loop: token ids in, vectors out, inputs of all requests of one model in small batches.

One thread does it, which gives way to the thread of the chats: while those compute, it gets what they leave. Tenants
take turns with every batch. It knows torch and sentence-transformers; no HTTP, no store.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from functions.generate_text.generation import EngineError, OverloadedError, failure

log = logging.getLogger(__name__)
MOST_CONTEXT = 8192
"""Tokens of an input: a longer one would hold up everybody's."""
MOST_ROWS, MOST_TOKENS = 32, 1024
"""Of a batch, padding included; a single input may be longer."""
MOST_WAITING = 2**20
"""Tokens of a tenant that wait; a request beyond is refused with OverloadedError."""
NEAR = 1e-5
"""By which a number may differ when an input is padded."""
_NICE = 10
_PROBES = ("gate", "The red key opens gate 7 at noon, and nobody but the warden has another one.")
_UNBOUNDED = 2**20
"""From here on a tokenizer's bound is none."""


@dataclass(frozen=True, slots=True)
class InputRow:
    """One input as the model reads it."""

    ids: Sequence[int]
    types: Sequence[int] | None = None
    prompt: int = 0
    """Tokens in front that are the prompt's, where those are not pooled."""
    cut: bool = False
    """Whether its end was cut off."""


class EmbeddingModel:
    """A loaded sentence-transformers folder."""

    def __init__(self, folder: Path, device: torch.device, dtype: str = "auto") -> None:
        """`dtype` auto: float32 on a processor, elsewhere the model's own. Raises OSError, ValueError, RuntimeError."""
        from sentence_transformers import SentenceTransformer  # six seconds that a server without embeddings saves

        own: Any = torch.float32 if device.type == "cpu" else "auto"
        kind = own if dtype == "auto" else getattr(torch, dtype)
        self.model = SentenceTransformer(
            str(folder),
            device=str(device),
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"dtype": kind, "use_safetensors": True},
        )
        self.model.eval().requires_grad_(False)
        self.bytes = sum(p.numel() * p.element_size() for p in self.model.parameters())
        tokenizer = self.model.tokenizer
        skips = any(not getattr(module, "include_prompt", True) for module in self.model.children())
        self._skipped = {
            name: int(self.model.preprocess(["."], prompt=text)["prompt_length"]) if skips and text else 0
            for name, text in self.model.prompts.items()
        }
        self._texts = tokenizer.backend_tokenizer  # the only one that several threads may use at once
        self._texts.no_truncation()
        self._texts.no_padding()
        self._typed = "token_type_ids" in tokenizer.model_input_names
        self._pad, self._left = tokenizer.pad_token_id or 0, tokenizer.padding_side == "left"
        self.vocabulary = int(self.model.transformers_model.get_input_embeddings().num_embeddings)
        positions = getattr(self.model.transformers_model.config, "max_position_embeddings", None) or MOST_CONTEXT
        asked = self.model.max_seq_length or _UNBOUNDED
        self.context = min(asked if asked < _UNBOUNDED else positions, MOST_CONTEXT)
        self.padded = True
        with torch.inference_mode():
            self._probe()

    @property
    def prompts(self) -> dict[str, str]:
        """The texts that may stand in front of an input, by name."""
        return dict(self.model.prompts)

    def read(self, texts: Sequence[str], prompt_name: str | None = None, most: int | None = None) -> list[InputRow]:
        """Texts as the model reads them, its default prompt in front unless another is named.

        With `most` the end of a text that has more tokens is cut off, as the library does it.
        """
        name = prompt_name or self.model.default_prompt_name or ""
        prompt, skipped = self.model.prompts.get(name, ""), self._skipped.get(name, 0)
        found = self._texts.encode_batch([prompt + text for text in texts], add_special_tokens=True)
        return [self._row(each, skipped, most) for each in found]

    def _row(self, found: Any, prompt: int, most: int | None) -> InputRow:
        ids, types = found.ids, found.type_ids if self._typed else None
        if most is None or len(ids) <= most:
            return InputRow(ids, types, prompt)
        last = next((place for place, special in enumerate(reversed(found.special_tokens_mask)) if not special), 0)
        keep = slice(0, most - last), slice(len(ids) - last, None)  # what the tokenizer puts behind a text stays

        def cut(values: list[int]) -> list[int]:
            return values[keep[0]] + values[keep[1]]

        return InputRow(cut(ids), types and cut(types), prompt, cut=True)

    def embed(self, rows: Sequence[InputRow]) -> np.ndarray[Any, Any]:
        """Vectors [rows, dimensions] of one forward, in float32."""
        width = max(len(row.ids) for row in rows)
        ids = torch.full((len(rows), width), self._pad)
        mask, types = torch.zeros_like(ids), torch.zeros_like(ids)
        for line, row in enumerate(rows):
            place = slice(width - len(row.ids), None) if self._left else slice(0, len(row.ids))
            ids[line, place], mask[line, place] = torch.tensor(row.ids), 1
            if row.types is not None:
                types[line, place] = torch.tensor(row.types)
        features: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
        if self._typed:
            features["token_type_ids"] = types
        features = {name: tensor.to(self.model.device) for name, tensor in features.items()}
        if rows[0].prompt:
            features["prompt_length"] = rows[0].prompt
        vectors = self.model(features)["sentence_embedding"][:, : self.model.truncate_dim]
        found: np.ndarray[Any, Any] = vectors.float().cpu().numpy()
        return found

    def _probe(self) -> None:
        """See how long the vectors are, and whether padding changes them: not all families mask it."""
        rows = self.read(_PROBES)
        alone = np.concatenate([self.embed([row]) for row in rows])
        self.dimensions = int(alone.shape[1])
        self.padded = bool(np.abs(self.embed(rows) - alone).max() <= NEAR)


@dataclass(eq=False)
class Ask:
    """A request's inputs on their way."""

    model: EmbeddingModel
    rows: Sequence[InputRow]
    tenant: str
    vectors: np.ndarray[Any, Any]
    open: list[int]
    """Which rows wait, the longest last."""
    missing: int
    done: "Future[np.ndarray[Any, Any]]" = field(default_factory=Future)
    cancelled: bool = False

    @property
    def tokens(self) -> int:
        """Tokens that wait."""
        return sum(len(self.rows[row].ids) for row in self.open)


class Embedder:
    """The thread, which begins with the first request; every method may be called from any thread."""

    def __init__(self, threads: int = 0) -> None:
        self.batches: deque[int] = deque(maxlen=1024)
        """Rows of the last batches."""
        self._threads = threads
        self._turns: dict[str, deque[Ask]] = {}
        """In the order of turns: the tenant that was served last is the last one."""
        self._changed = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    def submit(self, model: EmbeddingModel, rows: Sequence[InputRow], tenant: str) -> Ask:
        """Queue a request; OverloadedError where its tenant has too much that waits."""
        order = sorted(range(len(rows)), key=lambda row: len(rows[row].ids))
        ask = Ask(model, rows, tenant, np.empty((len(rows), model.dimensions), np.float32), order, len(rows))
        with self._changed:
            if self._closing:
                raise EngineError("the engine was closed")
            queue = self._turns.get(tenant, deque())
            if queue and sum(each.tokens for each in queue) + ask.tokens > MOST_WAITING:
                raise OverloadedError(f"{len(queue)} of your requests are waiting; try again in a few seconds")
            self._turns.setdefault(tenant, queue).append(ask)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="embed", daemon=True)
                self._thread.start()
            self._changed.notify()
        return ask

    def close(self) -> None:
        """Stop after the batch that is computed; what still waits ends with EngineError."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)  # its OpenMP threads inherit it
        if self._threads:
            torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                while batch := self._next():
                    self._step(batch)
        finally:  # whatever ended it, nobody may wait for ever
            with self._changed:
                self._closing = True
                waiting = [ask for queue in self._turns.values() for ask in queue]
            for ask in waiting:
                _end(ask, EngineError("the engine was closed"))

    def _step(self, batch: list[tuple[Ask, int]]) -> None:
        try:
            vectors = batch[0][0].model.embed([ask.rows[row] for ask, row in batch])
        except Exception as error:
            log.exception("a batch of %d embeddings failed", len(batch))
            for ask, _ in batch:
                _end(ask, failure(error))
            return
        self.batches.append(len(batch))
        for (ask, row), vector in zip(batch, vectors, strict=True):
            ask.vectors[row] = vector
            ask.missing -= 1
            if not ask.missing:
                _end(ask, None)

    def _next(self) -> list[tuple[Ask, int]]:
        """Wait for the next batch: of whose turn it is, filled up with what others ask of the same model; [] closed."""
        with self._changed:
            while not self._closing:
                self._turns = {tenant: queue for tenant, queue in self._turns.items() if _alive(queue)}
                if not self._turns:
                    self._changed.wait()
                    continue
                batch: list[tuple[Ask, int]] = []
                first = next(iter(self._turns))
                for ask in [ask for queue in list(self._turns.values()) for ask in queue]:
                    _take(ask, batch)
                queue = self._turns.pop(first)
                queue.rotate(-1)  # nor does a tenant's long request hold up a short one of its own
                self._turns[first] = queue
                return batch
        return []


def _alive(queue: deque[Ask]) -> bool:
    """Forget what has nothing left to compute, or nobody who waits for it."""
    for ask in [ask for ask in queue if ask.cancelled or not ask.open]:
        queue.remove(ask)
    return bool(queue)


def _take(ask: Ask, batch: list[tuple[Ask, int]]) -> None:
    """Move rows of a request into a batch while they fit."""
    while ask.open:
        row = ask.rows[ask.open[-1]]
        if batch:
            other, place = batch[0]
            longest = max(len(each.rows[at].ids) for each, at in batch)
            width = max(longest, len(row.ids))
            if (
                ask.model is not other.model
                or row.prompt != other.rows[place].prompt
                or (len(row.ids) != longest and not ask.model.padded)
                or len(batch) >= MOST_ROWS
                or (len(batch) + 1) * width > MOST_TOKENS
            ):
                return
        batch.append((ask, ask.open.pop()))


def _end(ask: Ask, error: Exception | None) -> None:
    ask.open.clear()
    with suppress(InvalidStateError):  # nobody waits for it any more
        if error is None:
            ask.done.set_result(ask.vectors)
        else:
            ask.done.set_exception(error)
