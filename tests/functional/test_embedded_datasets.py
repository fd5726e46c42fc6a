"""Data sets by a model of embeddings: real vectors of a tiny model, served; planning and assembly as in operation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from contracts.corpus import Chunks, CorpusPlan
from contracts.documents.models import PUBLIC
from contracts.envelope import derived_id, make
from contracts.events.corpus import CorpusPlanned, DatasetAssembled, DatasetFailed, Embedded
from contracts.events.models import ModelRegistered
from contracts.manifest import ManifestRef
from contracts.ports import Complete, UnavailableError
from functions._shared import patience, vectors
from functions.assemble_dataset import work as assembly
from functions.assemble_dataset.core import RowSettings
from functions.generate_text.app import create_app
from functions.plan_corpus import work as planning
from functions.plan_corpus.settings import PlanSettings
from functions.register_model.work import register_embedding
from infra.adapters.http.serving import HttpComplete, Serving
from infra.adapters.memory import MemoryBlobs, MemoryControls, MemoryDocuments
from tests.children import ForkedChild
from tests.functional import test_assemble_dataset as assembling
from tests.functional.bases import SameProcess
from tests.functional.edge import CannedReply
from tests.functional.edge import World as EdgeWorld
from tests.functional.embedders import CONTEXT, WIDTH, embedder, nobody
from tests.functional.test_generate_text import served
from tests.functional.test_plan_corpus import ARCHIVE, LISTED, with_texts
from tests.leases import held
from tests.unit.assemble_dataset.archive import archive

MODEL, TEXT_MODEL = "tiny-embedder", "writer"
PROMPTS = {"prompts": {"query": "which gate ", "document": ""}}
SAID = "The red key opens the gate at noon and nobody has one."
TOLD = "At noon the red key opens the gate and nobody has one."
"""The same in another order: few of its five words in a row are SAID's."""
OTHERS = ("Kettle 40 weighs 7.", "xyz qqq jjj zzz www vvv", "A blue kettle, " * 40)
"""The last one is longer than the model's context."""
SIMILAR = 0.99


class Stored(NamedTuple):
    url: str
    registered: ModelRegistered
    blobs: MemoryBlobs


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    root, blobs = tmp_path_factory.mktemp("embedded"), MemoryBlobs()
    folder = embedder(root / "model", prompts=PROMPTS)
    data, _ = asyncio.run(register_embedding(blobs, SameProcess(), MODEL, folder))
    with served(create_app(blobs, root / "cache", "cpu", threads=1)) as url:
        yield Stored(url, data, blobs)


@dataclass
class Asking:
    """The `Complete` port to real serving, which remembers what it was asked and may fail first."""

    complete: Complete
    asked: list[dict[str, Any]] = field(default_factory=list)
    fails: list[Exception] = field(default_factory=list)

    async def __call__(self, path: str, body: bytes, manifest: ManifestRef, request_id: str, tenant: str) -> Any:
        assert (path, tenant) == ("/v1/embeddings", "acme/batch")
        self.asked.append(json.loads(body))
        if self.fails:
            raise self.fails.pop(0)
        return await self.complete(path, body, manifest, request_id, tenant)

    @property
    def texts(self) -> list[str]:
        return [text for each in self.asked for text in each["input"]]


class World(NamedTuple):
    blobs: MemoryBlobs
    documents: MemoryDocuments
    serving: Asking
    registered: ModelRegistered


@pytest.fixture
async def world(serving: Stored, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(patience, "_WAIT", 0.0)
    documents = MemoryDocuments()
    writer = serving.registered.model_copy(update={"kind": "base"})
    for name, data in ((MODEL, serving.registered), (TEXT_MODEL, writer)):
        await documents.apply(replace(make(data, subject=name, tenant=PUBLIC, id=derived_id(name)), at=1))
    blobs = MemoryBlobs()
    blobs._blobs |= serving.blobs._blobs
    connections = Serving(serving.url)
    yield World(blobs, documents, Asking(HttpComplete(connections)), serving.registered)
    await connections.close()


async def archived(world: World) -> list[dict[str, Any]]:
    return [
        await with_texts(world.blobs, "a", [SAID, *OTHERS[:2]]),
        await with_texts(world.blobs, "b", [TOLD, OTHERS[2]]),
    ]


async def planned(
    world: World,
    documents: list[dict[str, Any]],
    scratch: Path,
    complete: Complete | None = None,
    controls: MemoryControls | None = None,
    **settings: Any,
) -> CorpusPlanned | DatasetFailed:
    listed = {"documents": documents, "rejected": []}
    await world.blobs.put(LISTED, json.dumps(listed).encode())
    inputs = {"event_id": "e1", "archive": ARCHIVE, "listed": {"key": LISTED}}
    lease = held(f"{ARCHIVE}/plan", "acme", "plan_corpus", inputs, controls)
    ports = planning.PlanPorts(world.blobs, ForkedChild(), scratch, world.documents, complete or world.serving)
    chosen = {"held_out": 0.25, "embedding_model": MODEL, "duplicate_similarity": SIMILAR, **settings}
    (event,) = await planning.work(lease, ports, PlanSettings.model_validate(chosen))
    assert isinstance(event.data, CorpusPlanned | DatasetFailed)
    return event.data


async def plan_of(world: World, found: CorpusPlanned | DatasetFailed) -> CorpusPlan:
    assert isinstance(found, CorpusPlanned), found
    return CorpusPlan.model_validate_json(await world.blobs.get(found.plan.key))


async def texts_of(world: World, documents: list[dict[str, Any]]) -> dict[str, str]:
    """Return chunk → text."""
    read = [Chunks.model_validate_json(await world.blobs.get(each["chunks"]["key"])) for each in documents]
    return {chunk.id: chunk.text for each in read for chunk in each.chunks}


async def test_what_says_the_same_in_other_words_goes_where_a_model_is_asked_for_and_stays_where_none_is(
    world: World, tmp_path: Path
) -> None:
    documents = await archived(world)
    texts = await texts_of(world, documents)
    plain = await planned(world, documents, tmp_path, nobody, embedding_model="")
    assert isinstance(plain, CorpusPlanned)
    assert (plain.duplicates, plain.chunks, plain.embedded) == (0, 5, None)
    assert b'"by"' not in await world.blobs.get(plain.plan.key)

    found = await planned(world, documents, tmp_path)
    made = await plan_of(world, found)
    assert [(texts[each.chunk], texts[each.of], each.by) for each in made.dropped] in (
        [(TOLD, SAID, "embedding")],
        [(SAID, TOLD, "embedding")],  # whichever document has the lower hash is first
    )
    assert made.dropped[0].similarity >= made.duplicate_similarity == SIMILAR
    again = await planned(world, documents[::-1], tmp_path)
    assert again == found


async def test_vectors_lie_beside_the_plan_in_the_order_of_chunks_and_what_was_cut_is_counted(
    world: World, tmp_path: Path
) -> None:
    documents = await archived(world)
    found = await planned(world, documents, tmp_path)
    assert isinstance(found, CorpusPlanned)
    said = found.embedded
    assert said is not None
    assert (said.model, said.manifest) == (MODEL, world.registered.manifest)
    assert (said.vectors.key, said.dimensions, said.cut) == (f"acme/{ARCHIVE}/chunks.f32", WIDTH, 1)
    values = np.frombuffer(await world.blobs.get(said.vectors.key), "<f4").reshape(5, WIDTH)
    assert np.abs(np.linalg.norm(values, axis=1) - 1).max() < 1e-6
    texts = await texts_of(world, documents)
    assert world.serving.texts == [texts[id] for id in sorted(texts)]
    assert {each["prompt_name"] for each in world.serving.asked} == {"document"}
    left = set(await world.blobs.list(f"acme/{ARCHIVE}/chunks"))
    assert left == {f"acme/{ARCHIVE}/chunks.f32", f"acme/{ARCHIVE}/chunks.json"}


async def test_a_retry_asks_nothing_again(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "MOST_TEXTS", 2)
    monkeypatch.setattr(vectors, "IN_FLIGHT", 1)
    documents, controls = await archived(world), MemoryControls()
    world.serving.fails = [*[UnavailableError("serving", "away")] * patience.TRIES]
    with pytest.raises(UnavailableError):
        await planned(world, documents, tmp_path, controls=controls)
    assert not await world.blobs.list(f"acme/{ARCHIVE}/chunks")

    answered: list[str] = []
    real = world.serving.complete

    async def dies(path: str, body: bytes, *rest: Any) -> Any:
        if len(answered) == 2:
            raise UnavailableError("serving", "away")
        answered.append(body.decode())
        return await real(path, body, *rest)

    world.serving.complete = dies
    with pytest.raises(UnavailableError):
        await planned(world, documents, tmp_path, controls=controls)
    world.serving.complete, world.serving.asked = real, []
    found = await planned(world, documents, tmp_path, controls=controls)
    assert len(world.serving.asked) == 1  # of three parts two were there
    assert await planned(world, documents, tmp_path, nobody, controls) == found


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("nothing", "embedding_model_not_found", "'nothing' does not exist"),
        (TEXT_MODEL, "unsupported_model", "makes no embeddings"),
    ],
)
async def test_a_model_that_makes_no_vectors_is_a_verdict_that_says_what_to_do(
    world: World, tmp_path: Path, name: str, code: str, said: str
) -> None:
    found = await planned(world, await archived(world), tmp_path, nobody, embedding_model=name)
    assert isinstance(found, DatasetFailed)
    assert found.code == code
    assert said in found.message
    assert "dataset.embedding_model" in found.message


async def test_what_serving_refuses_is_a_verdict_in_its_words(world: World, tmp_path: Path) -> None:
    async def refuses(*_: Any) -> CannedReply:
        async def body() -> Any:
            yield b'{"error": {"message": "The weights are gone.", "code": "model_not_found"}}'

        return CannedReply(404, {}, body())

    found = await planned(world, await archived(world), tmp_path, refuses)
    assert isinstance(found, DatasetFailed)
    assert found.code == "embedding_failed"
    assert "The weights are gone." in found.message


@pytest.mark.parametrize("name", [MODEL, "none"])
async def test_what_a_request_may_name_is_shown_as_it_was_asked(serving: Stored, name: str) -> None:
    edge = EdgeWorld()
    await edge.say(serving.registered, MODEL, PUBLIC)
    async with edge.client(await edge.key("acme")) as api:
        data = {"purpose": "fine-tune", "dataset[embedding_model]": name, "dataset[duplicate_similarity]": "0.93"}
        made = (
            await api.post("/v1/files", files={"file": ("a.md", b"# Pumps\n\nOne weighs 3 kg.\n")}, data=data)
        ).json()
        shown = (await api.get(f"/v1/files/{made['id']}")).json()["dataset"]["asked"]
    assert shown == {"embedding_model": name, "duplicate_similarity": 0.93}


async def test_none_is_no_model_whatever_the_servers_setting(world: World, tmp_path: Path) -> None:
    found = await planned(world, await archived(world), tmp_path, nobody, embedding_model="none")
    assert isinstance(found, CorpusPlanned)
    assert found.embedded is None


MADE = archive(documents=4, chunks=6, held_out=1)


async def embedded(world: World) -> dict[str, Any]:
    """Store what comes before assembly, with the vectors of all chunks, and return the inputs."""
    inputs = await assembling.stored(MADE, world.blobs)
    plan = MADE.plan.model_copy(update={"duplicate_similarity": SIMILAR})
    blob = await world.blobs.put(f"{assembling.PREFIX}/plan.json", plan.model_dump_json().encode())
    chunks = [(chunk.id, chunk.text) for each in MADE.documents for chunk in each.chunks]
    model = vectors.Embedding(world.serving, world.blobs, "acme", MODEL, world.registered.manifest)
    said = await model.of(chunks, f"{assembling.PREFIX}/chunks", vectors.PASSAGE)
    world.serving.asked.clear()
    return {**inputs, "plan": blob.model_dump(mode="json"), "embedded": said.model_dump(mode="json")}


async def assembled(
    world: World, inputs: dict[str, Any], scratch: Path, complete: Complete | None = None, **settings: Any
) -> tuple[DatasetAssembled, dict[str, Any], list[dict[str, Any]]]:
    """Return what is said, the report and the lineage of the training rows."""
    ports = assembling.ports(world.blobs, scratch, complete or world.serving)
    (event,) = await assembly.work(assembling.lease(inputs), ports, RowSettings(**settings))
    assert isinstance(event.data, DatasetAssembled), event.data
    lines = (await world.blobs.get(event.data.lineage.key)).splitlines()
    return event.data, json.loads(await world.blobs.get(event.data.report.key)), [json.loads(line) for line in lines]


async def vectors_of(world: World, said: Embedded, ids: Sequence[str]) -> dict[str, np.ndarray[Any, Any]]:
    values = np.frombuffer(await world.blobs.get(said.vectors.key), "<f4").reshape(len(ids), -1)
    return dict(zip(sorted(ids), values, strict=True))


async def test_distractors_are_the_nearest_that_may_not_answer_and_the_report_says_so(
    world: World, tmp_path: Path
) -> None:
    inputs = await embedded(world)
    found, report, rows = await assembled(world, inputs, tmp_path)
    assert {each["prompt_name"] for each in world.serving.asked} == {"query"}
    assert sorted(world.serving.texts) == sorted(each.question for each in MADE.examples)
    assert report["distractors"] == "bm25+embedding"
    assert report["settings"]["embedding_model"] == report["embedding"]["model"] == MODEL
    assert report["embedding"]["duplicate_similarity"] == SIMILAR
    assert (report["embedding"]["cut_chunks"], report["embedding"]["dimensions"]) == (0, WIDTH)
    assert report["duplicates"] == {"minhash": 0, "embedding": 0}

    chunks = await vectors_of(world, Embedded.model_validate(inputs["embedded"]), [c.chunk for c in MADE.plan.chunks])
    (key,) = [each for each in await world.blobs.list(f"{assembling.PREFIX}/questions") if each.endswith(".json")]
    asked = Embedded.model_validate_json(await world.blobs.get(key))
    questions = await vectors_of(world, asked, [each.id for each in MADE.examples])
    shown = 0
    for row in rows:
        own = float(questions[row["example"]] @ chunks[row["chunk"]])
        for other in row["distractors"]:
            shown += 1
            assert float(questions[row["example"]] @ chunks[other]) < 0.95 * own + 1e-4
    assert shown > 10

    plain, by_words, lineage = await assembled(world, {**inputs, "embedded": None}, tmp_path, nobody)
    assert (by_words["distractors"], by_words["embedding"]) == ("bm25", None)
    assert by_words["settings"]["embedding_model"] == ""
    assert [each["distractors"] for each in lineage] != [each["distractors"] for each in rows]
    assert plain.version != found.version


async def test_questions_are_embedded_once_also_for_a_recuration(world: World, tmp_path: Path) -> None:
    inputs = await embedded(world)
    found, report, _ = await assembled(world, inputs, tmp_path)
    again, _, _ = await assembled(world, inputs, tmp_path, nobody)
    assert again == found
    bounds = {"min_score": {"support": 0.1}, "max_score": {}}
    recurated = {**inputs, **bounds, "report": found.report.model_dump(mode="json")}
    made, second, _ = await assembled(world, recurated, tmp_path, nobody)
    assert second["distractors"] == "bm25+embedding"
    assert second["embedding"] == report["embedding"]
    assert made.rows == found.rows


def test_requests_are_bounded_in_texts_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "MOST_TEXTS", 3)
    monkeypatch.setattr(vectors, "MOST_BYTES", 10)
    texts = ["a"] * 4 + ["ä" * 4, "bb", "cc", "d" * 11, "", "\ud800"]
    assert list(vectors.batches(texts)) == [["a"] * 3, ["a", "ä" * 4], ["bb", "cc"], ["d" * 11], [" ", "?"]]
    assert list(vectors.batches([])) == []
    assert CONTEXT < vectors.LONGEST
