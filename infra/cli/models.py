"""`temper models`."""

import asyncio
from pathlib import Path

import click

from contracts.envelope import Event
from contracts.manifest import ManifestRef
from functions.register_model.core import NotAModelError
from infra.local.errors import UserError
from infra.runtime.bootstrap import register_base
from infra.runtime.world import world
from infra.settings import Settings


@click.group()
def models() -> None:
    """Bring base models of your own."""


@models.command()
@click.argument("name")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def add(name: str, folder: Path) -> None:
    """Store a Hugging Face model directory under NAME.

    FOLDER holds config.json, tokenizer.json, a chat template and *.safetensors of a causal language model. Its files
    are stored by content; code and pickles are left behind. Jobs then name it as `model`, and it can be called.
    An optional temper.json may recommend values for `auto`: {"auto": {"learning_rate": 2e-4}}.
    """
    try:
        manifest, event = asyncio.run(_add(name, folder))
    except NotAModelError as error:
        raise UserError(str(error)) from error
    click.echo(f"{name} is registered{'' if event else ' already'}: manifest {manifest.sha256[:12]}")


async def _add(name: str, folder: Path) -> tuple[ManifestRef, Event | None]:
    async with world(Settings()) as here:
        return await register_base(here, name, folder, click.echo)
