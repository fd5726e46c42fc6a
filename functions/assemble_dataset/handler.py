"""All of an archive's examples have ended: open the stage that makes the data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.ports import Bell, Controls

STAGE = "assemble"


async def open_assembly(archive: str, tenant: str, inputs: Mapping[str, Any], controls: Controls, bell: Bell) -> None:
    """Open assembly of the archive's data set; `inputs` as in `work.work`."""
    await controls.open(f"{archive}/dataset", tenant, STAGE, {**inputs, "archive": archive})
    bell(STAGE)
