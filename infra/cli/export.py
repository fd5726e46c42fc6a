"""`temper models export`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from functions.benchmark_model.core import Question, scored
from functions.export_model.core import FORMATS, ExportError, Format
from functions.export_model.work import Exported, ExportPorts, export
from infra.adapters.http.serving import HttpProve, Serving
from infra.children.child import ProcessChild
from infra.cli.keys import in_world
from infra.cli.storage import shown
from infra.local.errors import UserError
from infra.runtime.world import World, needed


@click.command(name="export")
@click.argument("id")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--format", "format_", type=click.Choice(FORMATS), help="Left out: adapter where there is one, else merged."
)
def export_model(id: str, folder: Path, format_: Format | None) -> None:
    """Write the model ID to FOLDER as other software reads it, and ask it before it is called good.

    adapter is PEFT's folder; merged is transformers', in float32; gguf is one file for llama.cpp, in float16. Each has
    the tokenizer, the chat template and a card beside it. What was written is asked what its job's own benchmark asked
    (or its proof), and says the same as the served model, or is not written.
    """
    console = Console()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("looking for the model", total=None)

        async def body(here: World) -> Exported:
            return await _export(
                here, id, folder.absolute(), format_, lambda text: progress.update(task, description=text)
            )

        try:
            found = in_world(body)
        except (ExportError, OSError) as error:
            raise UserError(str(error)) from error
    for path in found.files:
        click.echo(f"{path}  {shown(path.stat().st_size)}")
    click.echo(
        found.compared.sentence() if found.compared else "Nothing of its job is left to ask it: nobody compared it."
    )
    if found.warning:
        click.echo(f"warning: {found.warning}", err=True)


async def _export(here: World, id: str, folder: Path, format_: Format | None, say: Any) -> Exported:
    models = await here.documents.find("models", {"id": id, "deleted": False}, limit=1)
    if not models:
        raise UserError(f"There is no model {id}. `temper storage` and GET /v1/models tell which there are.")
    serving = Serving(needed(here.settings.inference_url, "inference_url"))
    child = ProcessChild(here.settings.train_threads)
    ports = ExportPorts(here.blobs, here.documents, child, HttpProve(serving), here.settings.cache, _score, say)
    try:
        return await export(
            ports, models[0], format_ or ("adapter" if models[0]["kind"] == "adapter" else "merged"), folder
        )
    finally:
        await asyncio.gather(child.close(), serving.close())


def _score(line: Mapping[str, Any], said: str) -> float | None:
    """Return an answer's score by rule; a proof's question has none."""
    if "kind" not in line:
        return None
    found = scored(Question.model_validate({name: line[name] for name in line if name != "served"}), said)
    return next((value for name in ("f1", *found) if (value := found.get(name)) is not None), None)
