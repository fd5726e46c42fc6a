"""Every stage of work in one table: where the read models show it, when it is over, what giving it up says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from contracts import topics
from contracts.controls import Claim, Control
from contracts.documents import View
from contracts.envelope import Event, derived_id, make
from contracts.ports import Controls
from functions.assemble_dataset import handler as assembly
from functions.assemble_dataset import work as assemble
from functions.benchmark_model import handler as benchmarking
from functions.benchmark_model import work as benchmark
from functions.chunk_text import handler as chunking
from functions.chunk_text import work as chunk
from functions.extract_text import handler as extraction
from functions.extract_text import work as extract
from functions.extract_zip import handler as unpacking
from functions.extract_zip import work as unpack
from functions.plan_corpus import handler as planning
from functions.plan_corpus import work as plan
from functions.prepare_job import handler as preparation
from functions.prepare_job import work as prepare
from functions.synthesize_examples import handler as synthesis
from functions.synthesize_examples import work as synthesize
from functions.train_model import handler as training
from functions.train_model import outcome
from functions.validate_file import handler as validation
from functions.validate_file import work as validate
from infra.adapters.kafka.reliable import OnFailure

About = Callable[[Event], tuple[str, Mapping[str, Any]]]
"""Event → (subject, inputs) of the control document of what it should have led to."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A stage as it is seen from outside."""

    model: str
    """The read model whose documents it works on."""
    over: Callable[[View], bool]
    """Whether such a document shows that the stage has done its part, or has none in it any more."""
    exhausted: Callable[[Claim, str], Sequence[Event]]
    """(claim, why) → the final events of what could not be done."""
    suffix: str = ""
    """What the control document's id has after the document's own."""


STAGES: Mapping[str, Shown] = {
    validation.STAGE: Shown(
        "files", lambda file: file["status"] != "uploaded" and not file["archive"], validate.exhausted
    ),
    unpacking.STAGE: Shown("archives", lambda archive: _said(archive, "extracted"), unpack.exhausted),
    extraction.STAGE: Shown("documents", lambda document: document["path"] is not None, extract.exhausted),
    chunking.STAGE: Shown("documents", lambda document: bool(document["cut"]), chunk.exhausted, "/chunks"),
    planning.STAGE: Shown("archives", lambda archive: _said(archive, "planned"), plan.exhausted, "/plan"),
    synthesis.STAGE: Shown("documents", lambda document: bool(document["made"]), synthesize.exhausted, "/examples"),
    assembly.STAGE: Shown("archives", lambda archive: _said(archive, "assembled"), assemble.exhausted, "/dataset"),
    preparation.STAGE: Shown("jobs", lambda job: bool(job["ended"]), prepare.exhausted),
    training.STAGE: Shown("jobs", lambda job: bool(job["ended"]), outcome.exhausted),
    benchmarking.STAGE: Shown("benchmarks", lambda each: bool(each["ended"]), benchmark.exhausted),
}


def _said(archive: View, what: str) -> bool:
    return archive[what] is not None or archive["failed"] is not None


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Ends what crashes keep from being done, with what its stage says when it is exhausted."""

    controls: Controls
    publish: Callable[[Control], Awaitable[None]]

    async def __call__(self, stage: str, subject: str, tenant: str, inputs: Mapping[str, Any], why: str) -> None:
        """End it, unless somebody is at work on it: that ends by itself; may be repeated."""
        control = await self.controls.open(subject, tenant, stage, inputs, ready=False)
        if control.ready and not control.ended:
            return
        if not control.ended:
            claim = Claim(replace(control, inputs={**inputs, **control.inputs}), control.fence, "")
            control = await self.controls.end(subject, STAGES[stage].exhausted(claim, why))
        await self.publish(control)

    def on_failure(self, stage: str, about: Mapping[str, About]) -> OnFailure:
        """Return what tells whoever waits for `stage` that the handler of one of these topics crashed."""

        async def tell(event: Event, why: str) -> None:
            if event.type in about:
                subject, inputs = about[event.type](event)
                await self(stage, subject, event.tenant, {"event_id": event.id, **inputs}, why)

        return tell


def itself(event: Event) -> tuple[str, Mapping[str, Any]]:
    """Say that the event's own subject is worked on."""
    return event.subject, {}


def of_archive(stage: str) -> About:
    """Return what says that the event's archive is worked on in `stage`."""

    def about(event: Event) -> tuple[str, Mapping[str, Any]]:
        archive = getattr(event.data, "archive", event.subject)
        return archive + STAGES[stage].suffix, {"archive": archive}

    return about


def said_again(view: View, topic: str, data: Mapping[str, Any]) -> Event:
    """Return what was said of a thing once more, from its read model."""
    found = topics.named(topic)
    assert found is not None
    payload = found.payload.model_validate(data)
    return make(payload, subject=view["id"], tenant=view["tenant"], id=derived_id(view["id"], topic))
