"""Making of rows from documents."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.envelope import Event
from contracts.function import Function, Places, Reaction, Stage
from contracts.ports import Blobs, Lease
from functions.synthesize_examples import handler, work
from functions.synthesize_examples.generators import Generators
from functions.synthesize_examples.settings import GeneratorSettings


async def ask(lease: Lease, blobs: Blobs, generators: Generators) -> Sequence[Event]:
    """Make rows of one document, by whoever writes its tenant's questions."""
    return await work.work(lease, blobs, generators.of(lease.claim.control.tenant), await generators.base())


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
            suffix="/examples",
            places=places,
        ),
    ),
    retakes={"archives": handler.retake},
    settings=GeneratorSettings,
    provides={"generators": Generators},
)
