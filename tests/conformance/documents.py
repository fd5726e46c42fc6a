"""What every implementation of the `Documents` port does; a subclass gives the fixture `documents`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from contracts.blobs import BlobRef
from contracts.envelope import Event, make
from contracts.events.corpus import DocumentExtracted
from contracts.events.files import FileDeleted, FileUploaded
from contracts.events.jobs import JobCreated, JobProgressed, StepMetrics
from contracts.ports import Documents
from tests.events import golden

EVENTS = [golden.read(json.loads(line)) for line in golden.LOG.read_bytes().splitlines()]


def uploaded(id: str, at: int, tenant: str = "acme", bytes: int = 1, expires: int | None = None) -> Event:
    blob = BlobRef(key=f"{tenant}/{id}/content", sha256="0" * 64, bytes=bytes)
    data = FileUploaded(blob=blob, filename=f"{id}.jsonl", purpose="fine-tune", expires_after=expires)
    return replace(make(data, subject=id, tenant=tenant, id=f"{id} uploaded"), at=at)


def extracted(id: str, pages: int) -> Event:
    text = BlobRef(key=f"acme/file-z/{id}", sha256="0" * 64, bytes=1)
    data = DocumentExtracted(archive="file-z", path=f"{id}.pdf", text=text, pages=pages, characters=9)
    return make(data, subject=id, tenant="acme", id=f"{id} extracted")


def created(id: str, metadata: Mapping[str, str]) -> Event:
    data = JobCreated(model="m", training_file="file-1", metadata=dict(metadata))
    return replace(make(data, subject=id, tenant="acme", id=f"{id} created"), at=1)


async def filled(documents: Documents) -> None:
    for event in (
        uploaded("file-1", at=10),
        uploaded("file-2", at=20, bytes=2, expires=3600),
        uploaded("file-3", at=20, bytes=3, expires=7200),
        uploaded("file-4", at=30, tenant="other", bytes=4),
        make(FileDeleted(), subject="file-3", tenant="acme", id="file-3 deleted"),
        make(FileDeleted(), subject="file-unborn", tenant="acme", id="file-unborn deleted"),
        created("ftjob-1", {}),
        created("ftjob-2", {"team": "red"}),
        extracted("doc-1", pages=2),
        extracted("doc-2", pages=3),
    ):
        await documents.apply(event)


class DocumentsSuite:
    @pytest.mark.parametrize("events", [EVENTS, EVENTS[::-1], EVENTS * 2], ids=["once", "backwards", "twice"])
    async def test_the_golden_log_becomes_the_golden_views_in_any_order(
        self, documents: Documents, events: list[Event]
    ) -> None:
        for event in events:
            await documents.apply(event)
        for model, golden_model in json.loads(golden.VIEWS.read_text())["models"].items():
            for id, view in golden_model["views"].items():
                assert await documents.get(model, id) == view, (model, id)
            born = [view for view in golden_model["views"].values() if view is not None]
            assert await documents.count(model, {}) == len(born)

    async def test_what_is_not_there_or_not_born_is_none(self, documents: Documents) -> None:
        await filled(documents)
        assert await documents.get("files", "file-9") is None
        assert await documents.get("files", "file-unborn") is None
        assert await documents.find("files", {"id": "file-unborn"}) == []

    async def test_only_the_named_models_are_folded(self, documents: Documents) -> None:
        steps = (StepMetrics(step=1, train_loss=1.0, train_mean_token_accuracy=0.5),)
        progressed = make(JobProgressed(total_steps=1, steps=steps), subject="ftjob-1", tenant="acme", id="p")
        await documents.apply(created("ftjob-1", {}), "jobs", "prep_jobs")
        await documents.apply(progressed, "jobs")
        assert await documents.get("jobs", "ftjob-1") is not None
        assert await documents.count("job_events", {}) == 0
        await documents.apply(progressed)
        assert await documents.count("job_events", {"type": "metrics"}) == 1

    @pytest.mark.parametrize(
        ("where", "found"),
        [
            ({}, "1234"),
            ({"tenant": "acme"}, "123"),
            ({"tenant": "acme", "deleted": False}, "12"),
            ({"id": {"$in": ["file-1", "file-4", "file-9"]}}, "14"),
            ({"id": {"$in": []}}, ""),
            ({"id": {"$ne": "file-1"}}, "234"),
            ({"blob.bytes": 2}, "2"),
            ({"blob.bytes": {"$gt": 2}}, "34"),
            ({"blob.bytes": {"$gte": 2, "$lt": 4}}, "23"),
            ({"created_at": {"$lte": 20}, "id": {"$gt": "file-1"}}, "23"),
            ({"expires_after": None}, "14"),
            ({"expires_after": {"$ne": None}}, "23"),
            ({"expires_after": {"$lt": 7200}}, "2"),
            ({"expires_after": {"$gt": 0}}, "23"),
            ({"blob.nothing": None}, "1234"),
            ({"nothing.of.it": {"$ne": 1}}, "1234"),
            ({"nothing": {"$gt": 0}}, ""),
            ({"filename": {"$gt": 1}}, ""),
            ({"$or": [{"id": "file-1"}, {"tenant": "other"}]}, "14"),
            ({"$and": [{"tenant": "acme"}, {}]}, "123"),
            ({"$and": [{"tenant": "acme"}, {"$or": [{"created_at": {"$gt": 10}}, {"id": "file-1"}]}]}, "123"),
            ({"created_at": {"$gte": 20}, "$or": [{"created_at": {"$gt": 20}}, {"id": {"$gt": "file-2"}}]}, "34"),
        ],
        ids=str,
    )
    async def test_a_filter_finds(self, documents: Documents, where: dict[str, Any], found: str) -> None:
        await filled(documents)
        assert sorted(view["id"] for view in await documents.find("files", where)) == [f"file-{n}" for n in found]
        assert sorted([view["id"] async for view in documents.each("files", where)]) == [f"file-{n}" for n in found]
        assert await documents.count("files", where) == len(found)

    async def test_a_filter_looks_into_lists_and_at_whole_objects(self, documents: Documents) -> None:
        await filled(documents)
        assert [view["id"] for view in await documents.find("jobs", {"created.metadata": {}})] == ["ftjob-1"]
        assert [view["id"] for view in await documents.find("jobs", {"created.metadata.team": "red"})] == ["ftjob-2"]
        assert await documents.count("prep_jobs", {"needs": "file-1"}) == 2
        assert await documents.count("prep_jobs", {"needs": "file-2"}) == 0

    @pytest.mark.parametrize(
        ("sort", "found"),
        [
            ([("id", -1)], "4321"),
            ([("created_at", 1), ("id", -1)], "1324"),
            ([("created_at", -1), ("id", -1)], "4321"),
            ([("expires_after", 1), ("id", 1)], "1423"),
            ([("expires_after", -1), ("id", 1)], "3214"),
        ],
        ids=str,
    )
    async def test_what_is_found_is_sorted_and_the_first_are_taken(
        self, documents: Documents, sort: list[tuple[str, int]], found: str
    ) -> None:
        await filled(documents)
        assert [view["id"] for view in await documents.find("files", {}, sort)] == [f"file-{n}" for n in found]
        first = await documents.find("files", {}, sort, 2)
        assert [view["id"] for view in first] == [f"file-{n}" for n in found[:2]]

    async def test_a_field_is_summed_where_it_is(self, documents: Documents) -> None:
        await filled(documents)
        assert await documents.total("files", "blob.bytes", {"tenant": "acme"}) == 6
        assert await documents.total("files", "blob.bytes", {"tenant": "nobody"}) == 0
        assert await documents.total("documents", "extracted.pages", {}) == 5
        assert await documents.total("documents", "examples.kept", {}) == 0

    async def test_a_large_number_comes_back_as_it_went(self, documents: Documents) -> None:
        await documents.apply(uploaded("file-1", at=2**41, bytes=2**53 - 1))
        (view,) = await documents.find("files", {"blob.bytes": {"$gt": 2**31}})
        assert type(view["blob"]["bytes"]) is int
        assert (view["blob"]["bytes"], view["created_at"]) == (2**53 - 1, 2**41)

    async def test_what_a_reader_does_to_a_view_is_its_own_affair(self, documents: Documents) -> None:
        await filled(documents)
        for view in [await documents.get("jobs", "ftjob-2"), *await documents.find("jobs", {"id": "ftjob-2"})]:
            assert view is not None
            assert view["created"].pop("metadata") == {"team": "red"}
