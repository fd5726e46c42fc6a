"""What would be trained of one row by one model: the same code as a job's preparation, and nothing is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contracts.manifest import Manifest
from functions.prepare_job.labels import UnlabelledError
from functions.prepare_job.tokenise import FailedError, Tokeniser


def examples(folder: Path, manifest: Manifest, row: dict[str, Any]) -> dict[str, Any]:
    """Return `refused` (code and message, or None) and `examples` (text, trained spans in characters, tokens) of a row.

    `folder` holds the tokenizer and the configs of the model or of its base.
    """
    spec = {
        "model_dir": str(folder),
        "base_name": "this model",
        "context": manifest.context,
        "base_context": manifest.context,
        "template_sha256": manifest.template_sha256,
        "overlong": "fail",
        "created": {"chat_template_kwargs": manifest.chat_template_kwargs or None},
        "day": None,
        "row_shapes": {"training_file": "chat"},
    }
    try:
        found = Tokeniser(spec).preview(row)
    except FailedError as error:
        return {"refused": {"code": error.fail.code, "message": error.fail.message}, "examples": []}
    except UnlabelledError as error:
        return {"refused": {"code": error.code, "message": f"This row cannot be trained on: {error}"}, "examples": []}
    return {"refused": None, "examples": found}
