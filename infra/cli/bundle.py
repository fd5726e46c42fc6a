"""`temper bundle`."""

import json
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from functions.benchmark_model.harness.bundle import BundleError, Part, inspect, missing
from infra.local.errors import UserError


@click.group()
def bundle() -> None:
    """Bring public benchmarks as a folder: nothing is downloaded."""


@bundle.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(folder: Path, as_json: bool) -> None:
    """Say what a benchmark bundle has, what it lacks and which columns are wrong.

    FOLDER holds mmlu/SUBJECT/{test,dev}, hellaswag/validation, arc_challenge/test and gpqa/train, each as .jsonl or
    .parquet with the columns that were published, and any lm-eval YAML beside its data. Exit status 1 when nothing in
    it can be used.
    """
    try:
        parts = inspect(folder)
    except BundleError as error:
        raise UserError(str(error)) from error
    lacking = missing(parts)
    if as_json:
        told = [{**_plain(part), "usable": part.usable} for part in parts]
        click.echo(json.dumps({"tasks": told, "missing": lacking}, indent=2, ensure_ascii=False))
    else:
        _show(parts, lacking)
    if not any(part.usable for part in parts):
        raise UserError(f"Nothing in {folder} can be used." if parts else f"{folder} holds no benchmark.")


def _plain(part: Part) -> dict[str, object]:
    files = {split: [str(path) for path in paths] for split, paths in part.files.items()}
    return {**asdict(part), "files": files}


def _show(parts: list[Part], lacking: list[str]) -> None:
    table = Table(box=None, pad_edge=False)
    for name, justify in (("task", "left"), ("items", "right"), ("splits", "left"), ("sha256", "left"), ("", "left")):
        table.add_column(name, justify="right" if justify == "right" else "left", overflow="fold")
    for part in parts:
        wrong = "\n".join(escape(problem) for problem in part.problems)
        state = f"[red]cannot be used:[/red] {wrong}" if wrong else "[green]usable[/green]"
        table.add_row(escape(part.task), f"{part.items:,}", ", ".join(part.files), part.sha256[:12], state)
    console = Console()
    if parts:
        console.print(table)
    if lacking:
        console.print(f"Not there: {', '.join(lacking)}.")
