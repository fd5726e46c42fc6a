"""Re-curation over the edge and the worker: a new file from recorded questions, its documents those of the source."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from rich.console import Console

from contracts.corpus import RowOrigin
from contracts.envelope import Event
from contracts.events.corpus import DatasetAssembled, DatasetFailed, DatasetRecurated
from contracts.events.files import FileDeleted
from contracts.events.jobs import JobCancelled
from functions.assemble_dataset import handler, work
from functions.assemble_dataset.core import RowSettings
from functions.assemble_dataset.handler import retake
from functions.assemble_dataset.settings import DatasetSettings
from infra.cli.trace import Tracer
from infra.runtime.deleted_files import ErasingBlobs
from infra.runtime.world import now_ms
from tests.functional.dataset import (
    MADE,
    MODEL,
    Assembled,
    asked,
    assemble_made,
    conclude,
    job,
    planned,
    read,
    uploaded,
)
from tests.functional.edge import World
from tests.functional.test_assemble_dataset import ARCHIVE, PREFIX, lease, ports

SCORES = [
    {"support": 0.5},
    {"support": 1.0, "closed_book": 0.9},
    {"support": 0.9, "closed_book": 0.1},
    {"support": 0.8},
    {"support": 0.6, "closed_book": 0.5},
]
RATED = replace(
    MADE,
    examples=tuple(
        each.model_copy(update={"scores": SCORES[at % len(SCORES)]}) for at, each in enumerate(MADE.examples)
    ),
)
BOUNDS = {"min_score": {"support": 0.6}, "max_score": {"closed_book": 0.5}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def assembled(tmp_path_factory: pytest.TempPathFactory) -> Assembled:
    return await assemble_made(tmp_path_factory.mktemp("scratch"), RATED)


@pytest.fixture
async def world(assembled: Assembled) -> World:
    """An archive whose data set is ready."""
    here = World()
    for step in (uploaded, read, planned):
        await step(here)
    await asked(here, RATED)
    await conclude(here, assembled)
    return here


@pytest.fixture
async def api(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with world.client(await world.key("acme", 1)) as client:
        yield client


LATE = 2**53
"""Milliseconds: whatever waits has waited long enough."""


async def recurate(api: httpx.AsyncClient, body: Any = BOUNDS, file: str = ARCHIVE, **headers: str) -> httpx.Response:
    return await api.post(f"/v1/files/{file}/recurate", json=body, headers=headers)


async def opened(world: World, id: str, since: int = -1) -> dict[str, Any] | None:
    """What the worker's handler makes of the event: the inputs of the work, None while it waits."""
    rung: list[str] = []
    for event in [each for each in world.emit.events if each.subject == id and each.type == "dataset.recurated"]:
        await handler.on_examples_ended(event, world.blobs, world.documents, world.controls, rung.append)
    await handler.settle(id, world.blobs, world.documents, world.controls, rung.append, None, since)
    control = world.controls.controls.get(f"{id}/dataset")
    assert not rung or (control is not None and control.ready)
    return dict(control.inputs) if control and control.ready else None


async def made(world: World, id: str, scratch: Path, settings: RowSettings | None = None) -> Event:
    """The worker makes the data set and says so."""
    inputs = await opened(world, id)
    assert inputs is not None
    blobs = ErasingBlobs(world.blobs, world.documents)
    (event,) = await work.work(lease(inputs, archive=id), ports(blobs, scratch), settings)
    event = replace(event, tenant=world.controls.controls[f"{id}/dataset"].tenant)
    await world.documents.apply(await world.emit(event))
    assert event.subject == id
    return event


async def test_a_new_file_has_the_rows_within_the_bounds_and_the_old_one_is_what_it_was(
    world: World, api: httpx.AsyncClient, assembled: Assembled, tmp_path: Path
) -> None:
    before = (await api.get(f"/v1/files/{ARCHIVE}")).json()
    kept = {key: await world.blobs.get(key) for key in await world.blobs.list(f"{PREFIX}/")}
    said = len(world.emit.events)
    answer = await recurate(api)
    assert answer.status_code == 200, answer.text
    file = answer.json()
    assert file["id"] not in ("", ARCHIVE)
    assert (file["object"], file["status"], file["filename"]) == ("file", "uploaded", before["filename"])
    shown = (await api.get(f"/v1/files/{file['id']}")).json()["dataset"]
    assert (shown["stage"], shown["source"], shown["rows"]) == ("assembling", ARCHIVE, None)
    assert {name: shown[name] for name in BOUNDS} == BOUNDS
    assert shown["documents"] == before["dataset"]["documents"]
    data = (await made(world, file["id"], tmp_path)).data
    assert isinstance(data, DatasetAssembled)
    assert [event.type for event in world.emit.events[said:]] == ["dataset.recurated", "dataset.assembled"]

    found = (await api.get(f"/v1/files/{file['id']}")).json()
    assert (found["status"], found["dataset"]["stage"]) == ("processed", "ready")
    assert 10 <= found["dataset"]["rows"] < before["dataset"]["rows"]
    rows = (await api.get(f"/v1/files/{file['id']}/rows?limit=100")).json()["data"]
    assert len(rows) == data.rows
    for row in rows:
        assert row["scores"]["support"] >= 0.6
        assert row["scores"].get("closed_book", 0) <= 0.5
    report = (await api.get(f"/v1/files/{file['id']}/report")).json()
    good = [each for each in RATED.examples if each.split == "train" and each.scores in SCORES[2:]]
    assert report["examples"]["train"]["kept"] == len(good)
    lost = {each: report["examples"]["train"]["dropped"][each] for each in ("below_min_score", "above_max_score")}
    assert sum(lost.values()) == 18 - len(good)
    assert {name: report["settings"][name] for name in BOUNDS} == BOUNDS

    assert {key: await world.blobs.get(key) for key in await world.blobs.list(f"{PREFIX}/")} == kept
    assert (await api.get(f"/v1/files/{ARCHIVE}")).json() == before
    assert all(key.startswith(f"acme/{file['id']}/dataset") for key in await world.blobs.list(f"acme/{file['id']}/"))


async def test_the_same_scores_make_the_same_version_whatever_the_settings_are_by_then(
    world: World, api: httpx.AsyncClient, assembled: Assembled, tmp_path: Path
) -> None:
    versions = []
    for settings in (None, RowSettings(variants=5, hard=0, absent_share=0.4)):
        id = (await recurate(api)).json()["id"]
        versions.append((await made(world, id, tmp_path, settings)).data.model_dump()["version"])
    assert versions[0] == versions[1] != assembled[0].version
    everything = (await recurate(api, {"min_score": {"support": 0}})).json()["id"]
    assert (await made(world, everything, tmp_path)).data.model_dump()["version"] == assembled[0].version


async def test_too_few_rows_within_the_bounds_are_no_data_set(
    world: World, api: httpx.AsyncClient, tmp_path: Path
) -> None:
    id = (await recurate(api, {"min_score": {"support": 1}})).json()["id"]
    data = (await made(world, id, tmp_path)).data
    assert isinstance(data, DatasetFailed)
    assert data.code == "too_few_rows"
    shown = (await api.get(f"/v1/files/{id}")).json()
    assert shown["status"] == "error"
    assert "below_min_score" in shown["status_details"]
    assert "Ask for a lower min_score" in shown["status_details"]


async def test_what_is_recurated_again_keeps_its_bounds_and_names_the_documents_file(
    world: World, api: httpx.AsyncClient, tmp_path: Path
) -> None:
    first = (await recurate(api, {"min_score": {"support": 0.6}})).json()["id"]
    await made(world, first, tmp_path)
    second = (await recurate(api, {"min_score": {"support": 0.3}, "max_score": {"closed_book": 0.5}}, first)).json()
    shown = (await api.get(f"/v1/files/{second['id']}")).json()["dataset"]
    assert shown["source"] == ARCHIVE
    assert {name: shown[name] for name in BOUNDS} == BOUNDS
    answer = await recurate(api, {"max_score": {"support": 0.5}}, first)
    assert answer.json()["error"]["param"] == "max_score.support"


async def test_a_retry_is_answered_with_the_same_file(world: World, api: httpx.AsyncClient) -> None:
    one = (await recurate(api, **{"idempotency-key": "k"})).json()["id"]
    assert (await recurate(api, **{"idempotency-key": "k"})).json()["id"] == one
    other = await recurate(api, {"min_score": {"support": 0.1}}, **{"idempotency-key": "k"})
    assert other.json()["error"]["code"] == "idempotency_key_reused"
    assert (await recurate(api)).json()["id"] != one
    assert [event.subject for event in world.emit.events if event.type == "dataset.recurated"].count(one) == 1


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "missing_required_parameter", "min_score"),
        ({"min_score": {}}, "missing_required_parameter", "min_score"),
        ({"min_score": 0.5}, "invalid_type", "min_score"),
        ({"min_score": {"overlap": 0.5}}, "invalid_value", "min_score"),
        ({"max_score": {"support": 1.01}}, "decimal_above_max_value", "max_score.support"),
        ({"max_score": {"support": -1}}, "decimal_below_min_value", "max_score.support"),
        ({"min_score": {"support": "0.5"}}, "invalid_type", "min_score.support"),
        ({"min_score": {"support": None}}, "invalid_type", "min_score.support"),
        ({"min_score": {"support": True}}, "invalid_type", "min_score.support"),
        ({"min_score": {"support": 0.6}, "max_score": {"support": 0.5}}, "invalid_value", "max_score.support"),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused(
    world: World, api: httpx.AsyncClient, body: Any, code: str, param: str
) -> None:
    answer = await recurate(api, body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == (code, param)
    if param in ("min_score", "max_score") and code != "invalid_type":
        assert "support" in error["message"]
        assert "closed_book" in error["message"]
    assert "dataset.recurated" not in world.topics()


async def test_a_file_without_a_data_set_is_refused(world: World, api: httpx.AsyncClient) -> None:
    rows = (await api.post("/v1/files", files={"file": ("a.jsonl", b"{}\n")}, data={"purpose": "fine-tune"})).json()
    assert (await recurate(api, file=rows["id"])).json()["error"]["code"] == "no_dataset"
    early = (await recurate(api)).json()["id"]
    assert (await recurate(api, file=early)).json()["error"]["code"] == "dataset_not_ready"
    await world.say(DatasetFailed(code="coverage_too_low", message="Too little."), early, "acme")
    assert (await recurate(api, file=early)).json()["error"]["code"] == "coverage_too_low"
    assert (await recurate(api, file="file-nowhere")).status_code == 404
    async with world.client(await world.key("umbrella", 2)) as other:
        assert (await recurate(other)).status_code == 404
    await api.delete(f"/v1/files/{ARCHIVE}")
    assert (await recurate(api)).status_code == 404


async def test_lineage_and_content_are_found_with_the_source(
    world: World, api: httpx.AsyncClient, tmp_path: Path
) -> None:
    id = (await recurate(api)).json()["id"]
    data = (await made(world, id, tmp_path)).data.model_dump()
    await job(world, "ftjob-2", id)
    await world.tuned("ftjob-2", MODEL, 30, "acme")
    lines = (await world.blobs.get(data["lineage"]["key"])).splitlines()
    origins = [RowOrigin.model_validate_json(line) for line in lines]
    document = MADE.documents[0]
    query = f"/v1/lineage?file={id}&page=1&document={document.document}"
    (found,) = (await api.get(query)).json()["data"]
    assert [each["id"] for each in found["chunks"]] == [each.id for each in document.chunks[:4]]
    for each in found["chunks"]:
        about = [f"train-{origin.line}" for origin in origins if origin.chunk == each["id"]]
        assert [row["id"] for row in each["rows"] if row["role"] != "distractor"] == about
    assert [each["id"] for each in found["jobs"]] == ["ftjob-2"]
    content = await api.get(f"/v1/files/{id}/content")
    assert content.content == (await api.get(f"/v1/files/{ARCHIVE}/content")).content == b"bytes of the thing"


async def test_the_deletion_of_the_source_takes_what_was_recurated_of_it(
    world: World, api: httpx.AsyncClient, tmp_path: Path
) -> None:
    ready, early = [(await recurate(api)).json()["id"] for _ in range(2)]
    await made(world, ready, tmp_path)
    await job(world, "ftjob-2", ready)
    await world.tuned("ftjob-2", MODEL, 30, "acme")
    busy = (await api.delete(f"/v1/files/{ARCHIVE}")).json()["error"]
    assert busy["code"] == "file_in_use"
    assert ready in busy["message"]
    assert "file.deleted" not in world.topics()
    await world.say(JobCancelled(reason="requested"), "ftjob-2", "acme")
    answer = (await api.delete(f"/v1/files/{ARCHIVE}")).json()
    assert answer["recurated"] == [ready, early]
    assert answer["models"] == [{"id": MODEL, "deleted": False, "job": "ftjob-2", "used_as": "training_file"}]
    gone = [event.subject for event in world.emit.events if event.type == "file.deleted"]
    assert gone == [ready, early, ARCHIVE]
    assert await world.blobs.list("acme/") == []
    for id in (ready, early, ARCHIVE):
        assert (await api.get(f"/v1/files/{id}")).status_code == 404
    assert await opened(world, early) is None


async def test_what_was_recurated_goes_alone(world: World, api: httpx.AsyncClient, tmp_path: Path) -> None:
    id = (await recurate(api)).json()["id"]
    await made(world, id, tmp_path)
    before = await world.blobs.list(f"{PREFIX}/")
    assert (await api.delete(f"/v1/files/{id}")).json()["recurated"] == []
    assert await world.blobs.list("acme/") == before
    assert (await api.get(f"/v1/files/{ARCHIVE}")).json()["dataset"]["stage"] == "ready"


async def test_a_source_that_is_deleted_at_the_same_time_takes_the_new_file_with_it(
    world: World, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = world.documents.apply

    async def meanwhile(event: Event, *models: str) -> None:
        await apply(event, *models)
        if event.type == "dataset.recurated":
            await world.say(FileDeleted(), ARCHIVE, "acme")

    monkeypatch.setattr(world.documents, "apply", meanwhile)
    assert (await recurate(api)).status_code == 404
    (born,) = [event for event in world.emit.events if event.type == "dataset.recurated"]
    gone = [event.subject for event in world.emit.events if event.type == "file.deleted"]
    assert gone == [ARCHIVE, born.subject]


def named(source: str, **bounds: Any) -> DatasetRecurated:
    stored = {"key": "umbrella/secret/content", "sha256": "0" * 64, "bytes": 7}
    return DatasetRecurated.model_validate({"source": source, "blob": stored, "filename": "a.zip", **bounds})


async def test_an_event_from_outside_waits_for_its_source_and_then_goes_on(
    tmp_path: Path, assembled: Assembled
) -> None:
    world = World()
    await world.say(named(ARCHIVE, **BOUNDS), "file-out", "acme")
    assert await opened(world, "file-out") is None
    for step in (uploaded, read, planned):
        await step(world)
        assert await opened(world, "file-out") is None
    await asked(world, RATED)
    assert await opened(world, "file-out", since=LATE) is None  # its data set is not there yet, and no time is too late
    await conclude(world, assembled)
    assert (await made(world, "file-out", tmp_path)).type == "dataset.assembled"


async def test_an_event_from_outside_about_nobodys_or_somebody_elses_file_ends_in_a_sentence(
    world: World, tmp_path: Path
) -> None:
    await world.say(named("file-nowhere"), "file-out", "acme")
    await world.say(named(ARCHIVE), "file-spy", "umbrella")
    for id in ("file-out", "file-spy"):
        assert await opened(world, id) is None
        assert await opened(world, id, since=LATE) is not None
        event = await made(world, id, tmp_path)
        assert isinstance(event.data, DatasetFailed)
        assert event.data.code == "source_not_found"
    async with world.client(await world.key("umbrella", 2)) as spy:
        shown = (await spy.get("/v1/files/file-spy")).json()
        assert shown["status"] == "error"
        assert shown["dataset"]["documents"] == {"total": None, "extracted": 0, "rejected": 0, "chunked": 0}
        assert (await spy.get("/v1/lineage?file=file-spy")).json()["data"] == []
        assert (await spy.get("/v1/files/file-spy/content")).status_code == 404


async def test_a_source_deleted_before_the_worker_looks_ends_in_a_sentence(world: World, tmp_path: Path) -> None:
    await world.say(FileDeleted(), ARCHIVE, "acme")
    await world.say(named(ARCHIVE), "file-out", "acme")
    data = (await made(world, "file-out", tmp_path)).data
    assert isinstance(data, DatasetFailed)
    assert data.code == "source_deleted"


async def test_the_reconciler_opens_what_nobody_opened_and_ends_what_nobody_knows(world: World) -> None:
    await world.say(named(ARCHIVE, **BOUNDS), "file-out", "acme")
    await world.say(named("file-nowhere"), "file-lost", "acme")
    rung: list[str] = []
    for wait, ready in ((10**10, [True, False]), (0, [True, True])):
        settings = DatasetSettings(file_wait_seconds=wait)
        for id in ("file-out", "file-lost"):
            view = await world.documents.get("archives", id)
            assert view is not None
            ports = (world.blobs, world.documents, world.controls, rung.append, now_ms, settings)
            await retake(view, *ports)
        held = [world.controls.controls[f"{id}/dataset"] for id in ("file-out", "file-lost")]
        assert [control.ready for control in held] == ready
    assert held[0].inputs["min_score"] == BOUNDS["min_score"]
    assert held[1].inputs["refused"]["code"] == "source_not_found"
    assert set(world.controls.controls) == {"file-out/dataset", "file-lost/dataset"}


async def traced(world: World, id: str, file: str | None = None) -> str:
    out = io.StringIO()
    Console(file=out, width=500).print(await Tracer(world.documents, world.blobs).trace(id, file), highlight=False)
    return out.getvalue()


async def test_every_id_leads_to_what_was_recurated_and_to_the_model_that_was_trained_on_it(
    world: World, api: httpx.AsyncClient, tmp_path: Path
) -> None:
    id = (await recurate(api)).json()["id"]
    await made(world, id, tmp_path)
    await job(world, "ftjob-2", id)
    await world.tuned("ftjob-2", MODEL, 30, "acme")
    good = next(each for each in RATED.examples if each.split == "train" and each.scores == SCORES[2])
    for other in (ARCHIVE, good.document, good.chunk, good.id):
        tree = await traced(world, other)
        assert MODEL in tree, other
        assert f"re-curated as {id}: data set" in tree
        assert "support at least 0.6, closed_book at most 0.5" in tree
    for other in (id, "ftjob-2", MODEL):
        tree = await traced(world, other)
        assert MODEL in tree
        assert f"{ARCHIVE} a.zip" in tree, other
    for other in (good.chunk, good.id, "train-1"):
        tree = await traced(world, other, id)
        assert MODEL in tree
        assert f"{ARCHIVE} a.zip" in tree
    bad = next(each for each in RATED.examples if each.split == "train" and each.scores == SCORES[0])
    assert MODEL not in await traced(world, bad.id)
    assert f"left out of {id}: below_min_score, support 0.50" in await traced(world, bad.id, id)
    await world.say(JobCancelled(reason="requested"), "ftjob-2", "acme")
    await api.delete(f"/v1/files/{id}")
    tree = await traced(world, good.chunk)
    assert f"re-curated as {id}, deleted" in tree
    assert MODEL in tree


def test_a_bad_event_from_outside_is_no_event() -> None:
    wrongs: list[dict[str, Any]] = [
        {"source": "file-1/../x"},
        {"min_score": {"overlap": 0.1}},
        {"max_score": {"support": 2}},
    ]
    for wrong in wrongs:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            named(**{"source": "file-1", **wrong})
    assert json.loads(named("file-1").model_dump_json())["purpose"] == "fine-tune"
