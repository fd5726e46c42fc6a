"""`temper bench`."""

import importlib
import json
import sys
from pathlib import Path

import click

from infra.local.errors import UserError

BENCHMARKS = {
    "train": ("train_throughput", "LoRA tokens/s ÷ TRL's default trainer (at least 2)"),
    "job": ("job_overhead", "a job's training time ÷ the same plan run by hand (at most 1.15)"),
    "hop": ("hop", "event hop ÷ raw aiokafka (at most 1.6)"),
    "edge": ("edge_get", "edge GET job ÷ bare Starlette with the same reads (at least 0.6)"),
    "upload": ("upload", "upload MB/s ÷ raw minio-py PUT (at least 0.5, memory flat)"),
    "serving": ("serving_throughput", "chat tokens/s ÷ static batches (at least 0.8)"),
    "extraction": ("ingest_extraction", "pages/s of text and chunks ÷ unstructured's fast way (at least 5)"),
    "ingest": ("ingest_wall", "documents to data set ÷ stages by hand (at most 1.3), growth, memory"),
    "harness": ("lm_eval_items", "items/s of letter tasks ÷ lm-eval's command line (at least 1.5)"),
    "judge": ("judge_calls", "judge calls/s ÷ 16 × one call's rate (at least 0.8)"),
    "tracking": ("tracking_overhead", "a job's training time tracked ÷ untracked (at most 1.10)"),
}
CHECKOUT = Path(__file__).parents[2]
"""Benchmarks live with the tests, which an installed package does not carry."""


_LIST = "\n".join(f"{name:<11}{about}" for name, (_, about) in BENCHMARKS.items())


@click.command(
    help=f"""Measure ratios against a tuned peer, both in one run.

    NAME is one of:

    \b
    {_LIST.replace(chr(10), chr(10) + "    ")}

    Each asserts equal output first and prints JSON; exit status 1 when a gate is missed.
    """
)
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHMARKS)))
@click.option("--quick", is_flag=True, help="Fewer and shorter rounds: a first look, no result.")
def bench(names: tuple[str, ...], quick: bool) -> None:
    """Run benchmarks one after the other."""
    if not (CHECKOUT / "tests" / "benchmarks").is_dir():
        raise UserError("Benchmarks run from a checkout of the repository; this is an installed package.")
    sys.path.insert(0, str(CHECKOUT))
    missed = []
    for name in names or BENCHMARKS:
        result = importlib.import_module(f"tests.benchmarks.{BENCHMARKS[name][0]}").run(quick)
        click.echo(json.dumps({name: result}, indent=2))
        if not result["passed"]:
            missed.append(name)
    if missed:
        raise UserError(f"The gate of {', '.join(missed)} was missed.")
