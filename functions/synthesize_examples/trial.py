"""Who writes an archive's questions: the first of its chain that can, found out once, with a verdict on each."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel, ConfigDict

from contracts.blobs import BlobRef
from contracts.canonical import sha256
from contracts.corpus import Chunks, PlannedChunk, Text
from contracts.events.corpus import Generator, Tried, Writer
from contracts.ports import BlobExistsError, BlobMismatchError, BlobNotFoundError, Blobs, Lease, RefusedError, SlowError
from contracts.replies import AwayError, Patience, Pause, Replies, spent
from functions.synthesize_examples import prompts
from functions.synthesize_examples.asking import Author, Proposal, Timed, propose
from functions.synthesize_examples.core import ExampleSelection, Origin, Place, places
from functions.synthesize_examples.pace import FIRST, LONGEST, long, measured, sized

CHUNKS = 10
"""A base is tried with."""
ENDPOINT_SECONDS, BASE_SECONDS = 60.0, 30.0
"""Within which a request should end: our own serving answers others, too."""
_GAIN = 2.0
"""What a batch answers in the time of one request, at least."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Who may write, in order, and by what a target model is judged."""

    authors: Sequence[Author] = ()
    rules: bool = True
    """Whether rules write where none of them can; without them, whoever comes last is not judged."""
    share: float = 0.5
    """Of a base's questions that must pass the checks."""
    probe_seconds: float = 60.0
    """The most that it is tried for, and before that waited for until it is loaded."""
    base_seconds: float = 3600.0
    """The most that all of its questions may take."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Of the archive: one of its documents finds out, the others wait."""


class Choice(BaseModel):
    """Who writes; recorded with the archive, then with each document."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    generator: Generator
    model: str = ""
    writer: Writer | None = None
    form: int = 0
    """Of requests: the first that is not refused."""
    rate: float | None = None
    """Tokens a second, where somebody measured it."""
    tried: tuple[Tried, ...] = ()
    able: bool = True
    """Whether anybody writes at all."""

    def author(self, chain: Chain) -> Author | None:
        """Return whom the chain has of that name, None where it is not there any more."""
        named = (each for each in chain.authors if self.writer in (None, each.writer))
        return next((each for each in named if each.generator == self.generator), None)


@dataclass(frozen=True, slots=True)
class Trial:
    """What is needed to find out."""

    lease: Lease
    blobs: Blobs
    prefix: str
    """`{tenant}/{archive}`."""
    chain: Chain
    patience: Patience
    pause: Pause


async def choose(trial: Trial) -> Choice:
    """Return who writes, as one of the archive's documents found out; raises AwayError, RefusedError."""
    if not trial.chain.authors:
        return Choice(generator="extractive", able=trial.chain.rules)
    key = f"{trial.prefix}/generator.json"
    async with trial.chain.lock:
        found = await _chosen(trial.blobs, key)
        if found is None:
            found = await _first_able(trial)
            try:
                await trial.blobs.put(key, found.model_dump_json().encode(), "application/json", exclusive=True)
            except BlobExistsError:  # another process was faster; what is recorded is used
                found = await _chosen(trial.blobs, key) or found
    return found


async def _chosen(blobs: Blobs, key: str) -> Choice | None:
    try:
        return Choice.model_validate_json(await blobs.get(key))
    except BlobNotFoundError:
        return None


async def _first_able(trial: Trial) -> Choice:
    chain, tried = trial.chain, list[Tried]()
    sample, rows = await _sample(trial)
    for author in chain.authors:
        last = author is chain.authors[-1] and not chain.rules
        verdict, form, rate = await _try(trial, author, sample, rows, last)
        tried.append(verdict)
        made = Choice(
            generator=author.generator,
            model=author.generate.model,
            writer=author.writer,
            form=form,
            rate=rate,
            tried=tuple(tried),
            able=verdict.code == "taken",
        )
        if made.able or last:
            return made
    return Choice(generator="extractive", tried=tuple(tried))


async def _try(
    trial: Trial, author: Author, sample: Sequence[Place], rows: int, last: bool
) -> tuple[Tried, int, float | None]:
    """Return the verdict on an author, the form of request that it takes, and its rate."""
    base = author.writer == "base"
    limit = min(LONGEST, trial.chain.probe_seconds) if base else LONGEST
    timed = Timed(author, trial.lease, limit)
    patience = replace(trial.patience, attempts=min(1 if base else 2, trial.patience.attempts))
    replies = Replies(trial.blobs, f"{trial.prefix}/replies", timed, patience, trial.pause)
    try:
        if base:  # weights that have to be read first say nothing about its speed
            await replies.ask([prompts.first_word(timed.model)])
            timed.answers.clear()
        first = await propose(replies, author, sample[0], FIRST, tries=1)
        rate = measured(timed.answers[-1][0], FIRST, timed.answers[-1][1]) if timed.answers else None
        verdict = _too_slow(trial.chain, author, rate, rows, last)
        if verdict is None and base:
            left = trial.chain.probe_seconds - sum(seconds for _, seconds in timed.answers)
            verdict = await _probed(trial.chain, author, replies, sample, first, left, last)
    except AwayError as error:
        slow = isinstance(error.__cause__, SlowError)
        if not slow and not await spent(trial.lease, f"{author.writer}_away", trial.patience.outages):
            raise
        code, what = ("timed_out", "gave no whole answer in time") if slow else ("unavailable", "did not answer")
        return _said(author, code, f"{what} when it was asked for one question."), 0, None
    except RefusedError as error:
        if not base:
            raise
        return _said(author, "refused", f"refuses to be asked ({error.status})."), 0, None
    speed = "" if rate is None else f" It answers about {rate:.0f} tokens a second."
    return verdict or _said(author, "taken", f"writes the questions.{speed}"), replies.simplest, rate


def _said(author: Author, code: str, what: str, **counts: Any) -> Tried:
    model = author.generate.model[:256]
    return Tried(generator=author.generator, model=model, code=code, message=f"{author.name} {what}", **counts)


def _too_slow(chain: Chain, author: Author, rate: float | None, rows: int, last: bool) -> Tried | None:
    base = author.writer == "base"
    if sized(rate, 1, BASE_SECONDS if base else ENDPOINT_SECONDS) is None:
        return _said(author, "too_slow", f"is too slow: about {rate:.1f} tokens a second.")
    whole = long(rows, rate * _GAIN) if rate else 0.0
    if base and not last and whole > chain.base_seconds:
        what = f"is too slow: {rows} questions would take it about {whole / 60:.0f} minutes"
        return _said(author, "too_slow", f"{what}, and TEMPER_BASE_GENERATOR_SECONDS is {chain.base_seconds:g}.")
    return None


async def _probed(
    chain: Chain,
    author: Author,
    replies: Replies,
    sample: Sequence[Place],
    first: Proposal,
    seconds: float,
    last: bool,
) -> Tried:
    """Return the verdict on a base by its questions about the sample; stops as soon as it cannot be good any more."""
    results = [_checked(author, sample[0], first)]

    async def look(place: Place) -> Counter[str]:
        return _checked(author, place, await propose(replies, author, place, FIRST, tries=1))

    tasks = [asyncio.create_task(look(place)) for place in sample[1:]]
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            for done in asyncio.as_completed(tasks):
                results.append(await done)
                lost = sum(not result["kept"] for result in results)
                if not last and lost > len(sample) * (1 - chain.share):
                    break
    except TimeoutError:
        what = f"is too slow: it answered {len(results)} of {len(sample)} chunks within {chain.probe_seconds:g} s."
        if not last:
            return _said(author, "too_slow", what, asked=len(results), threshold=chain.share)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return _verdict(chain, author, results, last)


def _verdict(chain: Chain, author: Author, results: Sequence[Counter[str]], last: bool) -> Tried:
    failed = sum(results, Counter[str]())
    kept = failed.pop("kept", 0)
    share = kept / max(1, kept + failed.total())
    listed = ", ".join(f"{code} {count}" for code, count in sorted(failed.items()))
    what = f"was tried with {len(results)} chunks: {kept} of {kept + failed.total()} questions passed the checks"
    what += f" ({share:.0%}; {chain.share:.0%} needed{'; lost: ' if listed else ''}{listed})."
    code = "taken" if last or share >= chain.share else "weak"
    counts = {"asked": len(results), "kept": kept, "share": share, "threshold": chain.share}
    return _said(author, code, what, **counts, failed=dict(sorted(failed.items())))


def _checked(author: Author, place: Place, proposal: Proposal) -> Counter[str]:
    """Return `kept`, and reason → what was lost: questions, or the chunk where there are none."""
    if not proposal.candidates:
        return Counter([proposal.lack or "nothing_asked"])
    origin = Origin(author.generator, prompts.VERSION, author.generate.model, proposal.reply)
    examples = ExampleSelection([place]).choose(place, proposal.candidates, origin)
    return Counter(example.code or "kept" for example in examples)


async def _sample(trial: Trial) -> tuple[list[Place], int]:
    """Return chunks of the archive drawn by their ids, and how many rows are asked of all of it."""
    ref = BlobRef.model_validate(trial.lease.claim.control.inputs["plan"])
    plan = await trial.blobs.get(ref.key)
    if sha256(plan) != ref.sha256:
        raise BlobMismatchError(ref.key)
    drawn, rows = await asyncio.to_thread(_drawn, plan)
    found: dict[str, Place] = {}
    for document in sorted({item.document for item in drawn}):
        folder = f"{trial.prefix}/documents/{document}"
        text, chunks = await trial.blobs.get(f"{folder}/text.json"), await trial.blobs.get(f"{folder}/chunks.json")
        mine = [item for item in drawn if item.document == document]
        for place in await asyncio.to_thread(_places, mine, text, chunks):
            found[place.chunk.id] = place
    return [found[item.chunk] for item in drawn if item.chunk in found], rows


def _drawn(plan: bytes) -> tuple[list[PlannedChunk], int]:
    asked = [each for each in json.loads(plan)["chunks"] if each["rows"] > 0]
    order = sorted(asked, key=lambda each: hashlib.sha256(each["chunk"].encode()).hexdigest())
    return [PlannedChunk(**each) for each in order[:CHUNKS]], sum(each["rows"] for each in asked)


def _places(mine: Sequence[PlannedChunk], text: bytes, chunks: bytes) -> list[Place]:
    return places(mine, Chunks.model_validate_json(chunks), Text.model_validate_json(text).pages)
