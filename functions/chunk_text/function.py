"""Cutting of texts into chunks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from contracts.envelope import Event
from contracts.function import LIGHT, Function, Reaction, Stage, places
from contracts.ports import BaseModels, Blobs, Child, Documents, Lease
from functions._shared.settings import asked_of
from functions.chunk_text import handler, work
from functions.chunk_text.settings import ChunkSettings


async def cut(
    lease: Lease,
    blobs: Blobs,
    child: Child,
    scratch: Path,
    base_models: BaseModels,
    documents: Documents,
    settings: ChunkSettings,
) -> Sequence[Event]:
    """Cut one document, in the tokens of the target model, by what was asked of it before the server's settings."""
    asked = await asked_of(documents, lease.claim.control.inputs["archive"])
    size = asked.get("chunk_tokens", settings.chunk_tokens)
    overlap = asked.get("chunk_overlap", min(settings.chunk_overlap, size // 4))
    async with base_models.tokenizer(asked.get("target_model", settings.target_model)) as tokenizer:
        return await work.work(lease, blobs, child, scratch, tokenizer, size, min(overlap, size - 1))


FUNCTION = Function(
    name="chunk_text",
    role="worker",
    of_files=True,
    reactions=(Reaction(("document.extracted",), handler.on_document_extracted, fails=handler.STAGE),),
    stages=(
        Stage(
            name=handler.STAGE,
            model="documents",
            over=lambda document: bool(document["cut"]),
            work=cut,
            exhausted=work.exhausted,
            suffix="/chunks",
            places=places(2),
        ),
    ),
    retakes={"archives": handler.retake},
    children={work.CUT: LIGHT},
    settings=ChunkSettings,
)
