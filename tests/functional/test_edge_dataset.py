"""Data sets over the edge: rows lead to their pages, pages to their rows, jobs and models; a deletion takes all."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from contracts.blobs import BlobRef
from contracts.canonical import sha256
from contracts.corpus import RowOrigin
from contracts.events.corpus import (
    DatasetAssembled,
    DatasetFailed,
    DocumentRejected,
    DocumentUploaded,
    SkippedMember,
    ZipExtracted,
)
from contracts.events.jobs import JobCancelled
from tests.functional.dataset import (
    BROKEN,
    MADE,
    MODEL,
    Assembled,
    asked,
    assemble_made,
    conclude,
    job,
    part,
    planned,
    read,
    uploaded,
    whole_way,
)
from tests.functional.edge import BASE, World
from tests.functional.test_assemble_dataset import ARCHIVE, PREFIX
from tests.leases import held


@pytest.fixture
async def world() -> World:
    return World()


@pytest.fixture
async def api(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with world.client(await world.key("acme", 1)) as client:
        yield client


@pytest.fixture
async def other(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with world.client(await world.key("umbrella", 2)) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def assembled(tmp_path_factory: pytest.TempPathFactory) -> Assembled:
    return await assemble_made(tmp_path_factory.mktemp("scratch"))


@pytest.fixture
async def made(world: World, assembled: Assembled) -> DatasetAssembled:
    return await whole_way(world, assembled)


async def every_row(api: httpx.AsyncClient, query: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    after = ""
    while True:
        page = (await api.get(f"/v1/files/{ARCHIVE}/rows?{query}{after}")).json()
        rows += page["data"]
        if not page["has_more"]:
            return rows
        assert page["last_id"] == rows[-1]["id"]
        after = f"&after={page['last_id']}"


def refused(response: httpx.Response, status: int) -> tuple[str, str]:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error["code"], error["param"]


@pytest.mark.parametrize("split", ["train", "held_out"])
async def test_pages_of_rows_are_the_data_set_and_every_row_names_its_place(
    world: World, api: httpx.AsyncClient, made: DatasetAssembled, split: str
) -> None:
    rows = await every_row(api, f"limit=3&split={split}")
    key = f"{PREFIX}/dataset/{made.version}/{'rows' if split == 'train' else 'held_out'}.jsonl"
    lines = [json.loads(line) for line in (await world.blobs.get(key)).splitlines()]
    assert len(lines) == (made.rows if split == "train" else made.held_out_rows) > 6
    assert [row["messages"] for row in rows] == [line["messages"] for line in lines]
    assert [row["id"] for row in rows] == [f"{split}-{line}" for line in range(1, len(lines) + 1)]
    hashes = {document.document: (document.path, document.sha256) for document in MADE.documents}
    for row in rows:
        source = row["source"]
        assert (source["path"], source["sha256"]) == hashes[source["document"]]
        assert (row["generator"], row["scores"]) == ("extractive", {"overlap": 0.5})
        if row["kind"] == "answered":
            assert source["quote"] in part(source["chunk"]).text
            assert source["page"] == part(source["chunk"]).spans[0].page == source["span"]["page"]


async def test_the_id_of_a_held_out_row_leads_on_among_its_own(api: httpx.AsyncClient, made: DatasetAssembled) -> None:
    page = (await api.get(f"/v1/files/{ARCHIVE}/rows?after=held_out-2&limit=1")).json()
    assert [row["id"] for row in page["data"]] == ["held_out-3"]
    assert (page["object"], page["has_more"], page["first_id"]) == ("list", True, "held_out-3")


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("after=train-0", "after"),
        ("after=train-999999", "after"),
        ("after=train-%C2%B2", "after"),
        ("after=train-" + "9" * 5000, "after"),
        ("after=held_out-1&split=train", "after"),
        ("limit=101", "limit"),
        ("limit=0", "limit"),
        ("split=test", "split"),
        ("order=desc", "order"),
    ],
)
async def test_a_page_that_makes_no_sense_is_refused(
    api: httpx.AsyncClient, made: DatasetAssembled, query: str, param: str
) -> None:
    assert refused(await api.get(f"/v1/files/{ARCHIVE}/rows?{query}"), 400)[1] == param


async def test_the_report_is_served_as_it_was_made(
    world: World, api: httpx.AsyncClient, made: DatasetAssembled
) -> None:
    response = await api.get(f"/v1/files/{ARCHIVE}/report")
    assert response.headers["content-type"] == "application/json"
    assert response.content == await world.blobs.get(made.report.key)
    assert response.json()["coverage"]["train"]["share"] == 1.0


async def test_a_page_leads_to_its_rows_and_to_the_models_that_were_trained_on_them(
    world: World, api: httpx.AsyncClient, made: DatasetAssembled
) -> None:
    await job(world)
    await job(world, "ftjob-2", "file-of-somebody-else")
    await world.tuned("ftjob-1", MODEL, 30, "acme")
    await world.tuned("ftjob-2", MODEL + "2", 30, "acme")
    document = MADE.documents[0]
    query = f"/v1/lineage?file={ARCHIVE}&page=2&document={document.document}"
    (found,) = (await api.get(query)).json()["data"]
    assert (found["id"], found["path"], found["sha256"], found["page"]) == (
        document.document, document.path, document.sha256, 2,
    )  # fmt: skip
    assert [each["id"] for each in found["chunks"]] == [each.id for each in document.chunks[4:]]
    lineage = (await world.blobs.get(made.lineage.key)).splitlines()
    origins = [RowOrigin.model_validate_json(line) for line in lineage]
    for each in found["chunks"]:
        about = [f"train-{origin.line}" for origin in origins if origin.chunk == each["id"]]
        beside = [f"train-{origin.line}" for origin in origins if each["id"] in origin.distractors]
        assert about
        assert [row["id"] for row in each["rows"] if row["role"] != "distractor"] == about
        assert [row["id"] for row in each["rows"] if row["role"] == "distractor"] == beside
    (user,) = found["jobs"]
    assert (user["id"], user["used_as"], user["model"]) == ("ftjob-1", "training_file", BASE)
    assert user["models"] == [{"id": MODEL, "deleted": False}]


async def test_a_page_that_was_held_out_was_seen_by_no_job(
    world: World, api: httpx.AsyncClient, made: DatasetAssembled
) -> None:
    await job(world)
    held_out = MADE.documents[-1].document
    (found,) = (await api.get(f"/v1/lineage?file={ARCHIVE}&document={held_out}")).json()["data"]
    rows = [row for each in found["chunks"] for row in each["rows"]]
    assert rows
    assert {row["split"] for row in rows} == {"held_out"}
    assert found["jobs"] == []


async def test_documents_follow_each_other_and_one_that_could_not_be_read_says_why(
    api: httpx.AsyncClient, made: DatasetAssembled
) -> None:
    first = (await api.get(f"/v1/lineage?file={ARCHIVE}&limit=3")).json()
    second = (await api.get(f"/v1/lineage?file={ARCHIVE}&limit=3&after={first['last_id']}")).json()
    assert (first["has_more"], second["has_more"]) == (True, False)
    ids = [each["document"] for each in first["data"] + second["data"]]
    assert ids == sorted([BROKEN, *(document.document for document in MADE.documents)])
    broken = next(each for each in second["data"] if each["document"] == BROKEN)
    assert broken["rejected"] == {"code": "encrypted", "message": "It is encrypted.", "page": None}
    assert (await api.get(f"/v1/lineage?file={ARCHIVE}&page=3")).json()["data"] == []


async def test_lineage_asks_for_a_file_and_a_page_that_can_be(api: httpx.AsyncClient, made: DatasetAssembled) -> None:
    assert refused(await api.get("/v1/lineage"), 400) == ("missing_required_parameter", "file")
    for page in ("0", "-1", "two", "1.5"):
        assert refused(await api.get(f"/v1/lineage?file={ARCHIVE}&page={page}"), 400)[1] == "page"


async def test_a_file_of_another_tenant_is_not_there(other: httpx.AsyncClient, made: DatasetAssembled) -> None:
    for path in (f"files/{ARCHIVE}/rows", f"files/{ARCHIVE}/report", f"lineage?file={ARCHIVE}&page=1"):
        response = await other.get(f"/v1/{path}")
        assert response.status_code == 404
        assert response.json()["error"]["message"] == f"No such File object: {ARCHIVE}"
    assert (await other.delete(f"/v1/files/{ARCHIVE}")).status_code == 404


async def test_an_archive_says_how_far_it_is(world: World, api: httpx.AsyncClient, assembled: Assembled) -> None:
    async def shown() -> Any:
        return (await api.get(f"/v1/files/{ARCHIVE}")).json()["dataset"]

    await uploaded(world)
    assert (await shown())["stage"] == "unpacking"
    assert (await shown())["documents"] == {"total": None, "extracted": 0, "rejected": 0, "chunked": 0}
    await read(world)
    assert (await shown())["stage"] == "planning"
    assert (await shown())["documents"] == {"total": 5, "extracted": 4, "rejected": 1, "chunked": 4}
    await planned(world)
    assert ((await shown())["stage"], (await shown())["rows_made"]) == ("making rows", 0)
    assert refused(await api.get(f"/v1/files/{ARCHIVE}/rows"), 400) == ("dataset_not_ready", "id")
    (early,) = (await api.get(f"/v1/lineage?file={ARCHIVE}&page=1&limit=1")).json()["data"]
    assert [each["rows"] for each in early["chunks"]] == [[]] * 4
    await asked(world)
    assert ((await shown())["stage"], (await shown())["rows_made"]) == ("assembling", 24)
    await conclude(world, assembled)
    found, data = await shown(), assembled[0]
    assert (found["stage"], found["rows"], found["held_out_rows"]) == ("ready", data.rows, data.held_out_rows)
    assert (found["coverage"], found["generator"], found["version"]) == (1.0, "extractive", data.version)


async def test_what_keeps_the_questions_is_said_while_it_does_and_not_afterwards(
    world: World, api: httpx.AsyncClient, assembled: Assembled
) -> None:
    async def shown() -> tuple[Any, Any]:
        said = (await api.get(f"/v1/files/{ARCHIVE}")).json()
        return said["delay"], said["dataset"]["warnings"]

    for step in (uploaded, read, planned):
        await step(world)
    assert await shown() == (None, [])
    trouble = {"code": "generator_timed_out", "message": "The server's endpoint gave no whole answer in time."}
    for document in MADE.documents[:2]:
        subject = f"{document.document}/examples"
        held(subject, "acme", "synthesize_examples", {}, world.controls, {"trouble_server_endpoint_timed_out": trouble})
    assert await shown() == (trouble, [trouble["message"]])
    await asked(world)
    await conclude(world, assembled)
    assert await shown() == (None, [])


async def test_what_was_left_out_stands_on_the_file_with_its_reason(world: World, api: httpx.AsyncClient) -> None:
    await uploaded(world)
    skipped = SkippedMember(path="logo.png", code="unsupported", message="It is an image.")
    manifest = BlobRef(key=f"acme/{ARCHIVE}/members.json", sha256="0" * 64, bytes=1)
    await world.say(ZipExtracted(manifest=manifest, taken=2, skipped=1, first_skipped=(skipped,)), ARCHIVE, "acme")
    rejected = DocumentRejected(archive=ARCHIVE, path="c.pdf", code="no_text", message="It has no text.", page=3)
    await world.say(rejected, "doc-" + "9" * 32, "acme")
    assert (await api.get(f"/v1/files/{ARCHIVE}")).json()["dataset"]["left_out"] == [
        {"path": "logo.png", "code": "unsupported", "message": "It is an image.", "page": None},
        {"path": "c.pdf", "code": "no_text", "message": "It has no text.", "page": 3},
    ]


async def test_a_document_that_came_alone_and_failed_says_why_on_the_file(world: World, api: httpx.AsyncClient) -> None:
    blob = BlobRef(key=f"acme/{ARCHIVE}/content", sha256="0" * 64, bytes=1)
    await world.say(DocumentUploaded(blob=blob, filename="a.pdf", purpose="fine-tune", format="pdf"), ARCHIVE, "acme")
    rejected = DocumentRejected(archive=ARCHIVE, path="a.pdf", code="encrypted", message="It has a password.")
    await world.say(rejected, "doc-" + "9" * 32, "acme")
    await world.say(DatasetFailed(code="encrypted", message="'a.pdf': It has a password."), ARCHIVE, "acme")
    shown = (await api.get(f"/v1/files/{ARCHIVE}")).json()
    assert (shown["status"], shown["status_details"]) == ("error", "'a.pdf': It has a password.")
    assert (shown["validation"]["code"], shown["dataset"]["left_out"][0]["code"]) == ("encrypted", "encrypted")


async def test_a_data_set_that_failed_says_why_wherever_it_is_asked_for(world: World, api: httpx.AsyncClient) -> None:
    await uploaded(world)
    await world.say(DatasetFailed(code="low_coverage", message="Too little.", coverage=0.2), ARCHIVE, "acme")
    for name in ("rows", "report"):
        assert refused(await api.get(f"/v1/files/{ARCHIVE}/{name}"), 400) == ("low_coverage", "id")
    shown = (await api.get(f"/v1/files/{ARCHIVE}")).json()["dataset"]
    assert (shown["stage"], shown["coverage"]) == ("failed", 0.2)


async def test_a_file_of_rows_has_no_data_set(api: httpx.AsyncClient) -> None:
    file = (await api.post("/v1/files", files={"file": ("a.jsonl", b"{}\n")}, data={"purpose": "fine-tune"})).json()
    assert refused(await api.get(f"/v1/files/{file['id']}/rows"), 400) == ("no_dataset", "id")
    assert "dataset" not in (await api.get(f"/v1/files/{file['id']}")).json()
    assert (await api.get(f"/v1/lineage?file={file['id']}&page=1")).json()["data"] == []


async def test_a_deletion_takes_all_that_was_made_and_names_the_models_that_saw_it(
    world: World, api: httpx.AsyncClient, made: DatasetAssembled
) -> None:
    await world.blobs.put(f"{PREFIX}/replies/{sha256(b'request')}.json", b"{}")
    await world.blobs.put("acme/file-3/content", b"another file")
    await job(world)
    await world.tuned("ftjob-1", MODEL, 30, "acme")
    assert refused(await api.delete(f"/v1/files/{ARCHIVE}"), 400) == ("file_in_use", "id")
    assert len(await world.blobs.list(f"{PREFIX}/")) > 15
    await world.say(JobCancelled(reason="requested"), "ftjob-1", "acme")
    assert (await api.delete(f"/v1/files/{ARCHIVE}")).json() == {
        "id": ARCHIVE,
        "object": "file",
        "deleted": True,
        "models": [{"id": MODEL, "deleted": False, "job": "ftjob-1", "used_as": "training_file"}],
        "recurated": [],
    }
    assert await world.blobs.list("acme/") == ["acme/file-3/content"]
    for path in (f"files/{ARCHIVE}", f"files/{ARCHIVE}/rows", f"files/{ARCHIVE}/report", f"lineage?file={ARCHIVE}"):
        assert (await api.get(f"/v1/{path}")).status_code == 404
