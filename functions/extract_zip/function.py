"""Unpacking of archives."""

from __future__ import annotations

from contracts.function import LIGHT, Function, Reaction, Stage
from functions.extract_zip import handler, work

FUNCTION = Function(
    name="extract_zip",
    role="worker",
    of_files=True,
    reactions=(Reaction(("zip.uploaded",), handler.on_zip_uploaded, fails=handler.STAGE),),
    stages=(
        Stage(
            name=handler.STAGE,
            model="archives",
            over=lambda archive: archive["extracted"] is not None or archive["failed"] is not None,
            work=work.work,
            exhausted=work.exhausted,
        ),
    ),
    retakes={"archives": handler.retake},
    children={work.UNPACK: LIGHT},
)
