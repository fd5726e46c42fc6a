"""Rows of one document under a lease: asked of an endpoint or made by rule, checked, stored, said in one event."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from contracts.blobs import BlobRef
from contracts.canonical import sha256
from contracts.controls import Claim, Control
from contracts.corpus import Chunks, Example, PlannedChunk, Text
from contracts.envelope import Event, derived_id, make
from contracts.events.corpus import ExamplesFailed, ExamplesSynthesized, Generator
from contracts.ports import BlobMismatchError, Blobs, Generate, Lease, RefusedError
from contracts.replies import Patience, Pause, Replies, UnansweredError, wait_out
from functions.synthesize_examples import extractive, prompts
from functions.synthesize_examples.core import Candidate, ExampleSelection, Origin, Place, closed_book, places
from functions.synthesize_examples.extractive import Extractor
from functions.synthesize_examples.language import Language
from functions.synthesize_examples.languages import LANGUAGES, language_of
from functions.synthesize_examples.salvage import read_reply

Item = TypeVar("Item")
Result = TypeVar("Result")

BASE_IN_FLIGHT = 16
"""Questions without context at the same time: they are short, and the platform's own serving batches them."""
NO_RULES = "no_rules_for_language"
_FATAL = (401, 402, 403, 404, 405)
"""Refusals that concern the endpoint and not what it was asked."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What was proposed for a chunk."""

    candidates: Sequence[Candidate] = ()
    reply: str = ""
    lack: str = ""
    """Why nothing was: unanswered, unreadable, refused."""


NO_ENDPOINT = "The generator 'endpoint' was asked for, and none is configured. Configure TEMPER_GENERATOR_URL."


async def work(
    lease: Lease,
    blobs: Blobs,
    generate: Generate | None = None,
    base: Generate | None = None,
    patience: Patience | None = None,
    pause: Pause = asyncio.sleep,
    needs_endpoint: bool = False,
) -> list[Event]:
    """Return `examples.synthesized` or `examples.failed` for the document that `lease` holds.

    The subject is `{document}/examples`; the inputs are `event_id` (of corpus.planned), `archive` and `plan` (BlobRef).
    `generate` writes the questions, rules do without it unless one was asked for (`needs_endpoint`); `base` is asked
    each question without its context, where given.
    Raises UnavailableError when an endpoint is away: what it answered is recorded and not asked again.
    """
    control = lease.claim.control
    document, archive = control.subject.rpartition("/")[0], str(control.inputs["archive"])
    prefix = f"{control.tenant}/{archive}"
    patience = patience or Patience()
    text, planned = await _load(blobs, f"{prefix}/documents/{document}", control)
    if needs_endpoint and generate is None:
        return [_failed(control, "generator_unavailable", NO_ENDPOINT)]
    chosen = {"generator": "endpoint" if generate else "extractive", "model": generate.model if generate else ""}
    chosen = await lease.record("generator", chosen)
    language, lacks = "", Counter[str]()
    if chosen["generator"] == "extractive":
        language = await asyncio.to_thread(language_of, [place.chunk for place in planned])
        if language not in LANGUAGES:
            return [_failed(control, NO_RULES, _no_rules(language, len(planned)), language)]
        examples = await asyncio.to_thread(_by_rule, text, planned, LANGUAGES[language])
    elif generate is None:
        message = f"The endpoint with the model {chosen['model'][:100]} is no longer configured. Configure it again."
        return [_failed(control, "generator_unavailable", message)]
    else:
        replies = Replies(blobs, f"{prefix}/replies", generate, patience, pause)
        try:
            proposals = await wait_out(lease, "generator", replies, patience, lambda: _ask_all(
                replies, chosen["model"], planned, patience.in_flight
            ))  # fmt: skip
        except RefusedError as error:
            message = f"{error}. Check its address, key and model, and create the data set again."
            return [_failed(control, "generator_refused", message)]
        examples = await asyncio.to_thread(_examine, planned, proposals, chosen["model"])
        lacks = Counter(proposal.lack for proposal in proposals if proposal.lack)
    if base is not None:
        asked = Replies(blobs, f"{prefix}/replies", base, patience, pause)
        examples = await _also_bare(lease, asked, patience, base.model, examples)
    lines = b"".join(example.model_dump_json().encode() + b"\n" for example in examples)
    blob = await blobs.put(f"{prefix}/documents/{document}/examples.jsonl", lines, "application/jsonl")
    return [_verdict(control, examples, blob, chosen["generator"], len(planned), lacks, language)]


async def _also_bare(
    lease: Lease, asked: Replies, patience: Patience, model: str, examples: Sequence[Example]
) -> list[Example]:
    """Return the examples with what the base says to each question without its context."""

    async def ask() -> list[Example]:
        return await _without_context(asked, model, examples, BASE_IN_FLIGHT)

    return await wait_out(lease, "base", asked, patience, ask)


def _event(control: Control, data: ExamplesSynthesized | ExamplesFailed) -> Event:
    document = control.subject.rpartition("/")[0]
    return make(
        data,
        subject=document,
        tenant=control.tenant,
        id=derived_id(document, "examples"),
        cause=control.inputs["event_id"],
    )


def _failed(control: Control, code: str, message: str, language: str = "") -> Event:
    archive = control.inputs["archive"]
    return _event(control, ExamplesFailed(archive=archive, code=code, message=message, language=language))


def _no_rules(language: str, chunks: int) -> str:
    return (
        f"The document is in the language '{language}', for which there are no rules that write questions, so "
        f"that its "
        f"{chunks} chunks have none. Name an endpoint that writes them: TEMPER_GENERATOR_URL."
    )


def _verdict(
    control: Control,
    examples: Sequence[Example],
    blob: BlobRef,
    generator: Generator,
    chunks: int,
    lacks: Counter[str],
    language: str,
) -> Event:
    kept = [example for example in examples if example.code is None]
    if kept:
        data = ExamplesSynthesized(
            archive=control.inputs["archive"],
            examples=blob,
            generator=generator,
            kept=len(kept),
            rejected=len(examples) - len(kept),
            covered=len({example.chunk for example in kept}),
            language=language,
        )
        return _event(control, data)
    if lacks["unanswered"]:
        message = f"The generator's endpoint left {lacks['unanswered']} of {chunks} chunks unanswered. Try again later."
        return _failed(control, "generator_unavailable", message)
    reasons = Counter(str(example.code) for example in examples) + lacks
    listed = ", ".join(f"{code} {count}" for code, count in sorted(reasons.items())) or "no sentence fits a rule"
    message = f"No question about the document's {chunks} chunks was good enough ({listed})."
    return _failed(control, "no_examples", message, language)


async def _load(blobs: Blobs, folder: str, control: Control) -> tuple[Text, list[Place]]:
    ref = BlobRef.model_validate(control.inputs["plan"])
    plan = await blobs.get(ref.key)
    if sha256(plan) != ref.sha256:
        raise BlobMismatchError(ref.key)
    text, chunks = await blobs.get(f"{folder}/text.json"), await blobs.get(f"{folder}/chunks.json")
    return await asyncio.to_thread(_parse, plan, text, chunks)


def _parse(plan: bytes, text: bytes, chunks: bytes) -> tuple[Text, list[Place]]:
    cut, read = Chunks.model_validate_json(chunks), Text.model_validate_json(text)
    # Of the whole archive's plan only this document's part is validated.
    mine = [PlannedChunk(**item) for item in json.loads(plan)["chunks"] if item["document"] == cut.document]
    return read, places(mine, cut, read.pages)


def _by_rule(text: Text, planned: Sequence[Place], language: Language) -> list[Example]:
    selection, extractor = ExampleSelection(planned), Extractor(text, language)
    origin = Origin("extractive", extractive.VERSION)
    return [example for place in planned for example in selection.choose(place, extractor.candidates(place), origin)]


def _examine(planned: Sequence[Place], proposals: Sequence[Proposal], model: str) -> list[Example]:
    selection = ExampleSelection(planned)
    return [
        example
        for place, proposal in zip(planned, proposals, strict=True)
        for example in selection.choose(
            place, proposal.candidates, Origin("endpoint", prompts.VERSION, model, proposal.reply)
        )
    ]


async def _ask_all(replies: Replies, model: str, planned: Sequence[Place], in_flight: int) -> list[Proposal]:
    async def propose(place: Place) -> Proposal:
        try:
            for again in (False, True):
                requests = prompts.pair_requests(
                    model, place.path, place.chunk.heading, place.chunk.text, place.planned.rows, again
                )
                said = await replies.ask(requests)
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

    return await _each(planned, propose, in_flight)


async def _without_context(replies: Replies, model: str, examples: Sequence[Example], in_flight: int) -> list[Example]:
    async def score(example: Example) -> Example:
        if example.code is not None:
            return example
        try:
            said = await replies.ask(prompts.closed_book_requests(model, example.question))
        except (UnansweredError, RefusedError):
            return example  # not known is no score, and no score is not 0
        return closed_book(example, said.text)

    return await _each(examples, score, in_flight)


async def _each(items: Iterable[Item], do: Callable[[Item], Awaitable[Result]], at_once: int) -> list[Result]:
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


def exhausted(claim: Claim, why: str) -> list[Event]:
    """Return the ending of a document of which rows could not be made, for too many failures of the platform's own."""
    message = f"No rows could be made, for a reason of the platform's own: {why}. Create the data set again."
    return [_failed(claim.control, "synthesis_failed", message)]
