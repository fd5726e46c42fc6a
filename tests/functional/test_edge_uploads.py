"""Uploads by parts: what becomes of them, what is refused, what is left behind."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import random
from typing import Any

import httpx
import pytest

from contracts.ports import UnavailableError
from functions.edge.routes import uploads
from infra.runtime.sweeper import Sweeper
from tests.functional.edge import ROWS, World
from tests.functional.test_edge_files import upload as upload_file

HOUR = 3600 * 1000


class Clocked(World):
    """An edge whose clock can be set."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.later = 0
        now = self.deps.now
        self.app.state.deps = _with(self.deps, now=lambda: now() + self.later)

    @property
    def sweeper(self) -> Sweeper:
        documents: Any = self.documents
        clock = self.app.state.deps.now
        return Sweeper(documents, self.blobs, self.emit, self.requests, self.controls, clock, settle=0)


def _with(deps: Any, **changes: Any) -> Any:
    return type(deps)(**{**{name: getattr(deps, name) for name in deps.__dataclass_fields__}, **changes})


@pytest.fixture
async def world() -> Clocked:
    return Clocked()


async def begin(api: httpx.AsyncClient, size: int = len(ROWS), **changes: Any) -> httpx.Response:
    body = {"bytes": size, "filename": "rows.jsonl", "mime_type": "text/jsonl", "purpose": "fine-tune", **changes}
    return await api.post("/v1/uploads", json=body)


async def add(api: httpx.AsyncClient, id: str, content: bytes) -> httpx.Response:
    return await api.post(f"/v1/uploads/{id}/parts", files={"data": ("part", content)})


async def complete(api: httpx.AsyncClient, id: str, parts: list[str], **more: Any) -> httpx.Response:
    return await api.post(f"/v1/uploads/{id}/complete", json={"part_ids": parts, **more})


def refused(response: httpx.Response, code: str | None, status: int = 400) -> str:
    assert response.status_code == status, response.text
    found: dict[str, Any] = response.json()["error"]
    assert found["code"] == code, found
    message: str = found["message"]
    return message


async def uploaded(
    api: httpx.AsyncClient, content: bytes = ROWS, cuts: tuple[int, ...] = (10, 300)
) -> tuple[str, list[str]]:
    """Begin an upload and send its parts; return its id and theirs."""
    id = (await begin(api, len(content))).json()["id"]
    edges = [0, *cuts, len(content)]
    pieces = [content[start:end] for start, end in itertools.pairwise(edges)]
    order = random.Random(7).sample(range(len(pieces)), len(pieces))
    answers = await asyncio.gather(*(add(api, id, pieces[number]) for number in order))
    assert all(each.status_code == 200 for each in answers)
    by_number = dict(zip(order, (each.json()["id"] for each in answers), strict=True))
    return id, [by_number[number] for number in range(len(pieces))]


async def test_parts_in_any_order_become_the_file_that_one_post_makes(api: httpx.AsyncClient, world: World) -> None:
    id, parts = await uploaded(api)
    done = (await complete(api, id, parts, md5=hashlib.md5(ROWS).hexdigest())).json()
    assert (done["object"], done["status"], done["id"]) == ("upload", "completed", id)
    file = done["file"]
    other = (await upload_file(api)).json()
    own = {"id", "created_at", "created_at_iso"}
    assert {name: file[name] for name in file.keys() - own} == {name: other[name] for name in other.keys() - own}
    assert (await api.get(f"/v1/files/{file['id']}/content")).content == ROWS
    assert (await api.get(f"/v1/files/{file['id']}")).json() == file
    assert await world.blobs.list(f"local/{id}/") == []
    assert world.topics().count("file.uploaded") == 2


async def test_an_upload_of_documents_goes_the_way_of_documents(api: httpx.AsyncClient, world: World) -> None:
    content = b"%PDF-1.7 " + b"x" * 100
    begun = await begin(api, len(content), filename="a.pdf", dataset={"chunk_tokens": 128})
    id = begun.json()["id"]
    parts = [(await add(api, id, content)).json()["id"]]
    assert (await complete(api, id, parts)).json()["file"]["status"] == "uploaded"
    assert world.topics()[-2:] == ["document.uploaded", "upload.completed"]


async def test_what_the_parts_say_together_is_checked_as_a_file_is(api: httpx.AsyncClient, world: World) -> None:
    id, parts = await uploaded(api, b"\x89PNG\r\n" + b"x" * 400)
    refused(await complete(api, id, parts), "unsupported_file")
    assert await world.blobs.list("local/file-") == []


async def test_parts_that_are_not_the_announced_file_are_refused_and_nothing_is_lost(
    api: httpx.AsyncClient, world: World
) -> None:
    id, parts = await uploaded(api)
    assert "announced" in refused(await complete(api, id, parts[:2]), "upload_size_mismatch")
    refused(await complete(api, id, [*parts, "part_" + "0" * 32]), "part_not_found")
    refused(await complete(api, id, [parts[0], parts[0]]), "duplicate_part")
    refused(await complete(api, id, []), "empty_array")
    assert "MD5" in refused(await complete(api, id, parts, md5="0" * 32), "md5_mismatch")
    other, _ = await uploaded(api)
    refused(await complete(api, other, parts), "part_not_found")
    assert world.topics().count("file.uploaded") == 0
    assert (await complete(api, id, parts)).json()["status"] == "completed"


async def test_an_upload_ends_once(api: httpx.AsyncClient, world: World) -> None:
    id, parts = await uploaded(api)
    first = await complete(api, id, parts)
    assert (await complete(api, id, parts)).json() == first.json()  # a client that lost the answer asks again
    refused(await api.post(f"/v1/uploads/{id}/cancel"), "upload_not_pending")
    refused(await add(api, id, b"x"), "upload_not_pending")
    other, parts = await uploaded(api)
    for _ in range(2):
        assert (await api.post(f"/v1/uploads/{other}/cancel")).json()["status"] == "cancelled"
    refused(await complete(api, other, parts), "upload_not_pending")
    refused(await add(api, other, b"x"), "upload_not_pending")
    assert await world.blobs.list(f"local/{other}/") == []
    assert world.topics().count("upload.cancelled") == 1


async def test_of_two_that_complete_at_the_same_time_one_file_comes(
    api: httpx.AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    id, parts = await uploaded(api)
    monkeypatch.setattr(uploads, "_gate", lambda *_: asyncio.Lock())  # as two edges are
    answers = await asyncio.gather(*(complete(api, id, parts) for _ in range(3)))
    assert {each.json()["file"]["id"] for each in answers} == {answers[0].json()["file"]["id"]}
    assert world.topics().count("file.uploaded") == 1
    assert len(await world.blobs.list("local/file-")) == 1


async def test_a_part_that_comes_while_the_upload_is_cancelled_leaves_nothing(
    api: httpx.AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = (await begin(api)).json()["id"]
    put = world.blobs.put

    async def slow(key: str, *args: Any, **more: Any) -> Any:
        ref = await put(key, *args, **more)
        assert (await api.post(f"/v1/uploads/{id}/cancel")).status_code == 200
        await put(key, b"again")  # the deletion came before the bytes were there
        return ref

    monkeypatch.setattr(world.blobs, "put", slow)
    refused(await add(api, id, b"x"), "upload_not_pending")
    assert await world.blobs.list(f"local/{id}/") == []


async def test_an_upload_expires_and_its_parts_go(api: httpx.AsyncClient, world: Clocked) -> None:
    id, parts = await uploaded(api)
    assert await world.sweeper.expire_uploads() == 0
    world.later = HOUR
    refused(await complete(api, id, parts), "upload_not_pending")
    refused(await add(api, id, b"x"), "upload_not_pending")
    assert await world.sweeper.expire_uploads() == 1
    assert await world.sweeper.expire_uploads() == 0
    assert await world.blobs.list(f"local/{id}/") == []
    view = await world.documents.get("uploads", id)
    assert view is not None
    assert view["status"] == "expired"


async def test_another_tenants_upload_is_not_there(api: httpx.AsyncClient, world: World) -> None:
    id, parts = await uploaded(api)
    async with world.client(await world.key("acme", 1)) as other:
        for call in (add(other, id, b"x"), complete(other, id, parts), other.post(f"/v1/uploads/{id}/cancel")):
            refused(await call, None, 404)
        theirs = (await begin(other)).json()["id"]
        refused(await complete(other, theirs, parts), "part_not_found")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"bytes": 0}, "integer_below_min_value"),
        ({"bytes": 8 * 2**30 + 1}, "integer_above_max_value"),
        ({"purpose": "vision"}, "unsupported"),
        ({"purpose": "toys"}, "invalid_value"),
        ({"filename": ""}, "empty_string"),
        ({"mime_type": None}, "missing_required_parameter"),
        ({"expires_after": {"anchor": "created_at", "seconds": 1}}, "integer_below_min_value"),
        ({"parts": 3}, "unknown_parameter"),
    ],
    ids=str,
)
async def test_an_upload_that_makes_no_sense_is_refused(
    api: httpx.AsyncClient, changes: dict[str, Any], code: str
) -> None:
    refused(await begin(api, **changes), code)


async def test_a_part_has_a_bound_and_is_a_form(
    api: httpx.AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MAX_PART", 100)
    monkeypatch.setattr(uploads, "MOST_PARTS", 3)
    id = (await begin(api)).json()["id"]
    refused(await add(api, id, bytes(101)), "request_too_large", 413)
    refused(await add(api, id, b""), "empty_part")
    refused(await api.post(f"/v1/uploads/{id}/parts", files={"file": ("a", b"x")}), "missing_required_parameter")
    refused(await api.post(f"/v1/uploads/{id}/parts", content=b"x"), "invalid_multipart")
    assert await world.blobs.list(f"local/{id}/") == []
    for _ in range(3):
        assert (await add(api, id, bytes(100))).status_code == 200
    refused(await add(api, id, b"x"), "too_many_parts")


async def test_a_tenant_has_a_bound_of_open_uploads(api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST_OPEN", 2)
    first = (await begin(api)).json()["id"]
    assert (await begin(api)).status_code == 200
    refused(await begin(api), "too_many_uploads")
    await api.post(f"/v1/uploads/{first}/cancel")
    assert (await begin(api)).status_code == 200
    monkeypatch.setattr(uploads, "MOST_OPEN", 20)
    monkeypatch.setattr(uploads, "MOST_BYTES", 3 * len(ROWS))
    assert (await begin(api)).status_code == 200
    refused(await begin(api), "too_many_uploads")


async def test_what_was_decided_while_kafka_was_away_is_said_later(api: httpx.AsyncClient, world: World) -> None:
    id, parts = await uploaded(api)
    world.kafka_down = UnavailableError("kafka", "it is away")
    assert (await complete(api, id, parts)).status_code == 503
    world.kafka_down = None
    control = await world.controls.get(id)
    assert control is not None
    assert [each.type for each in control.events] == ["file.uploaded", "upload.completed"]
    assert (await complete(api, id, parts)).json()["file"]["id"] == control.events[0].subject
    assert await world.blobs.get(f"local/{control.events[0].subject}/content") == ROWS
