"""`temper file`."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click
import httpx
from rich.console import Console
from rich.text import Text

from infra.cli.env import edge_of_home, said
from infra.local.errors import UserError

Object = dict[str, Any]
TRAINED, ASKED = "bold green", "dim"
BEGIN, END = "⟦", "⟧"
"""Around what is trained on, where there are no colours."""
WIDE = 10_000
"""Columns where no terminal would break lines."""


@click.group()
def file() -> None:
    """Look at a file of rows."""


@file.command()
@click.argument("id", metavar="FILE")
@click.option("--model", required=True, metavar="NAME", help="A base model, or a tuned one.")
@click.option("--row", default=1, show_default=True, type=click.IntRange(min=1), help="Which row, counted from 1.")
def preview(id: str, model: str, row: int) -> None:
    """Show what NAME would be trained on of a row of FILE, before a job is paid for.

    FILE is the id of a file of rows, or of documents whose data set is ready. What is trained on is green, or between
    ⟦ and ⟧ where there are no colours; the rest is what the model is asked with. A template that writes a chat's
    history anew makes several examples of one row.

    \b
    temper file preview file-… --model temper-demo-1m --row 3
    """
    base_url, api_key = edge_of_home()
    headers = {"authorization": f"Bearer {api_key}"}
    asked: dict[str, str | int] = {"model": model, "row": row}
    try:
        with httpx.Client(base_url=base_url, headers=headers, timeout=120, trust_env=False) as edge:
            found = said(edge.get(f"/files/{quote(id, safe='')}/preview", params=asked))
    except httpx.TransportError as error:
        raise UserError(f"The edge does not answer: {error}. Look at `temper status`, then try again.") from error
    if found["refused"] is not None:
        raise UserError(f"Row {row} of {id} is not trained on: {found['refused']['message']}")
    console = Console()
    show(console if console.is_terminal else Console(width=WIDE), found)


def show(console: Console, found: Object) -> None:
    """Print every example of a preview, with a legend."""
    coloured = console.is_terminal and not console.no_color
    legend = Text("trained on", TRAINED) if coloured else Text(f"{BEGIN}trained on{END}")
    asked = Text("asked with", ASKED if coloured else "")
    examples = found["examples"]
    for number, example in enumerate(examples, 1):
        which = f" · example {number} of {len(examples)}" if len(examples) > 1 else ""
        spans = len(example["trained"])
        head = f"row {found['row']}{which} · {example['tokens']} tokens · {spans} {'part' if spans == 1 else 'parts'} "
        console.print(Text.assemble(head, legend, ", the rest is ", asked, "\n"), highlight=False)
        console.print(painted(example, coloured), highlight=False)
        console.print()


def painted(example: Object, coloured: bool) -> Text:
    """Return an example's text with what is trained on marked: by colour, or by brackets."""
    text, at, made = example["text"], 0, Text()
    for begin, end in example["trained"]:
        made.append(text[at:begin], ASKED if coloured else "")
        made.append(text[begin:end] if coloured else f"{BEGIN}{text[begin:end]}{END}", TRAINED if coloured else "")
        at = end
    return made.append(text[at:], ASKED if coloured else "")
