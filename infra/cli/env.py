"""`temper env`."""

import json
import shlex
from typing import Any

import click
import httpx

from infra.local.errors import UserError
from infra.local.record import running_stack
from infra.settings import AskedSettings


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of shell lines.")
def env(as_json: bool) -> None:
    """Print OPENAI_BASE_URL, OPENAI_API_BASE (its older name) and OPENAI_API_KEY for a shell.

    \b
    eval "$(temper env)"
    """
    base_url, api_key = edge_of_home()
    values = {"OPENAI_BASE_URL": base_url, "OPENAI_API_BASE": base_url, "OPENAI_API_KEY": api_key}
    if as_json:
        click.echo(json.dumps(values))
        return
    for name, value in values.items():
        click.echo(f"export {name}={shlex.quote(value)}")


def edge_of_home() -> tuple[str, str]:
    """Return the base URL and the first API key of the stack that runs in this home; raises UserError."""
    home = AskedSettings().home.absolute()
    stack = running_stack(home)
    edge = stack.processes.get("edge")
    if edge is None:
        raise UserError(f"The stack in {home} runs without its edge. Start it with `temper up` without --only.")
    key = home / "api_key"
    if not key.is_file():
        raise UserError(f"There is no first API key in {key}. Make one with `temper keys create`.")
    return f"{edge.address}/v1", key.read_text().strip()


def said(response: httpx.Response) -> dict[str, Any]:
    """Return the edge's answer; raises UserError with the sentence of a refusal."""
    body: dict[str, Any] = response.json()
    if response.is_error:
        raise UserError(str(body["error"]["message"]))
    return body
