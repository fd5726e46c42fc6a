"""One running choice: its tokens, filled by the engine's thread and read by an event loop."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from functions.generate_text.lora import Adapter
from functions.generate_text.sampling import Chooser, Sampling


class EngineError(RuntimeError):
    """A request that the engine cannot run; the message says why."""


class OverloadedError(EngineError):
    """The queue is full or memory ran out; the same request may succeed later."""


class ConstraintError(EngineError):
    """An answer that cannot go on within what it is held to."""


def failure(error: BaseException) -> EngineError:
    """What those are told whose work `error` ended: its own words are for the log."""
    if isinstance(error, EngineError):
        return error
    # the CPU's allocator has no error class of its own
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        return OverloadedError("memory ran out while generating; try again in a few seconds")
    return EngineError("generating failed for a reason of the server's own")


@dataclass(frozen=True)
class Token:
    """One token and, when asked for, its log-probability and the likeliest alternatives (id, log-probability)."""

    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class Generation:
    """One running choice: an async iterator of the lists of tokens that became ready since the last look."""

    def __init__(
        self, prompt: Sequence[int], adapter: Adapter | None, sampling: Sampling, stream: bool, tenant: str = ""
    ) -> None:
        self.prompt = list(prompt)
        self.tenant = tenant
        self.adapter = adapter
        self.sampling = sampling
        self.chooser = Chooser(sampling)
        self.tokens: list[Token] = []
        """All tokens so far; complete once `finish` is set."""
        self.prompt_logprobs: list[Token | None] = []
        """The prompt's own tokens with logprobs, when asked for; the first has none."""
        self.finish: Literal["stop", "length"] | None = None
        self.cancelled = False
        self._stream = stream
        self._error: EngineError | None = None
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()

    @property
    def ids(self) -> list[int]:
        """Tokens of prompt and answer: what a prefill reads, the first or after a wait in between."""
        return self.prompt + [token.id for token in self.tokens]

    @property
    def whole(self) -> bool:
        """Whether the logprobs of the prompt are still to be computed, which needs logits at every position."""
        return self.sampling.prompt_logprobs and not self.prompt_logprobs

    @property
    def reserved(self) -> int:
        """Columns of the key-value buffer that it may come to need."""
        return len(self.prompt) + self.sampling.max_tokens

    @property
    def length(self) -> int:
        """Tokens of prompt and answer."""
        return len(self.prompt) + len(self.tokens)

    def cancel(self) -> None:
        """Stop the work: the row leaves the batch before the next step (event loop thread)."""
        self.cancelled = True
        self._ready.set()

    async def __aiter__(self) -> AsyncIterator[list[Token]]:
        seen = 0
        while True:
            await self._ready.wait()
            self._ready.clear()
            done = self.finish is not None
            if self._error is not None:
                raise self._error
            if len(self.tokens) > seen:
                fresh = self.tokens[seen:]
                seen += len(fresh)
                yield fresh
            if done or self.cancelled:
                return

    async def all(self) -> list[Token]:
        """Wait for the end; returns every token."""
        async for _ in self:
            pass
        return self.tokens

    def take(self, token: Token) -> bool:
        """File a token (engine thread); True when somebody waits for it."""
        self.tokens.append(token)
        self.chooser.took(token.id)
        if self.chooser.error:
            self._error = ConstraintError(f"the answer cannot be held to its form: {self.chooser.error[:200]}")
            self.finish = "stop"
        elif token.id in self.sampling.stop_ids or self.chooser.ended:
            self.finish = "stop"
        elif len(self.tokens) >= self.sampling.max_tokens:
            self.finish = "length"
        return self._stream or self.finish is not None

    def fail(self, error: "EngineError") -> None:
        """End with an error, unless it has ended (engine thread)."""
        if self.finish is None:
            self._error = error
            wake([self])

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that waits for this generation."""
        return self._loop

    def notify(self) -> None:
        """Wake whoever waits (event loop thread)."""
        self._ready.set()


def wake(generations: Sequence[Generation]) -> None:
    """Tell the event loops about new tokens: one call per loop and step, each costs a system call."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Generation]] = {}
    for generation in generations:
        by_loop.setdefault(generation.loop, []).append(generation)
    for loop, ready in by_loop.items():
        try:
            loop.call_soon_threadsafe(_notify, ready)
        except RuntimeError:  # the loop is closed: nobody waits any more
            for generation in ready:
                generation.cancelled = True


def _notify(generations: Sequence[Generation]) -> None:
    for generation in generations:
        generation.notify()
