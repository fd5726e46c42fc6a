"""Making of rows from documents."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.controls import EXAMPLES
from contracts.envelope import Event
from contracts.function import Function, Places, Reaction, Stage
from contracts.ports import Blobs, Documents, Lease
from functions._shared.settings import asked_of
from functions.synthesize_examples import handler, work
from functions.synthesize_examples.generators import Generators
from functions.synthesize_examples.settings import GeneratorSettings


async def ask(lease: Lease, blobs: Blobs, generators: Generators, documents: Documents) -> Sequence[Event]:
    """Make rows of one document, by whoever was asked for, or else the first that can."""
    control = lease.claim.control
    asked = await asked_of(documents, control.inputs["archive"])
    target = await generators.target(asked.get("target_model"))
    chain = generators.chain(control.tenant, control.inputs["archive"], target, asked.get("generator"))
    return await work.work(lease, blobs, chain, generators.examined(target, asked.get("closed_book")))


def places(generators: Generators) -> Places:
    """Return how many documents are asked about at the same time."""
    return generators.places


FUNCTION = Function(
    name="synthesize_examples",
    role="worker",
    of_files=True,
    reactions=(Reaction(("corpus.planned",), handler.on_corpus_planned, fails="assemble_dataset"),),
    stages=(
        Stage(
            name=handler.STAGE,
            model="documents",
            over=lambda document: bool(document["made"]),
            work=ask,
            exhausted=work.exhausted,
            suffix=EXAMPLES,
            places=places,
        ),
    ),
    retakes={"archives": handler.retake},
    settings=GeneratorSettings,
    provides={"generators": Generators},
)
