"""Assembly of data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from contracts.blobs import BlobRef
from contracts.envelope import Event
from contracts.function import NUMERIC, Function, Reaction, Stage, Unfinished
from contracts.ports import Documents, Lease, UnavailableError
from functions._shared.settings import asked_of
from functions.assemble_dataset import handler, work
from functions.assemble_dataset.core import RowSettings
from functions.assemble_dataset.settings import DatasetSettings


async def put_together(
    lease: Lease, ports: work.DatasetPorts, documents: Documents, settings: DatasetSettings
) -> Sequence[Event]:
    """Make one archive's data set, by what was asked of it, with the general rows that the settings name."""
    general = await general_rows(documents, settings.general_file)
    asked = await asked_of(documents, lease.claim.control.inputs["archive"])
    return await work.work(lease, ports, row_settings(settings, general, asked))


async def general_rows(documents: Documents, file: str | None) -> BlobRef | None:
    """Return the rows of the setting `general_file`; raises UnavailableError until they have been found valid."""
    if file is None:
        return None
    found = await documents.get("files", file)
    if found is None or found["deleted"] or found["validated"] is None:
        raise UnavailableError("file", f"TEMPER_GENERAL_FILE is {file}, which is no valid file; upload one or unset it")
    return BlobRef.model_validate(found["validated"]["blob"])


def row_settings(
    settings: DatasetSettings, general: BlobRef | None = None, asked: Mapping[str, Any] | None = None
) -> RowSettings:
    """Return how rows are put together: as `asked`, or else as set; raises ValidationError out of its bounds."""
    said = {**{name: getattr(settings, name) for name in DatasetSettings.model_fields}, **(asked or {})}
    beside, chance = said.get("distractors"), settings.random_distractors
    if beside is not None:
        chance = min(chance, beside)
        said["hard_distractors"] = beside - chance
    needed = said["min_coverage"]
    return RowSettings(
        variants=said["row_variants"],
        hard=said["hard_distractors"],
        random=chance,
        context_tokens=said["context_tokens"],
        headings=said["shown_headings"],
        absent_share=said["absent_share"],
        general_share=said["general_share"],
        general=general,
        **({} if needed is None else {"min_coverage": needed, "coverage_required": True}),
    )


FUNCTION = Function(
    name="assemble_dataset",
    role="worker",
    of_files=True,
    reactions=(Reaction(handler.TOPICS, handler.on_examples_ended, fails=handler.STAGE),),
    stages=(
        Stage(
            name=handler.STAGE,
            model="archives",
            over=lambda archive: archive["assembled"] is not None or archive["failed"] is not None,
            work=put_together,
            exhausted=work.exhausted,
            suffix="/dataset",
        ),
    ),
    unfinished=Unfinished("archives", {"unfinished": True}, handler.STAGE, every=20.0, control=False),
    retakes={"archives": handler.retake},
    children={work.BUILD: NUMERIC},
    settings=DatasetSettings,
)
