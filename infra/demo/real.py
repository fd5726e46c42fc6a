"""`make real`: a real base model is fetched and tuned on facts, on this machine's own documentation, on tool calls."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from openai import AsyncOpenAI, OpenAI
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from functions.benchmark_model.score import exact
from infra.demo.asking import ask
from infra.demo.data import Row, answer, jsonl
from infra.demo.session import DemoError, Stages, follow_benchmark, follow_data_set, follow_job, running
from infra.settings import AskedSettings, Settings

BASE, TOOLS_BASE = "smollm2-135m-instruct", "smollm2-135m-tools"
PARTS = ("facts", "documents", "tools")
DATA, FACTS, ROOT = Path("../shared/data/finetunebench"), "medical_memorization.csv", Path("/usr/share/doc")
ANSWER_TOKENS = 80
"""Of the facts' answers the longest has 73; what goes on longer is not one."""
LEAST_BYTES, MOST_BYTES = 3_000, 60_000
CITIES = ("Paris", "Rom", "Wien", "Oslo", "Bern", "Riga", "Prag", "Lima", "Kiel", "Graz")
TOOLS_TEMPLATE = (
    "{%- if tools %}{{ '<|im_start|>system\\nTools: ' + (tools | tojson) + '<|im_end|>\\n' }}{% endif -%}"
    "{%- for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + (m.content or '') }}"
    "{%- for call in m.tool_calls or [] %}{{ '<tool_call>' + (call.function | tojson) + '</tool_call>' }}{% endfor %}"
    "{{- '<|im_end|>\\n' }}{% endfor -%}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif -%}"
)
"""The base's own template knows no tools; this one is as simple as its."""


@click.command()
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), default=PARTS, help="What to do; all three.")
@click.option("--epochs", default=10, show_default=True, help="Of the facts.")
@click.option("--rows", default=0, help="Facts that are taken; 0: all.")
@click.option("--data", default=DATA, type=click.Path(path_type=Path), show_default=True, help="Where the facts lie.")
@click.option("--documents", "most", default=24, show_default=True, help="Documents that are taken at most.")
@click.option("--root", default=ROOT, type=click.Path(path_type=Path), show_default=True, help="Where documents lie.")
def real(parts: Sequence[str], epochs: int, rows: int, data: Path, most: int, root: Path) -> None:
    """Fetch a real base model, tune it, and say what it knew before and after. Exit status 1 when anything failed."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    home, stages = AskedSettings().home.absolute(), Stages(console)
    try:
        with contextlib.ExitStack() as stack:
            with stages.stage("Starting the stack"):
                url, key = stack.enter_context(running(home, console, {"TEMPER_TARGET_MODEL": BASE}))
            client = stack.enter_context(OpenAI(base_url=url, api_key=key))
            with stages.stage("Fetching the base"):
                temper(home, "models", "fetch", BASE)
            if "facts" in parts:
                facts(client, url, key, read_facts(data / FACTS)[: rows or None], epochs, stages, home)
            if "documents" in parts:
                documents(client, found_documents(root, most), stages, home)
            if "tools" in parts:
                tools(client, stages, home)
        stages.show()
    except DemoError as error:
        console.print(f"error: {error}", style="red")
        raise SystemExit(1) from error


def temper(home: Path, *command: str) -> None:
    """Run a command of the stack's."""
    env = {**os.environ, "TEMPER_HOME": str(home)}
    if subprocess.run([sys.executable, "-m", "infra.cli.main", *command], env=env, check=False).returncode:
        raise DemoError(f"`temper {' '.join(command)}` failed; what it said stands above.")


def read_facts(path: Path) -> list[Row]:
    """Return a row for each distinct question of a CSV with the columns prompt and answer."""
    try:
        lines = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    except OSError as error:
        raise DemoError(f"The facts are missing ({error.strerror}: {path}); name their folder with --data.") from error
    pairs = {line["prompt"].strip(): line["answer"].strip() for line in lines if line["prompt"] and line["answer"]}
    return [
        {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]}
        for asked, said in pairs.items()
    ]


def facts(client: OpenAI, url: str, key: str, rows: Sequence[Row], epochs: int, stages: Stages, home: Path) -> None:
    """Tune on facts; say how many the base and the tuned model answer exactly as the rows do."""
    with stages.stage(f"Tuning on {len(rows)} facts, {epochs} epochs"):
        file = client.files.create(file=("facts.jsonl", jsonl(rows)), purpose="fine-tune").id
        job = follow_job(client, tune(client, BASE, file, "facts", epochs, "none").id, stages.console)
    with stages.stage("Asking base and tuned model"):
        for model in (BASE, job.fine_tuned_model):
            found = asyncio.run(asked(url, key, model, rows, stages.console))
            right = sum(exact(given, answer(row)) for given, row in zip(found, rows, strict=True))
            stages.console.print(f"  {model}: {right} of {len(rows)} exact ({right / len(rows):.0%})", highlight=False)


async def asked(url: str, key: str, model: str, rows: Sequence[Row], console: Console) -> list[str]:
    """Ask a model each row's question, with a bar of progress."""
    columns = (
        TextColumn("  {task.description:<40.40}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
    )
    async with AsyncOpenAI(base_url=url, api_key=key, timeout=3600) as client:
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task(model, total=len(rows))
            return await ask(client, model, rows, lambda: progress.advance(bar), ANSWER_TOKENS)


def tune(client: OpenAI, model: str, file: str, suffix: str, epochs: int, benchmarks: str) -> Any:
    """Create a job."""
    return client.fine_tuning.jobs.create(
        model=model,
        training_file=file,
        suffix=suffix,
        hyperparameters={"n_epochs": epochs, "batch_size": 4},
        seed=1,
        extra_body={"benchmarks": benchmarks},
    )


def documents(client: OpenAI, paths: Sequence[Path], stages: Stages, home: Path) -> None:
    """Make a data set of this machine's own documentation, tune on it, and show the benchmark's verdict."""
    with stages.stage("Making a data set of this machine's documentation"):
        file = client.files.create(file=("documentation.zip", archive(paths)), purpose="fine-tune").id
        made: Any = follow_data_set(client, file, stages.console).dataset
        said = f"{made['rows']} rows and {made['held_out_rows']} held out, of {made['coverage']:.0%} of the chunks"
        stages.console.print(f"  {said}; generator: {made['generator']}", highlight=False)
    with stages.stage("Tuning on it"):
        job = follow_job(client, tune(client, BASE, file, "documentation", 4, "default").id, stages.console)
    with stages.stage("Benchmarking, as after every job"):
        page = follow_benchmark(client, job.id, home, stages.console)
        stages.console.print(f"  the report: {page}", highlight=False)


def found_documents(root: Path, most: int) -> list[Path]:
    """Return texts to read: German ones first, as many as there are, then the longest others, one of each package."""
    named = [path for kind in ("*.txt", "*.md", "*.html", "*.pdf") for path in root.rglob(kind)]
    fit = [path for path in named if path.is_file() and LEAST_BYTES <= path.stat().st_size <= MOST_BYTES]
    german = sorted(path for path in fit if {".de", "de", "german"} & {*path.parts, *path.suffixes})
    longest: dict[str, Path] = {}
    for path in sorted(fit, key=lambda each: (each.stat().st_size, str(each))):
        longest[path.relative_to(root).parts[0]] = path
    others = [longest[package] for package in sorted(longest) if longest[package] not in german]
    if not german and not others:
        raise DemoError(f"There is no document of {LEAST_BYTES:,} to {MOST_BYTES:,} bytes under {root}.")
    return [*german[: most // 2], *others][:most]


def archive(paths: Iterable[Path]) -> bytes:
    """Return a ZIP of files, each by its whole name."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as made:
        for path in paths:
            made.write(path, str(path).lstrip("/"))
    return content.getvalue()


def tools(client: OpenAI, stages: Stages, home: Path) -> None:
    """Tune a base with a template that knows tools on 40 rows of calls; the job succeeds with its proof, or not."""
    with stages.stage("Tuning on 40 rows of tool calls"):
        fetched = next((Settings(home=home).cache / "bases").glob(f"{BASE}-*"))
        folder = shutil.copytree(fetched, home / "bases" / TOOLS_BASE, dirs_exist_ok=True)
        (folder / "chat_template.jinja").write_text(TOOLS_TEMPLATE)
        temper(home, "models", "add", TOOLS_BASE, str(folder))
        file = client.files.create(file=("tools.jsonl", jsonl(tool_rows())), purpose="fine-tune").id
        follow_job(client, tune(client, TOOLS_BASE, file, "tools", 1, "none").id, stages.console)


def tool_rows() -> list[Row]:
    """Return 40 questions, each answered by a call; keys are in no alphabetical order."""
    unit = {"type": "string", "enum": ["celsius", "kelvin"]}
    tool = {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather of a city.",
            "parameters": {
                "type": "object",
                "properties": {"unit": unit, "city": {"type": "string"}},
                "required": ["unit", "city"],
            },
        },
    }
    rows: list[Any] = []
    for number in range(40):
        city, scale = CITIES[number % len(CITIES)], ("celsius", "kelvin")[number % 2]
        said = json.dumps({"unit": scale, "city": city, "day": number // 10})
        call = {"id": f"call_{number}", "type": "function", "function": {"name": "weather", "arguments": said}}
        question = f"How warm will it be in {city} in {number // 10} days, in {scale}?"
        messages = [
            {"role": "user", "content": question},
            {"role": "assistant", "content": None, "tool_calls": [call]},
        ]
        rows.append({"messages": messages, "tools": [tool]})
    return rows


if __name__ == "__main__":
    real()
