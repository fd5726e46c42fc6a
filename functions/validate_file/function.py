"""Validation of uploaded files."""

from __future__ import annotations

from contracts.function import LIGHT, Function, Reaction, Stage, Unfinished, places
from functions.validate_file import handler, work

FUNCTION = Function(
    name="validate_file",
    role="worker",
    of_files=True,
    reactions=(Reaction(("file.uploaded",), handler.on_file_uploaded, fails=handler.STAGE),),
    stages=(
        Stage(
            name=handler.STAGE,
            model="files",
            over=lambda file: file["status"] != "uploaded" and not file["archive"],
            work=work.work,
            exhausted=work.exhausted,
            onward={"zip.uploaded": "extract_zip"},
            places=places(2),
        ),
    ),
    unfinished=Unfinished(
        "files", {"status": "uploaded", "deleted": False, "archive": False}, handler.STAGE, inputs=handler.inputs_of
    ),
    children={work.CHECK: LIGHT},
)
