"""Tells Weights & Biases of one job: `python -m functions.track_wandb.wandb_run spec.json`.

The spec names `mode` (online, offline), `folder` (where runs are written), `id`, `project`, `entity`, `name`, `tags`,
`config` and `steps`, a file of lines {step, metrics}. The key comes on standard input; it is in no file and
no argument. Prints {"run_id", "url"}, or {"error", "again"} and ends with status 1.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

AWAY = ("CommError", "ServerTransientError", "ConnectionError", "Timeout", "TimeoutError")
"""Errors after which it is worth to try again; any other stays."""


def tell(spec: dict[str, Any]) -> dict[str, Any]:
    """Write the run; returns its id and where it is seen, which is nowhere yet when it is written offline."""
    import wandb

    settings = wandb.Settings(console="off", save_code=False, x_disable_stats=True, x_disable_meta=True, silent=True)
    run = wandb.init(
        project=spec["project"],
        entity=spec["entity"],
        name=spec["name"],
        tags=spec["tags"],
        id=spec["id"],
        resume="allow",
        mode=spec["mode"],
        dir=spec["folder"],
        config=spec["config"],
        settings=settings,
    )
    for line in Path(spec["steps"]).read_bytes().splitlines():
        row = json.loads(line)
        run.log(row["metrics"], step=row["step"])
    run.finish(exit_code=0 if spec["succeeded"] else 1)
    return {"run_id": run.id, "url": run.url or ""}


def main(spec_path: str) -> int:
    """Tell what the spec says; what the client prints goes to standard error."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    spec = json.loads(Path(spec_path).read_bytes())
    key = sys.stdin.readline().strip()
    scratch = str(Path(spec_path).parent)
    os.environ.update(
        WANDB_API_KEY=key or "0" * 40,  # offline nobody reads it, and the client wants one
        WANDB_DIR=spec["folder"],
        WANDB_CONFIG_DIR=scratch,
        WANDB_CACHE_DIR=scratch,
        WANDB_DATA_DIR=scratch,
        WANDB_ERROR_REPORTING="false",
        WANDB_DISABLE_GIT="true",  # as a setting of one run it comes too late: git was started, with the key
        DO_NOT_TRACK="1",
    )
    import wandb

    try:
        said = tell(spec)
    except (wandb.Error, OSError, ValueError) as error:  # its words may quote the key
        words = str(error).replace(key, "…") if key else str(error)
        said = {"error": f"{type(error).__name__}: {words}"[:1000], "again": type(error).__name__ in AWAY}
    out.write(json.dumps(said) + "\n")
    out.flush()
    return 1 if "error" in said else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
