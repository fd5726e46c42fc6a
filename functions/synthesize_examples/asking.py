"""Asking a generator: about chunks, about questions without their context; what it meets is noted while it happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from contracts.controls import TROUBLE
from contracts.corpus import Example
from contracts.events.corpus import Generator, Writer
from contracts.ports import BusyError, FaultyError, Generate, Lease, RefusedError, SlowError, UnavailableError
from contracts.replies import Replies, UnansweredError
from functions.synthesize_examples import prompts
from functions.synthesize_examples.core import Candidate, Place, closed_book
from functions.synthesize_examples.pace import LONGEST, Size
from functions.synthesize_examples.salvage import read_reply

Item = TypeVar("Item")
Result = TypeVar("Result")
Clock = Callable[[], float]

_FATAL = (401, 402, 403, 404, 405)
"""Refusals that concern the endpoint and not what it was asked."""
_WORDS = {
    "timed_out": "gave no whole answer in time",
    "faulty": "gave an answer that is none",
    "busy": "asked to be left alone for a while",
    "unavailable": "does not answer",
}


@dataclass(frozen=True, slots=True)
class Author:
    """A model that may be asked to write questions."""

    writer: Writer
    generate: Generate

    @property
    def generator(self) -> Generator:
        """What its rows are labelled with."""
        return "base" if self.writer == "base" else "endpoint"

    @property
    def more(self) -> Mapping[str, Any]:
        """What requests to it carry besides: our own serving says the same again."""
        return {"seed": 0} if self.writer == "base" else {}

    @property
    def name(self) -> str:
        """How sentences call it."""
        model = f"'{self.generate.model[:100]}'"
        if self.writer == "base":
            return f"The target model {model}"
        return f"The {'tenant' if self.writer == 'tenant_endpoint' else 'server'}'s endpoint with the model {model}"


class Timed:
    """The `Generate` port of an author who is waited for so long and no longer, and whose failures are noted."""

    def __init__(self, author: Author, lease: Lease, seconds: float = LONGEST, clock: Clock = time.monotonic) -> None:
        self._author, self._lease, self._clock = author, lease, clock
        self.limit = seconds
        self.answers: list[tuple[str, float]] = []
        """Text and seconds of each."""

    @property
    def model(self) -> str:
        """The name that requests carry."""
        return self._author.generate.model

    def another(self, model: str) -> Generate:
        """Return another model at the same endpoint, not waited for in this way."""
        return self._author.generate.another(model)

    async def __call__(self, body: Mapping[str, Any]) -> str:
        """Ask; raises as the port does."""
        began = self._clock()
        try:
            async with asyncio.timeout(self.limit):
                text = await self._author.generate(body)
        except TimeoutError:
            await self._note("timed_out", f" ({self.limit:.0f} s)")
            raise SlowError(
                "generator", f"the model's endpoint gave no whole answer within {self.limit:.0f} s"
            ) from None
        except UnavailableError as error:
            await self._note(_code(error))
            raise
        self.answers.append((text, self._clock() - began))
        return text

    async def _note(self, code: str, how: str = "") -> None:
        message = f"{self._author.name} {_WORDS[code]}{how}; it is asked again, or else somebody else writes."
        said = {"code": f"generator_{code}", "message": message}
        await self._lease.record(f"{TROUBLE}{self._author.writer}_{code}", said)


def _code(error: UnavailableError) -> str:
    for kind, code in ((SlowError, "timed_out"), (FaultyError, "faulty"), (BusyError, "busy")):
        if isinstance(error, kind):
            return code
    return "unavailable"


@dataclass(frozen=True, slots=True)
class Proposal:
    """What was proposed for a chunk."""

    candidates: Sequence[Candidate] = ()
    reply: str = ""
    lack: str = ""
    """Why nothing was: unanswered, unreadable, refused."""


async def propose(replies: Replies, author: Author, place: Place, size: Size, tries: int = 2) -> Proposal:
    """Return what an author says of a chunk, asked again when its reply cannot be read.

    Raises AwayError, and RefusedError for what concerns the author and not the chunk.
    """
    passage = prompts.Passage(place.path, place.chunk.heading, place.chunk.text)
    try:
        for again in range(tries):
            requests = prompts.pair_requests(author.generate.model, passage, size, bool(again), author.more)
            # our own serving would let the form without max_tokens fill the whole context
            said = await replies.ask(requests[: 3 if author.writer == "base" else 4])
            candidates = read_reply(said.text)
            if candidates is not None:
                return Proposal(candidates, said.key)
    except UnansweredError:
        return Proposal(lack="unanswered")
    except RefusedError as error:
        if error.status in _FATAL:
            raise
        return Proposal(lack="refused")
    return Proposal(lack="unreadable")


async def without_context(replies: Replies, model: str, examples: Sequence[Example], in_flight: int) -> list[Example]:
    """Return the examples with what a model says to each question that was kept, shown nothing else."""

    async def score(example: Example) -> Example:
        if example.code is not None:
            return example
        try:
            said = await replies.ask(prompts.closed_book_requests(model, example.question))
        except (UnansweredError, RefusedError):
            return example  # not known is no score, and no score is not 0
        return closed_book(example, said.text)

    return await each(examples, score, in_flight)


async def each(items: Iterable[Item], do: Callable[[Item], Awaitable[Result]], at_once: int) -> list[Result]:
    """Return what `do` makes of each item, in order; the first exception stops all."""
    results: dict[int, Result] = {}
    waiting = iter(enumerate(items))

    async def drain() -> None:
        for index, item in waiting:
            results[index] = await do(item)

    tasks = [asyncio.create_task(drain()) for _ in range(at_once)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [results[index] for index in sorted(results)]
