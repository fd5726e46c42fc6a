"""Reading of documents."""

from __future__ import annotations

from contracts.function import Function, Reaction, Stage, places
from functions.extract_text import handler, work

FUNCTION = Function(
    name="extract_text",
    role="worker",
    of_files=True,
    reactions=(
        Reaction(("zip.extracted",), handler.on_zip_extracted, fails="assemble_dataset"),
        Reaction(("document.uploaded",), handler.on_document_uploaded, fails="assemble_dataset"),
    ),
    stages=(
        Stage(
            name=handler.STAGE,
            model="documents",
            over=lambda document: document["path"] is not None,
            work=work.work,
            exhausted=work.exhausted,
            places=places(2),
        ),
    ),
    retakes={"archives": handler.retake},
    children={work.READ: "functions.extract_text.preload"},
)
