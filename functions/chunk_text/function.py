"""Cutting of texts into chunks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from contracts.envelope import Event
from contracts.function import LIGHT, Function, Reaction, Stage, places
from contracts.ports import BaseModels, Blobs, Child, Lease
from functions.chunk_text import handler, work
from functions.chunk_text.settings import ChunkSettings


async def cut(
    lease: Lease, blobs: Blobs, child: Child, scratch: Path, base_models: BaseModels, settings: ChunkSettings
) -> Sequence[Event]:
    """Cut one document, in the tokens of the target model."""
    async with base_models.tokenizer(settings.target_model) as tokenizer:
        return await work.work(lease, blobs, child, scratch, tokenizer, settings.chunk_tokens, settings.chunk_overlap)


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
