"""`temper trace` on the folds themselves: every id leads up to its page and down to the models, in one tree."""

from __future__ import annotations

import io

import pytest
import pytest_asyncio
from rich.console import Console

from contracts.events.corpus import DatasetAssembled
from infra.cli.trace import Tracer
from infra.local.errors import UserError
from tests.functional.dataset import (
    BROKEN,
    COPY,
    MADE,
    MODEL,
    UNFAITHFUL,
    Assembled,
    assemble_made,
    job,
    whole_way,
)
from tests.functional.edge import BASE, World
from tests.functional.test_assemble_dataset import ARCHIVE

DOCUMENT = MADE.documents[0]
HELD_OUT = MADE.documents[-1]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def assembled(tmp_path_factory: pytest.TempPathFactory) -> Assembled:
    return await assemble_made(tmp_path_factory.mktemp("scratch"))


@pytest.fixture
async def world(assembled: Assembled) -> World:
    """An archive with a data set, a job on it and its model."""
    here = World()
    await here.base()
    await whole_way(here, assembled)
    await job(here)
    await here.tuned("ftjob-1", MODEL, 30, "acme")
    return here


async def traced(world: World, id: str, file: str | None = None) -> str:
    out = io.StringIO()
    Console(file=out, width=500).print(await Tracer(world.documents, world.blobs).trace(id, file), highlight=False)
    return out.getvalue()


@pytest.mark.parametrize(
    "id",
    [ARCHIVE, DOCUMENT.document, DOCUMENT.chunks[0].id, MADE.of(DOCUMENT.document)[0].id, "ftjob-1", MODEL, BASE],
)
async def test_every_id_leads_to_the_file_and_to_the_model(world: World, id: str) -> None:
    tree = await traced(world, id)
    assert tree.startswith(id)
    assert MODEL in tree
    assert "ftjob-1" in tree
    if id != BASE:
        assert f"{ARCHIVE} a.zip" in tree


async def test_a_row_leads_to_the_place_of_its_quote(world: World) -> None:
    example = MADE.of(DOCUMENT.document)[0]
    tree = await traced(world, example.id)
    place = f"page {example.span.page}, characters {example.span.start} to {example.span.end}: “{example.quote}”"
    assert place in tree
    assert f"{DOCUMENT.document} {DOCUMENT.path}" in tree
    assert DOCUMENT.sha256 in tree
    assert example.chunk in tree
    assert "written by: extractive, overlap 0.50" in tree


async def test_a_row_by_its_number_wants_a_file(world: World, assembled: Assembled) -> None:
    data: DatasetAssembled = assembled[0]
    tree = await traced(world, f"train-{data.rows}", ARCHIVE)
    assert tree.startswith(f"train-{data.rows}\n")
    assert MODEL in tree
    held_out = await traced(world, "held_out-1", ARCHIVE)
    assert HELD_OUT.document in held_out
    assert MODEL not in held_out
    with pytest.raises(UserError, match="--file"):
        await traced(world, "train-1")
    for wrong in (f"train-{data.rows + 1}", "train-0", "held_out-9999"):
        with pytest.raises(UserError, match=f"There is no row {wrong} in the file {ARCHIVE}"):
            await traced(world, wrong, ARCHIVE)


async def test_pages_of_a_document_count_the_rows_of_their_chunks(world: World) -> None:
    tree = await traced(world, DOCUMENT.document)
    assert "page 1\n" in tree
    assert "page 2\n" in tree
    assert tree.count("trained on, ") == len(DOCUMENT.chunks)
    held_out = await traced(world, HELD_OUT.document)
    assert "held out" in held_out
    assert "no job was trained on it" in held_out


async def test_a_duplicate_and_a_rejected_question_say_why_they_are_not_there(world: World) -> None:
    tree = await traced(world, COPY.id)
    assert f"says the same as {DOCUMENT.chunks[0].id} (similarity 1.00)" in tree
    assert "no rows" in tree
    rejected = await traced(world, UNFAITHFUL.id)
    assert "rejected: unfaithful: No." in rejected
    assert f"{DOCUMENT.document} {DOCUMENT.path}" in rejected
    assert "rejected: encrypted: It is encrypted." in await traced(world, BROKEN)


async def test_what_a_document_says_is_shown_as_text_and_moves_no_cursor(world: World) -> None:
    hostile = "[red]\x1b[2Jfact[/]"
    document = DOCUMENT.model_copy(
        update={"chunks": (DOCUMENT.chunks[0].model_copy(update={"heading": hostile}), *DOCUMENT.chunks[1:])}
    )
    view = await world.documents.get("documents", DOCUMENT.document)
    assert view is not None
    await world.blobs.put(view["chunked"]["chunks"]["key"], document.model_dump_json().encode())
    tree = await traced(world, DOCUMENT.chunks[0].id)
    assert "[red] [2Jfact[/]" in tree
    assert "\x1b" not in tree


@pytest.mark.parametrize(
    "id", ["file-x", "doc-x", "chunk-x", "chunk-" + "0" * 32, "row-" + "0" * 32, "row-x", "ftjob-x", "nobody", ""]
)
async def test_an_unknown_id_is_answered_in_one_sentence(world: World, id: str) -> None:
    with pytest.raises(UserError) as told:
        await traced(world, id)
    assert str(told.value).endswith(".")
    assert id in str(told.value)


async def test_a_row_is_not_found_in_a_file_without_it(world: World) -> None:
    with pytest.raises(UserError, match="There is no archive of documents file-x"):
        await traced(world, MADE.examples[0].id, "file-x")
