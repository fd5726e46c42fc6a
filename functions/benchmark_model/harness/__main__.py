"""Ask models tasks of the LM Evaluation Harness: `python -m functions.benchmark_model.harness spec.json`.

The spec is `run.Spec`. Prints JSON lines: {"progress": …} after each batch, {"finished": …} after each task on each
side, at last {"result": …} or {"error": …} (exit status 1). What lm-eval prints goes to standard error. Killed and
started again with the same spec it goes on where it was.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any


def main() -> int:
    """Run one spec."""
    path = Path(sys.argv[1]).resolve()
    # before the libraries read them; nothing is downloaded
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
    import datasets

    from functions.benchmark_model.harness.bundle import BundleError
    from functions.benchmark_model.harness.run import Spec, run

    # what datasets caches lies with the rest
    datasets.config.HF_DATASETS_CACHE = path.parent / "datasets"
    output = sys.stdout

    def tell(line: Mapping[str, Any]) -> None:
        print(json.dumps(line), file=output, flush=True)

    with redirect_stdout(sys.stderr):
        try:
            result = run(Spec.model_validate_json(path.read_text("utf-8")), tell)
        except BundleError as error:
            tell({"error": str(error)})
            return 1
    tell({"result": result})
    return 0


if __name__ == "__main__":
    sys.exit(main())
