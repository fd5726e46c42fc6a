"""`temper demo`: from a ZIP of documents to a tuned model that answers, through the official client.

With `--rows` the story begins with rows; with `--control` their answers are deranged, and nothing may be gained.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from openai import OpenAI, OpenAIError
from rich.console import Console

from functions.benchmark_model.statistics import gain
from infra.demo.archive import handbook_zip
from infra.demo.asking import BASE, compare, hits, percent, show
from infra.demo.data import Row, derange, jsonl, make_sets, training_rows
from infra.demo.questions import data_set_rows, document_sets
from infra.demo.session import DemoError, Stages, follow_benchmark, follow_data_set, follow_job, running
from infra.settings import AskedSettings

EPOCHS, BATCH = 9, 8
DOCUMENT_EPOCHS = 8
READABLE = {
    "TEMPER_CHUNK_TOKENS": "40",
    "TEMPER_CHUNK_OVERLAP": "0",
    "TEMPER_HELD_OUT": "0.15",
    "TEMPER_ROWS_PER_CHUNK": "2",
    "TEMPER_HARD_DISTRACTORS": "1",
    "TEMPER_RANDOM_DISTRACTORS": "1",
    "TEMPER_SHOWN_HEADINGS": "1",
}
"""The demo base reads contexts of few sentences, a fact in each; a larger model does without these settings."""
CONTROL_SEEDS = (1, 2, 3)
CONTROL_BOUND = 0.05


def tune(client: OpenAI, file: str, suffix: str, epochs: int, console: Console) -> Any:
    """Create a job on a file, which may still be unchecked, and return it."""
    job = client.fine_tuning.jobs.create(
        model=BASE,
        training_file=file,
        suffix=suffix,
        hyperparameters={"n_epochs": epochs, "batch_size": BATCH},
        seed=1,
    )
    console.print(f"  created {job.id}")
    return job


def tune_on_rows(client: OpenAI, rows: Sequence[Row], suffix: str, console: Console) -> Any:
    """Upload rows, create a job, follow it to its end; returns the job or raises DemoError."""
    uploaded = client.files.create(file=("handbook.jsonl", jsonl(rows)), purpose="fine-tune")
    console.print(f"  uploaded {uploaded.filename}: {len(rows)} rows as {uploaded.id}")
    return follow_job(client, tune(client, uploaded.id, suffix, EPOCHS, console).id, console)


def go_on(console: Console, home: Path, model: str) -> None:
    """Say what to do next."""
    console.print(
        f"\n[bold]How to go on[/]\n"
        f"  temper up                    # the stack again; everything is still there, in {home}\n"
        f'  eval "$(temper env)"         # OPENAI_BASE_URL and OPENAI_API_KEY for your own code\n'
        f"  temper models add NAME DIR   # a base model of your own\n"
        f"and in Python, with the official client:\n"
        f"  from openai import OpenAI\n"
        f'  OpenAI().chat.completions.create(model="{model}",\n'
        f'      messages=[{{"role": "user", "content": "…"}}])',
        highlight=False,
        soft_wrap=True,
    )


@click.command()
@click.option("--seed", default=0, help="Of the rows that are invented with --rows or --control.")
@click.option("--rows", is_flag=True, help="Begin with rows instead of documents.")
@click.option("--control", is_flag=True, help="Train on rows with deranged answers, three seeds: the gain must vanish.")
def demo(seed: int, rows: bool, control: bool) -> None:
    """Tune the demo base on an invented company's documents and compare it with what it was.

    Starts the stack (or joins a running one), uploads a ZIP with the official client, waits for the data set and the
    job, asks base and tuned model the same questions, and shows how many each got exactly right. Exit status 1 when
    anything failed.
    """
    console = Console(width=None if sys.stdout.isatty() else 120)
    home = AskedSettings().home.absolute()
    stages = Stages(console)
    try:
        if control:
            run_control(console, stages, home, seed)
        elif rows:
            run_rows(console, stages, home, seed)
        else:
            run_documents(console, stages, home)
    except DemoError as error:
        console.print(f"error: {error}", style="red")
        raise SystemExit(1) from error
    except OpenAIError as error:
        console.print(
            f"error: The stack did not answer as it should: {error} Its logs are in {home / 'logs'}; "
            "`temper status` says what runs. Start the demo again.",
            style="red",
        )
        raise SystemExit(1) from error


def run_documents(console: Console, stages: Stages, home: Path) -> None:
    """The whole story once: a ZIP becomes a data set, a job on it a model, and both models are asked."""
    with contextlib.ExitStack() as stack:
        with stages.stage("Starting the stack"):
            base_url, key = stack.enter_context(running(home, console, READABLE))
        client = stack.enter_context(OpenAI(base_url=base_url, api_key=key))
        with stages.stage("Making a data set of the documents"):
            content = handbook_zip()
            file = client.files.create(file=("handbook.zip", content), purpose="fine-tune").id
            console.print(f"  uploaded handbook.zip: {len(content):,} bytes as {file}", highlight=False)
            job = tune(client, file, "handbook", DOCUMENT_EPOCHS, console)
            made = follow_data_set(client, file, console).dataset
            console.print(
                f"  {made['rows']} rows and {made['held_out_rows']} held out, of {made['coverage']:.0%} of the chunks; "
                f"generator: {made['generator']}",
                highlight=False,
            )
        with stages.stage("Tuning"):
            job = follow_job(client, job.id, console)
        with stages.stage("Asking base and tuned model"):
            train, held_out = (list(data_set_rows(client, file, split)) for split in ("train", "held_out"))
            sets = document_sets(train, held_out)
            answers = asyncio.run(compare(base_url, key, sets, (BASE, job.fine_tuned_model), console))
        show(console, sets, answers, job.fine_tuned_model)
        with stages.stage("Benchmarking, as after every job"):
            page = follow_benchmark(client, job.id, home, console)
    stages.show()
    go_on(console, home, job.fine_tuned_model)
    if page is not None:
        console.print(f"The report, one page to open in a browser:\n  {page}", highlight=False, soft_wrap=True)


def run_rows(console: Console, stages: Stages, home: Path, seed: int) -> None:
    """The story without documents: rows that are invented become a model."""
    with contextlib.ExitStack() as stack:
        with stages.stage("Starting the stack"):
            base_url, key = stack.enter_context(running(home, console))
        client = stack.enter_context(OpenAI(base_url=base_url, api_key=key))
        sets = make_sets(seed)
        with stages.stage("Tuning"):
            job = tune_on_rows(client, training_rows(sets), "handbook", console)
        with stages.stage("Asking base and tuned model"):
            answers = asyncio.run(compare(base_url, key, sets, (BASE, job.fine_tuned_model), console))
        show(console, sets, answers, job.fine_tuned_model)
    stages.show()
    go_on(console, home, job.fine_tuned_model)


def run_control(console: Console, stages: Stages, home: Path, seed: int) -> None:
    """Train on answers that belong to other questions: what is gained on the true ones would be no learning."""
    before: list[bool] = []
    after: list[bool] = []
    with contextlib.ExitStack() as stack:
        with stages.stage("Starting the stack"):
            base_url, key = stack.enter_context(running(home, console))
        client = stack.enter_context(OpenAI(base_url=base_url, api_key=key))
        for number in CONTROL_SEEDS:
            memorised = make_sets(seed + number)[0]
            with stages.stage(f"Tuning on deranged answers, seed {number}"):
                job = tune_on_rows(client, derange(memorised.train, number), "deranged", console)
            with stages.stage("Asking for the true answers"):
                models = (BASE, job.fine_tuned_model)
                answers = asyncio.run(compare(base_url, key, [memorised], models, console))
            before += hits(answers[BASE]["memorised"], memorised.test)
            after += hits(answers[job.fine_tuned_model]["memorised"], memorised.test)
    found = gain(before, after)
    console.print(f"memorisation gain with deranged answers: {percent(found)}, n = {len(before)}", highlight=False)
    if found.high >= CONTROL_BOUND:
        raise DemoError(f"The upper bound is not below {100 * CONTROL_BOUND:.0f} points: the gain is not learning.")


if __name__ == "__main__":
    demo()
