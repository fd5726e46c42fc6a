"""P5: of real public documents, full of texts that say nearly the same, every row is at its place and none leaks."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from random import Random
from time import monotonic
from typing import Any

import pypdfium2
import pytest

from contracts.corpus import Chunks, CorpusPlan, Member, RowOrigin, Text, plain_text
from contracts.events.corpus import DatasetAssembled
from functions.plan_corpus.core import plan
from functions.plan_corpus.settings import PlanSettings
from infra.runtime.world import World
from infra.settings import of_function
from tests.e2e import support
from tests.e2e.public_documents import documents
from tests.e2e.support import User
from tests.e2e.test_documents import checked, upload
from tests.e2e.test_generator import rows, tenant
from tests.endpoint import ANSWERS, Endpoint
from tests.sizes import sized
from tests.stack import Stack, running_stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]

SETTINGS = {
    "TEMPER_CHUNK_TOKENS": "1024",  # the demo's tokenizer makes five of a word that it does not know
    "TEMPER_CHUNK_OVERLAP": "128",
    "TEMPER_CONTEXT_TOKENS": "4096",
    "TEMPER_CLOSED_BOOK": "false",
}
DRAWN = sized(100, 500)
ORDERS = sized(10, 50)
SIMILAR = 0.8


@dataclass(frozen=True)
class Made:
    """What the stack made of an archive."""

    file: str
    content: dict[str, bytes]
    """SHA-256 → the document, as it was packed."""
    members: list[Member]
    texts: dict[str, Text]
    chunks: dict[str, Chunks]
    plan: CorpusPlan
    origins: list[RowOrigin]
    """Of the training rows."""


def packed(members: Iterable[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


def collected(stack: Stack, file: str, content: dict[str, bytes]) -> Made:
    def assembled() -> DatasetAssembled | None:  # a file may be shown as processed before its archive is
        with support.database(stack) as db:
            found = support.view(db, "archives", file).get("assembled")
        return DatasetAssembled.model_validate(found) if found else None

    made = support.until(assembled, f"the archive {file}")

    async def collect(here: World) -> Made:
        async def stored(key: str) -> bytes:
            return await here.blobs.get(f"{ANSWERS}/{file}/{key}")

        members = [Member.model_validate(each) for each in json.loads(await stored("members.json"))]
        taken = [each.document for each in members if each.document]
        lineage = (await here.blobs.get(made.lineage.key)).splitlines()
        return Made(
            file=file,
            content={sha256(each).hexdigest(): each for each in content.values()},
            members=members,
            texts={each: Text.model_validate_json(await stored(f"documents/{each}/text.json")) for each in taken},
            chunks={each: Chunks.model_validate_json(await stored(f"documents/{each}/chunks.json")) for each in taken},
            plan=CorpusPlan.model_validate_json(await stored("plan.json")),
            origins=[RowOrigin.model_validate_json(line) for line in lineage],
        )

    found: Made = support.in_world(stack, collect)
    return found


def split(stack: Stack, file: str) -> dict[tuple[str, int], str]:
    """(hash of the document, place in it) → split, once it is fixed: nothing that depends on the upload's name."""

    def planned() -> bool:
        with support.database(stack) as db:
            return bool(support.view(db, "archives", file).get("planned"))

    support.until(planned, f"the plan of {file}", 2 * support.PATIENCE)

    async def read(here: World) -> dict[tuple[str, int], str]:
        async def stored(key: str) -> bytes:
            return await here.blobs.get(f"{ANSWERS}/{file}/{key}")

        members = [Member.model_validate(each) for each in json.loads(await stored("members.json"))]
        at = {
            chunk.id: (member.sha256, chunk.index)
            for member in members
            if member.document
            for chunk in Chunks.model_validate_json(await stored(f"documents/{member.document}/chunks.json")).chunks
        }
        plan = CorpusPlan.model_validate_json(await stored("plan.json"))
        return {at[each.chunk]: each.split for each in plan.chunks}

    found: dict[tuple[str, int], str] = support.in_world(stack, read)
    return found


@pytest.fixture(scope="module")
def roomy(tmp_path_factory: pytest.TempPathFactory, endpoint: Endpoint) -> Iterator[Stack]:
    """A stack whose chunks have room for a paragraph of such texts."""
    home = tmp_path_factory.mktemp("roomy")
    own = {"TEMPER_GENERATORS_FILE": str(endpoint.file(home / "generators.json"))}
    with running_stack(home, env={**SETTINGS, **own}) as running:
        yield running


@pytest.fixture(scope="module")
def reader(roomy: Stack) -> User:
    """Somebody whose questions an endpoint writes, so that quotes have to be looked for."""
    return tenant(roomy, ANSWERS)


@pytest.fixture(scope="module")
def real() -> dict[str, bytes]:
    """Name → document."""
    return documents()


@pytest.fixture(scope="module")
def made(reader: User, real: dict[str, bytes]) -> Made:
    """The data set of all of them."""
    began = monotonic()
    file = upload(reader, packed(real.items()), "public.zip")
    checked(reader, file, within=2 * support.PATIENCE)
    found = collected(reader.stack, file, real)
    formats = [each.format for each in found.texts.values()]
    counts = {format: formats.count(format) for format in sorted(set(formats))}
    held_out = sum(each.split == "held_out" for each in found.plan.chunks)
    print(
        f"\n{len(real)} documents, {counts} taken, {len(found.plan.chunks)} chunks ({held_out} held out), "
        f"{len(found.plan.dropped)} dropped, {len(found.origins)} rows, {monotonic() - began:.0f} s"
    )
    return found


def page_by_another_reader(content: bytes, number: int) -> str:
    """A page's text as pdfium has it in the order of the file, before anything of ours has looked at it."""
    with pypdfium2.PdfDocument(content) as document:
        return plain_text(document[number - 1].get_textpage().get_text_bounded())


def test_the_documents_are_many_and_many_are_alike(made: Made) -> None:
    assert sized(40, 100) <= len(made.members) <= 200
    assert {text.format for text in made.texts.values()} >= {"pdf", "docx", "html", "md", "txt"}
    assert [each.code for each in made.members if each.code].count("duplicate") >= sized(1, 5)
    assert len(made.plan.dropped) >= sized(10, 50)
    assert all(len(text.pages) > 1 for text in made.texts.values() if text.format == "pdf")


def test_the_quotes_of_rows_drawn_by_chance_are_at_their_spans_on_their_pages(reader: User, made: Made) -> None:
    quoting = [row for row in rows(reader, made.file) if row["kind"] == "answered"]
    pages_read = set()
    for row in Random(1).sample(quoting, DRAWN):
        source, span = row["source"], row["source"]["span"]
        text, quote = made.texts[source["document"]], plain_text(source["quote"])
        assert len(quote.split()) > 1, row
        (page,) = (each for each in text.pages if each.number == source["page"] == span["page"])
        assert plain_text(page.text[span["start"] : span["end"]]) == quote, row
        assert any(quote in plain_text(message["content"]) for message in row["messages"]), row
        content = made.content[source["sha256"]]
        if text.format == "pdf":
            assert quote in page_by_another_reader(content, source["page"]), row
            pages_read.add((source["document"], source["page"]))
    print(f"\n{DRAWN} of {len(quoting)} rows that quote; {len(pages_read)} pages of PDF read by another reader")
    assert len({page for _, page in pages_read}) > 2


def shingles(text: str, word: str) -> frozenset[tuple[str, ...]]:
    words = re.findall(word, text.lower())
    return frozenset(tuple(words[place : place + 5]) for place in range(max(1, len(words) - 4)))


def jaccard(one: frozenset[Any], other: frozenset[Any]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)


@pytest.mark.parametrize("word", [r"\S+", r"\w+"], ids=["parted by white space", "of letters and digits"])
def test_no_held_out_chunk_has_a_near_duplicate_in_what_training_rows_show(made: Made, word: str) -> None:
    chunks = {chunk.id: chunk for each in made.chunks.values() for chunk in each.chunks}
    held_out = [each.chunk for each in made.plan.chunks if each.split == "held_out"]
    shown = {chunk for each in made.origins for chunk in each.distractors}
    shown |= {each.chunk for each in made.origins if each.position is not None}
    assert len(held_out) >= sized(5, 10)
    assert len(shown) >= sized(40, 100)
    assert not shown & set(held_out)
    trained = {chunk: shingles(chunks[chunk].text, word) for chunk in shown}
    nearest = []
    for secret in held_out:
        own = shingles(chunks[secret].text, word)
        nearest.append(max((jaccard(own, other), secret, chunk) for chunk, other in trained.items()))
    print(f"\n{len(held_out)} × {len(shown)} chunks; the most alike: {sorted(nearest)[-1]}")
    assert [each for each in nearest if each[0] >= SIMILAR] == []


def test_any_order_of_the_documents_gives_the_same_plan(made: Made) -> None:
    rng, planned, settings = Random(2), [*made.chunks.values()], of_function(PlanSettings)
    for _ in range(ORDERS):
        rng.shuffle(planned)
        again = [
            each.model_copy(update={"chunks": tuple(rng.sample(each.chunks, len(each.chunks)))}) for each in planned
        ]
        assert plan(again, made.plan.rejected_documents, settings.held_out, settings.rows_per_chunk) == made.plan


def test_an_archive_packed_in_another_order_is_split_the_same(reader: User, real: dict[str, bytes]) -> None:
    order, files = [*real.items()][::5], []
    for seed in (3, 4):
        Random(seed).shuffle(order)
        files.append(upload(reader, packed(order), "public.zip"))
    splits = [split(reader.stack, file) for file in files]
    assert splits[0] == splits[1]
    assert set(splits[0].values()) == {"train", "held_out"}
    for file in files:  # its rows are nobody's business any more
        reader.client.files.delete(file)
