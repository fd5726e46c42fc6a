"""The recipe's side of its conversation with the process that started it: plan, environment, lines in and out."""

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from functions.train_model.core import RecipeError, RecipePlan

Emit = Callable[[dict[str, Any]], None]


def read_plan(arguments: list[str]) -> RecipePlan:
    """The plan named on the command line; RecipeError `invalid_plan` says which field is wrong."""
    if len(arguments) != 2:
        raise RecipeError("invalid_plan", "Name one plan: python -m functions.train_model.recipe plan.json.")
    try:
        return RecipePlan.model_validate_json(Path(arguments[1]).read_bytes())
    except OSError as error:
        raise RecipeError("invalid_plan", f"The plan cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise RecipeError("invalid_plan", f"The plan cannot be used: {where}: {first['msg']}.") from error


def prepare_environment(plan: RecipePlan) -> None:
    """Set what torch and the libraries around it read once, when they are imported."""
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", DO_NOT_TRACK="1")
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    # spinning OpenMP threads are 20 times slower on shared cores; torch ships the GNU one, which reads the second
    os.environ.setdefault("KMP_BLOCKTIME", "0")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if plan.threads:
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(plan.threads)
    if plan.deterministic:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    if "WORLD_SIZE" not in os.environ:  # without a launcher one process uses one GPU
        chosen = plan.device.partition(":")[2] or os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
        os.environ["CUDA_VISIBLE_DEVICES"] = "" if plan.device == "cpu" else chosen


def obey_parent(pause: threading.Event) -> None:
    """Listen to stdin: `pause` asks for a pause at the next step; its end means that the parent is gone."""
    rest = b""
    while block := os.read(0, 4096):  # not sys.stdin, whose lock would hold up the interpreter's exit
        *lines, rest = (rest + block).split(b"\n")
        if b"pause" in (line.strip() for line in lines):
            pause.set()
    os._exit(1)


def claim_stdout() -> Emit:
    """A writer of JSON lines to stdout; whatever else prints there goes to stderr from now on."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def emit(message: dict[str, Any]) -> None:
        stream.write(json.dumps(message, allow_nan=False) + "\n")
        stream.flush()

    return emit
