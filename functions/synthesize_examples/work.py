"""Rows of one document under a lease: asked of whoever can write them or made by rule, checked, said in one event."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from contracts.blobs import BlobRef
from contracts.canonical import sha256
from contracts.controls import Claim, Control
from contracts.corpus import Chunks, Example, PlannedChunk, Text
from contracts.envelope import Event, derived_id, make
from contracts.events.corpus import ExamplesFailed, ExamplesSynthesized, Tried
from contracts.ports import BlobMismatchError, Blobs, Generate, Lease, RefusedError
from contracts.replies import Patience, Pause, Replies, wait_out
from functions.synthesize_examples import extractive, prompts
from functions.synthesize_examples.asking import Author, Proposal, Timed, each, propose, without_context
from functions.synthesize_examples.core import ExampleSelection, Origin, Place, places
from functions.synthesize_examples.extractive import Extractor
from functions.synthesize_examples.language import Language
from functions.synthesize_examples.languages import LANGUAGES, language_of
from functions.synthesize_examples.pace import FIRST, sized
from functions.synthesize_examples.trial import BASE_SECONDS, ENDPOINT_SECONDS, Chain, Choice, Trial, choose

BASE_IN_FLIGHT = 16
"""Questions without context at the same time: they are short, and the platform's own serving batches them."""
NO_RULES = "no_rules_for_language"
NOBODY = "Nobody of whom the questions were asked for is there: {}. Configure TEMPER_GENERATOR_URL, or ask for others."


@dataclass(slots=True)
class _Written:
    """What there is of a document's questions."""

    choice: Choice
    examples: Sequence[Example] = ()
    lacks: Counter[str] = field(default_factory=Counter)
    """Why chunks have none."""
    tried: tuple[Tried, ...] = ()
    language: str = ""


async def work(
    lease: Lease,
    blobs: Blobs,
    chain: Chain | None = None,
    base: Generate | None = None,
    patience: Patience | None = None,
    pause: Pause = asyncio.sleep,
) -> list[Event]:
    """Return `examples.synthesized` or `examples.failed` for the document that `lease` holds.

    The subject is `{document}/examples`; the inputs are `event_id` (of corpus.planned), `archive` and `plan` (BlobRef).
    The first of `chain` that can writes the questions, for all documents of the archive; `base` is asked each question
    without its context, where given.
    Raises UnavailableError when an endpoint is away: what it answered is recorded and not asked again.
    """
    control = lease.claim.control
    document, archive = control.subject.rpartition("/")[0], str(control.inputs["archive"])
    prefix = f"{control.tenant}/{archive}"
    trial = Trial(lease, blobs, prefix, chain or Chain(), patience or Patience(), pause)
    text, planned = await _load(blobs, f"{prefix}/documents/{document}", control)
    try:
        written = await _write(trial, text, planned)
    except RefusedError as error:
        message = f"{error}. Check its address, key and model, and create the data set again."
        return [_failed(control, "generator_refused", message)]
    if isinstance(written, ExamplesFailed):
        return [_event(control, written)]
    if base is not None:
        asked = Replies(blobs, f"{prefix}/replies", base, trial.patience, pause)
        written.examples = await _also_bare(lease, asked, trial.patience, base.model, written.examples)
    lines = b"".join(example.model_dump_json().encode() + b"\n" for example in written.examples)
    blob = await blobs.put(f"{prefix}/documents/{document}/examples.jsonl", lines, "application/jsonl")
    return [_verdict(control, written, blob, len(planned))]


async def _write(trial: Trial, text: Text, planned: Sequence[Place]) -> _Written | ExamplesFailed:
    """Return the document's questions by whoever was chosen, or by rules where nothing of it could be used."""
    known = trial.lease.claim.control.recorded.get("generator")
    chosen = known or (await choose(trial)).model_dump(mode="json")
    choice = Choice.model_validate(await trial.lease.record("generator", chosen))
    archive = trial.lease.claim.control.inputs["archive"]
    if not choice.able:
        code = choice.tried[-1].code if choice.tried else "unavailable"
        said = " ".join(each.message for each in choice.tried) or NOBODY.format("no endpoint is configured")
        code = "generator_unavailable" if code == "timed_out" else f"generator_{code}"
        return ExamplesFailed(archive=archive, code=code, message=said, tried=choice.tried)
    written = _Written(choice, tried=choice.tried)
    if choice.generator != "extractive":
        author = choice.author(trial.chain)
        if author is None:
            message = f"The {choice.generator} with the model {choice.model[:100]} is no longer configured."
            said = f"{message} Configure it again."
            return ExamplesFailed(archive=archive, code="generator_unavailable", message=said, tried=choice.tried)
        await _by_author(trial, author, written, planned)
        if not trial.chain.rules or written.lacks.total() < len(planned):
            return written
        written.tried = (*written.tried, _fell(author, written.lacks))
    return await asyncio.to_thread(_by_rules, written, archive, text, planned)


async def _by_author(trial: Trial, author: Author, written: _Written, planned: Sequence[Place]) -> None:
    """Ask the author about all chunks, each in requests of a size that it ends in time."""
    choice, patience, most = written.choice, trial.patience, max(place.planned.rows for place in planned)
    seconds = BASE_SECONDS if author.writer == "base" else ENDPOINT_SECONDS
    sizes = {rows: sized(choice.rate, rows, seconds) or FIRST for rows in range(1, most + 1)}
    timed = Timed(author, trial.lease, max(size.seconds for size in sizes.values()))
    replies = Replies(trial.blobs, f"{trial.prefix}/replies", timed, patience, trial.pause, choice.form)

    async def ask(place: Place) -> Proposal:
        return await propose(replies, author, place, sizes[place.planned.rows])

    async def ask_all() -> list[Proposal]:
        return await each(planned, ask, patience.in_flight)

    proposals = await wait_out(trial.lease, "generator", replies, patience, ask_all)
    written.examples = await asyncio.to_thread(_examine, author, planned, proposals)
    written.lacks = Counter(proposal.lack for proposal in proposals if proposal.lack)


def _fell(author: Author, lacks: Counter[str]) -> Tried:
    listed = ", ".join(f"{code} {count}" for code, count in sorted(lacks.items()))
    message = f"{author.name} left all chunks of a document without a question ({listed}); rules wrote instead."
    model = author.generate.model[:256]
    return Tried(
        generator=author.generator, model=model, code="fell", message=message, asked=lacks.total(), failed=dict(lacks)
    )


def _by_rules(written: _Written, archive: str, text: Text, planned: Sequence[Place]) -> _Written | ExamplesFailed:
    written.choice = Choice(generator="extractive")
    written.language = language_of([place.chunk for place in planned])
    if written.language not in LANGUAGES:
        message = _no_rules(written.language, len(planned))
        language, tried = written.language, written.tried
        return ExamplesFailed(archive=archive, code=NO_RULES, message=message, language=language, tried=tried)
    written.examples, written.lacks = _by_rule(text, planned, LANGUAGES[written.language]), Counter()
    return written


async def _also_bare(
    lease: Lease, asked: Replies, patience: Patience, model: str, examples: Sequence[Example]
) -> list[Example]:
    """Return the examples with what the base says to each question without its context."""

    async def ask() -> list[Example]:
        return await without_context(asked, model, examples, BASE_IN_FLIGHT)

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


def _failed(control: Control, code: str, message: str, written: _Written | None = None) -> Event:
    archive = control.inputs["archive"]
    language, tried = (written.language, written.tried) if written else ("", ())
    return _event(control, ExamplesFailed(archive=archive, code=code, message=message, language=language, tried=tried))


def _no_rules(language: str, chunks: int) -> str:
    return (
        f"The document is in the language '{language}', for which there are no rules that write questions, so "
        f"that its "
        f"{chunks} chunks have none. Name an endpoint that writes them: TEMPER_GENERATOR_URL."
    )


def _verdict(control: Control, written: _Written, blob: BlobRef, chunks: int) -> Event:
    examples, lacks = written.examples, written.lacks
    kept = [example for example in examples if example.code is None]
    if kept:
        data = ExamplesSynthesized(
            archive=control.inputs["archive"],
            examples=blob,
            generator=written.choice.generator,
            kept=len(kept),
            rejected=len(examples) - len(kept),
            covered=len({example.chunk for example in kept}),
            language=written.language,
            tried=written.tried,
        )
        return _event(control, data)
    if lacks["unanswered"]:
        message = f"The generator's endpoint left {lacks['unanswered']} of {chunks} chunks unanswered. Try again later."
        return _failed(control, "generator_unavailable", message, written)
    reasons = Counter(str(example.code) for example in examples) + lacks
    listed = ", ".join(f"{code} {count}" for code, count in sorted(reasons.items())) or "no sentence fits a rule"
    message = f"No question about the document's {chunks} chunks was good enough ({listed})."
    return _failed(control, "no_examples", message, written)


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


def _examine(author: Author, planned: Sequence[Place], proposals: Sequence[Proposal]) -> list[Example]:
    selection, model = ExampleSelection(planned), author.generate.model
    return [
        example
        for place, proposal in zip(planned, proposals, strict=True)
        for example in selection.choose(
            place, proposal.candidates, Origin(author.generator, prompts.VERSION, model, proposal.reply)
        )
    ]


def exhausted(claim: Claim, why: str) -> list[Event]:
    """Return the ending of a document of which rows could not be made, for too many failures of the platform's own."""
    message = f"No rows could be made, for a reason of the platform's own: {why}. Create the data set again."
    return [_failed(claim.control, "synthesis_failed", message)]
