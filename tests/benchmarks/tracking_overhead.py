"""A job's `job.started` → last step with its runs tracked by MLflow ÷ the same without a tracker.

Two whole stacks stand side by side, one with MLflow's server and a worker that writes into it, one without; one job
runs at a time, in turn. Every step has to be in MLflow in the end (at most 1.10).

`python -m tests.benchmarks.tracking_overhead [--quick]`
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.benchmarks.job_overhead import by_platform
from tests.stack import Stack, running_stack

ROUNDS, QUICK_ROUNDS = 5, 2
EPOCHS, QUICK_EPOCHS = 3, 1
GATE = 1.10
WITHIN = 300.0


def written(stack: Stack, steps: int) -> int:
    """Wait until the newest training run has its last step; returns how many it has."""
    os.environ |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
    from mlflow import MlflowClient

    until = time.monotonic() + WITHIN
    while time.monotonic() < until:
        if stack.process("mlflow").state == "up":
            client = MlflowClient(f"http://127.0.0.1:{stack.process('mlflow').port}")
            experiments = [each.experiment_id for each in client.search_experiments()]
            runs = client.search_runs(experiments, "tags.`temper.kind` = 'training'", order_by=["start_time DESC"])
            history = client.get_metric_history(runs[0].info.run_id, "train_loss") if runs else []
            if {point.step for point in history} == set(range(1, steps + 1)):
                return len(history)
        time.sleep(0.5)
    raise AssertionError(f"MLflow does not have all {steps} steps")


def run(quick: bool = False) -> dict[str, Any]:
    """Both arms in turn; the gate is on the unfavourable bound."""
    ratios, seconds = [], []
    epochs = QUICK_EPOCHS if quick else EPOCHS
    alone = {"TEMPER_BENCHMARKS": "none"}
    with (
        tempfile.TemporaryDirectory(prefix="temper-bench-") as folder,
        running_stack(Path(folder) / "with", env={**alone, "TEMPER_TRACKING": "mlflow"}) as tracked,
        running_stack(Path(folder) / "without", env={**alone, "TEMPER_TRACKING": "none"}) as plain,
    ):
        for stack in (tracked, plain):  # warm caches of both arms, and let MLflow's server come up
            plan, _ = by_platform(stack, 1)
        written(tracked, plan.total_steps)
        for _ in range(QUICK_ROUNDS if quick else ROUNDS):
            plan, with_tracking = by_platform(tracked, epochs)
            written(tracked, plan.total_steps)
            without = by_platform(plain, epochs)[1]
            ratios.append(with_tracking / without)
            seconds.append((round(with_tracking, 2), round(without, 2)))
    bounds = statistics.quantiles(ratios, n=10, method="inclusive")
    return {
        "ratio": {"median": statistics.median(ratios), "p10": bounds[0], "p90": bounds[-1]},
        "seconds": seconds,
        "gate": GATE,
        "passed": bounds[-1] <= GATE,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("torch", "mlflow")}},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    result = run(parser.parse_args().quick)
    print(json.dumps(result, indent=2))
    sys.exit(0 if result["passed"] else 1)
