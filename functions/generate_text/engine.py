"""The generating loop: token ids in, token ids out, every request of one base model in one running batch.

One thread owns the models. Between two decode steps requests join (they are prefilled and merged into the batch) and
leave (finished or cancelled). It knows torch, transformers and LoRA folders; no tokenizer, no HTTP, no store.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from functions.generate_text.batch import Base, BatchLimits, Statistics
from functions.generate_text.generation import EngineError, Generation, OverloadedError, Token
from functions.generate_text.lora import Adapter, AdapterError, load_adapter
from functions.generate_text.sampling import Sampling

__all__ = ["AdapterError", "BatchLimits", "Engine", "EngineError", "Generation", "OverloadedError", "Sampling", "Token"]

log = logging.getLogger(__name__)
T = TypeVar("T")


class Engine:
    """The loop's thread and the models it holds; every method may be called from any thread."""

    def __init__(
        self, device: str = "auto", limits: BatchLimits | None = None, threads: int = 0, dtype: str = "auto"
    ) -> None:
        """`dtype` auto: on a processor float32, whose answers do not depend on the batch; elsewhere the model's own."""
        self.device = torch.device(pick_device(device))
        self.limits = limits or BatchLimits()
        self.statistics = Statistics()
        self._bases: dict[str, Base] = {}
        self._adapters: dict[str, tuple[str, Adapter]] = {}
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._threads, self._dtype = threads, dtype
        self._thread = threading.Thread(target=self._run, name="generate_text", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the loop after the step it is in; what still runs ends with EngineError."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def load_base(self, name: str, folder: Path) -> int:
        """Load a Hugging Face causal language model (safetensors, no remote code); returns its bytes in memory."""
        own: Any = torch.float32 if self.device.type == "cpu" else "auto"
        kind = own if self._dtype == "auto" else getattr(torch, self._dtype)
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=kind, local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
        odd = {*(getattr(model.config, "layer_types", None) or ())} - {"full_attention", "sliding_attention"}
        if odd:
            raise EngineError(f"models with layers of type {', '.join(sorted(odd))} are not served")
        base = Base(model.to(self.device).eval().requires_grad_(False), self.limits)
        with self._changed:
            base = self._bases.setdefault(name, base)  # one that is there already may be running
        return base.bytes

    def load_adapter(self, name: str, base: str, folder: Path) -> int:
        """Load a LoRA folder for a loaded base; returns its bytes in memory. AdapterError if the two do not match."""
        owner = self._bases[base]
        adapter = load_adapter(name, folder, owner.device, owner.dtype)
        owner.mixer.check(adapter)
        with self._changed:
            self._adapters[name] = (base, adapter)
        return adapter.bytes

    def unload(self, name: str) -> None:
        """Forget a base or an adapter; requests that use it must have ended."""
        with self._changed:
            self._bases.pop(name, None)
            self._adapters.pop(name, None)

    def submit(
        self,
        base: str,
        adapter: str | None,
        prompt: Sequence[int],
        sampling: Sampling,
        *,
        stream: bool = True,
        tenant: str = "",
    ) -> Generation:
        """Queue one choice (inside a running event loop); without `stream` its tokens are told at the end only.

        Tenants take turns.
        """
        if not prompt:
            raise EngineError("a prompt needs at least one token")
        if not 0 <= min(prompt) <= max(prompt) < self.vocabulary(base):
            raise EngineError("a prompt's token is not in the model's vocabulary")
        with self._changed:
            if self._closing:
                raise _closed()
            owner = self._bases[base]
            used = self._adapters[adapter][1] if adapter is not None else None
            generation = Generation(prompt, used, sampling, stream, tenant)
            owner.waiting.add(generation)
            self._changed.notify()
        return generation

    def vocabulary(self, base: str) -> int:
        """Token ids that a loaded base has embeddings for."""
        return int(self._bases[base].model.get_input_embeddings().num_embeddings)

    def nonfinite(self, name: str) -> str | None:
        """The first tensor of a loaded base or adapter that holds NaN or infinity, or None."""
        if name in self._adapters:
            tensors = enumerate(self._adapters[name][1].tensors())
            return next((f"adapter matrix {i}" for i, t in tensors if not bool(t.isfinite().all())), None)
        named = self._bases[name].model.named_parameters()
        return next((label for label, t in named if not bool(t.isfinite().all())), None)

    def logits(self, base: str, adapter: str | None, ids: Sequence[int]) -> Tensor:
        """Logits [positions, vocabulary] of one plain forward, run between two steps."""

        def forward() -> Tensor:
            owner = self._bases[base]
            owner.mixer.route([self._adapters[adapter][1] if adapter is not None else None])
            row = torch.tensor([list(ids)])
            return owner.forward(row, torch.ones_like(row), None, keep=0)[0].cpu()

        return self._call(forward)

    def state(self) -> dict[str, Any]:
        """Counts for /healthz and tests: queue, running rows, batch sizes seen."""
        with self._changed:
            bases = list(self._bases.values())
            s = self.statistics
            return {
                "alive": self._thread.is_alive(),
                "device": str(self.device),
                "bases": len(self._bases),
                "adapters": len(self._adapters),
                "queue": sum(len(b.waiting) for b in bases),
                "running": sum(len(b.running) + len(b.joining) for b in bases),
                "steps": s.steps,
                "tokens": s.tokens,
                "prefills": s.prefills,
                "mixed_steps": s.mixed_steps,
                "cancelled": s.cancelled,
                "put_back": s.put_back,
                "decided_alone": s.decided_alone,
                "largest_batch": max(s.rows.copy(), default=0),
                "batch_sizes": {str(size): count for size, count in sorted(s.rows.copy().items())},
            }

    def _call(self, work: Callable[[], T]) -> T:
        """Run `work` on the engine's thread between two steps, and wait for its result."""
        future: Future[T] = Future()
        with self._changed:
            if self._closing:
                raise _closed()
            self._calls.append((work, future))
            self._changed.notify()
        return future.result()

    def _run(self) -> None:
        if self._threads:
            torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                while self._round():
                    pass
        finally:  # whatever ended it, nobody may wait for ever
            with self._changed:
                self._closing = True
                calls, bases = list(self._calls), list(self._bases.values())
            for base in bases:
                base.close(_closed())
            for _, future in calls:
                future.set_exception(_closed())

    def _round(self) -> bool:
        """Do what was called for, then one step of every base that has something to do; False once it was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._calls or self._busy())
            busy = self._busy()
            if self._closing:
                return False
        while self._calls:
            work, future = self._calls.popleft()
            try:
                future.set_result(work())
            except BaseException as error:  # it is raised where the result is waited for
                future.set_exception(error)
                if not isinstance(error, Exception):
                    raise
        for base in busy:
            try:
                base.step(self.statistics)
            except Exception as error:
                log.exception("a generation step failed; its %d requests end", len(base.running) + len(base.joining))
                base.fail(error)
        return True

    def _busy(self) -> list[Base]:
        return [base for base in self._bases.values() if base.waiting or base.running]


def _closed() -> EngineError:
    return EngineError("the engine was closed")


def pick_device(name: str) -> str:
    """`auto` is the first GPU where there is one, else the CPU."""
    return name if name != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
