"""Files over the edge: what is stored, what is refused, what is left behind."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from contracts.blobs import BlobRef
from contracts.events.files import FileRejected, FileUploaded, FileValidated, RowError
from contracts.events.jobs import JobCreated
from contracts.ports import UnavailableError
from tests.functional.edge import BASE, ROWS, World

BOUNDARY = "xxBOUNDARYxx"


@pytest.fixture
async def world() -> World:
    return World()


async def upload(
    api: httpx.AsyncClient,
    content: bytes = ROWS,
    name: str = "rows.jsonl",
    purpose: str = "fine-tune",
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    return await api.post("/v1/files", files={"file": (name, content)}, data={"purpose": purpose}, headers=headers)


def parts(*named: tuple[str, bytes], end: bool = True) -> bytes:
    body = b""
    for disposition, content in named:
        body += (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{disposition}\r\n\r\n'.encode() + content + b"\r\n"
        )
    return body + (f"--{BOUNDARY}--\r\n".encode() if end else b"")


async def post_raw(api: httpx.AsyncClient, body: bytes | AsyncIterator[bytes]) -> httpx.Response:
    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    return await api.post("/v1/files", content=body, headers=headers)


def error(response: httpx.Response, status: int = 400) -> dict[str, Any]:
    assert response.status_code == status, response.text
    found: dict[str, Any] = response.json()["error"]
    assert set(found) == {"message", "type", "param", "code"}
    assert found["message"].endswith((".", "?")) or "No such File" in found["message"]
    return found


def nothing_is_left(world: World) -> None:
    assert world.topics() == []
    assert world.blobs._blobs == {}
    assert world.documents.stored["files"] == {}


async def test_an_upload_is_stored_published_and_shown_at_once(world: World, api: httpx.AsyncClient) -> None:
    made = (await upload(api)).json()
    assert made["id"].startswith("file-")
    assert (made["bytes"], made["status"], made["filename"], made["purpose"]) == (
        len(ROWS),
        "uploaded",
        "rows.jsonl",
        "fine-tune",
    )
    assert made["checksum"] == hashlib.sha256(ROWS).hexdigest()
    assert (await api.get(f"/v1/files/{made['id']}")).json() == made
    assert (await api.get("/v1/files")).json()["data"] == [made]
    assert (await api.get(f"/v1/files/{made['id']}/content")).content == ROWS
    event = world.emit.events[-1]
    assert isinstance(event.data, FileUploaded)
    assert event.data.format == "jsonl"
    assert event.data.blob.key == f"local/{made['id']}/content"


def member(name: str) -> bytes:
    """The beginning of a ZIP whose first member is called so."""
    return b"PK\x03\x04" + bytes(22) + len(name).to_bytes(2, "little") + bytes(2) + name.encode()


@pytest.mark.parametrize(
    ("content", "name", "topic", "format"),
    [
        (member("manual.pdf"), "a.jsonl", "zip.uploaded", None),
        (member("[Content_Types].xml"), "a.zip", "document.uploaded", "docx"),
        (b"%PDF-1.7", "a", "document.uploaded", "pdf"),
        (b"# Pumps\n\nThe pump weighs 3 kg.\n", "a.md", "document.uploaded", "md"),
        (b"<html><body>The pump weighs 3 kg.</body></html>", "a.htm", "document.uploaded", "html"),
        (b"The pump, as we know, weighs 3 kg.", "a.txt", "document.uploaded", "txt"),
    ],
)
async def test_archives_and_documents_are_said_under_their_own_names(
    world: World, api: httpx.AsyncClient, content: bytes, name: str, topic: str, format: str | None
) -> None:
    made = (await upload(api, content, name)).json()
    assert (made["status"], made["bytes"], made["validation"]["is_generated_dataset"]) == (
        "uploaded",
        len(content),
        False,
    )
    event = world.emit.events[-1]
    assert (event.type, event.subject, getattr(event.data, "format", None)) == (topic, made["id"], format)


@pytest.mark.parametrize("order", [("purpose", "file"), ("file", "purpose")])
async def test_the_order_of_parts_does_not_matter(world: World, api: httpx.AsyncClient, order: tuple[str, str]) -> None:
    named = {"purpose": ('purpose"', b"fine-tune"), "file": ('file"; filename="r.jsonl"', ROWS)}
    response = await post_raw(api, parts(*(named[name] for name in order)))
    assert response.status_code == 200, response.text
    assert await world.blobs.get(f"local/{response.json()['id']}/content") == ROWS


async def test_a_body_that_comes_byte_by_byte_is_the_same_upload(world: World, api: httpx.AsyncClient) -> None:
    tricky = ROWS + f"\r\n--{BOUNDARY[:-1]}\r\n--".encode()
    body = parts(('purpose"', b"fine-tune"), ('file"; filename="r.jsonl"', tricky))

    async def slowly() -> AsyncIterator[bytes]:
        for index in range(len(body)):
            yield body[index : index + 1]

    made = (await post_raw(api, slowly())).json()
    assert await world.blobs.get(f"local/{made['id']}/content") == tricky


@pytest.mark.parametrize(
    ("content", "name", "purpose", "code", "param"),
    [
        (b"\x89PNG\r\n\x1a\n", "a.txt", "fine-tune", "unsupported_file", "file"),
        (gzip.compress(ROWS), "a.jsonl.gz", "fine-tune", "unsupported_file", "file"),
        (b"PAR1" + bytes(99), "a.jsonl", "fine-tune", "unsupported_file", "file"),
        (b"", "a.jsonl", "fine-tune", "empty_file", "file"),
        (ROWS, "a.jsonl", "assistants", "unsupported", "purpose"),
        (ROWS, "a.jsonl", "tuning", "invalid_value", "purpose"),
    ],
)
async def test_what_nothing_can_be_made_of_is_refused(
    world: World, api: httpx.AsyncClient, content: bytes, name: str, purpose: str, code: str, param: str
) -> None:
    found = error(await upload(api, content, name, purpose))
    assert (found["code"], found["param"]) == (code, param)
    nothing_is_left(world)


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (parts(('purpose"', b"fine-tune")), "missing_required_parameter", "file"),
        (parts(('file"; filename="a"', ROWS)), "missing_required_parameter", "purpose"),
        (parts(('file"; filename="a"', ROWS), ('purpose"', b"nonsense")), "invalid_value", "purpose"),
        (parts(('purpose"', b"fine-tune"), ('file"; filename="a"', ROWS), end=False), "invalid_multipart", None),
        (parts(('purpose"', b"fine-tune"), ('file"; filename="a"', ROWS))[:-9], "invalid_multipart", None),
        (parts(('file"', ROWS), ('file"', ROWS), ('purpose"', b"fine-tune")), "invalid_multipart", "file"),
        (parts(('purpose"', b"\xff"), ('file"', ROWS)), "invalid_multipart", None),
        (parts(('purpos"', b"fine-tune"), ('file"', ROWS)), "unknown_parameter", "purpos"),
        (
            parts(('purpose"', b"fine-tune"), ('file"', ROWS), ('expires_after"', b"9")),
            "unknown_parameter",
            "expires_after",
        ),
        (b"this is no form", "invalid_multipart", None),
        (b"", "invalid_multipart", None),
        (
            parts(
                ('purpose"', b"fine-tune"),
                ('expires_after[anchor]"', b"created_at"),
                ('expires_after[seconds]"', b"10"),
                ('file"', ROWS),
            ),
            "integer_below_min_value",
            "expires_after.seconds",
        ),
        (
            parts(('purpose"', b"fine-tune"), ('expires_after[anchor]"', b"created_at"), ('file"', ROWS)),
            "missing_required_parameter",
            "expires_after.seconds",
        ),
        (
            parts(('purpose"', b"fine-tune"), ('file"', ROWS), ('expires_after[seconds]"', b"3600")),
            "missing_required_parameter",
            "expires_after.anchor",
        ),
        (
            parts(('purpose"', b"fine-tune"), ('expires_after[seconds]"', b"9" * 5000), ('file"', ROWS)),
            "invalid_type",
            "expires_after.seconds",
        ),
    ],
)
async def test_a_broken_form_leaves_nothing(
    world: World, api: httpx.AsyncClient, body: bytes, code: str, param: str | None
) -> None:
    found = error(await post_raw(api, body))
    assert (found["code"], found["param"]) == (code, param)
    nothing_is_left(world)


async def test_a_body_that_is_no_form_at_all_is_refused(api: httpx.AsyncClient) -> None:
    assert error(await api.post("/v1/files", json={}))["code"] == "invalid_multipart"


async def test_a_client_that_leaves_in_the_middle_leaves_nothing(world: World, api: httpx.AsyncClient) -> None:
    whole = parts(('purpose"', b"fine-tune"), ('file"; filename="a"', ROWS * 100))
    messages = [
        {"type": "http.request", "body": whole[:9000], "more_body": True},
        {"type": "http.request", "body": whole[9000:18000], "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/files",
        "raw_path": b"/v1/files",
        "query_string": b"",
        "root_path": "",
        "headers": [
            (b"authorization", api.headers["authorization"].encode()),
            (b"content-type", f"multipart/form-data; boundary={BOUNDARY}".encode()),
        ],
    }
    await world.app(scope, receive, send)
    assert sent[0]["status"] == 400
    nothing_is_left(world)


async def test_a_file_beyond_the_limit_leaves_nothing(
    world: World, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions.edge.core.MAX_FILE", 10_000)
    assert error(await upload(api, ROWS * 20), 413)["code"] == "request_too_large"
    nothing_is_left(world)


async def test_a_store_that_is_away_is_named_and_nothing_is_published(
    world: World, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any, **__: Any) -> BlobRef:
        raise UnavailableError("minio", "the blob store does not answer")

    monkeypatch.setattr(world.blobs, "put", away)
    response = await upload(api)
    assert "blob store" in error(response, 503)["message"]
    assert response.headers["retry-after"] == "2"
    nothing_is_left(world)


async def test_what_is_not_trained_on_may_be_anything(world: World, api: httpx.AsyncClient) -> None:
    made = (await upload(api, gzip.compress(ROWS), "a.gz", "embedding")).json()
    assert (await api.get(f"/v1/files/{made['id']}/content")).content == gzip.compress(ROWS)


@pytest.mark.parametrize(
    ("named", "shown"),
    [
        ("filename*=UTF-8''%C3%9Cbung%20%231.jsonl", "Übung #1.jsonl"),
        ("filename*=utf-8'de'%E2%82%AC.jsonl", "€.jsonl"),
        ("filename*=ISO-8859-1''%DCbung.jsonl", "Übung.jsonl"),
        ("filename=\"Uebung.jsonl\"; filename*=UTF-8''%C3%9Cbung.jsonl", "Übung.jsonl"),
        ("filename*=UTF-8''%C3%9Cbung.jsonl; filename=\"Uebung.jsonl\"", "Übung.jsonl"),
        ("filename*=KOI8-R''%F0.jsonl", "upload"),
        ("filename*=UTF-8''..%2F%00%FF.jsonl", "../\ufffd.jsonl"),
    ],
)
async def test_a_name_may_come_as_rfc_5987_writes_it(api: httpx.AsyncClient, named: str, shown: str) -> None:
    body = parts(('purpose"', b"fine-tune"), (f'file"; {named}', ROWS))
    assert (await post_raw(api, body)).json()["filename"] == shown


async def test_names_are_kept_but_never_harmful(api: httpx.AsyncClient) -> None:
    odd = ('purpose"', b"fine-tune"), ('file"; filename="../\xc3\xa4\x01\xff.jsonl"', ROWS)
    body = parts(*odd).replace("\xc3\xa4\x01\xff".encode(), b"\xc3\xa4\x01\xff")
    assert (await post_raw(api, body)).json()["filename"] == "../ä�.jsonl"
    assert len((await upload(api, name="x" * 3000)).json()["filename"]) == 1024
    assert (await post_raw(api, parts(('purpose"', b"fine-tune"), ('file"', ROWS)))).json()["filename"] == "upload"


async def test_the_verdict_shows_on_the_file(world: World, api: httpx.AsyncClient) -> None:
    bad, good = (await upload(api)).json()["id"], (await upload(api)).json()["id"]
    row = RowError(line=3, path="messages[1].role", code="missing", message="The role is missing.")
    rejected = FileRejected(
        code="invalid_training_file", message="Line 3 is wrong.", rows=10, n_errors=1, errors=(row,)
    )
    await world.say(rejected, bad, "local")
    blob = BlobRef(key=f"local/{good}/rows", sha256="0" * 64, bytes=1)
    await world.say(FileValidated(format="jsonl", shape="chat", rows=10, blob=blob), good, "local")
    shown = (await api.get(f"/v1/files/{bad}")).json()
    assert (shown["status"], shown["status_details"]) == ("error", "Line 3 is wrong.")
    assert shown["validation"]["errors"] == {"3": [row.model_dump()]}
    shown = (await api.get(f"/v1/files/{good}")).json()
    assert (shown["status"], shown["validation"]["is_valid"], shown["validation"]["rows"]) == ("processed", True, 10)


async def test_a_results_file_is_base64_unless_asked_raw(world: World, api: httpx.AsyncClient) -> None:
    blob = await world.blobs.put("local/file-1/content", b"step,train_loss\n1,0.5\n")
    await world.say(FileUploaded(blob=blob, filename="r.csv", purpose="fine-tune-results"), "file-1", "local")
    text = (await api.get("/v1/files/file-1/content")).text
    assert base64.b64decode(text) == b"step,train_loss\n1,0.5\n"
    assert (await api.get("/v1/files/file-1/content?format=raw")).content == b"step,train_loss\n1,0.5\n"
    assert (await api.get("/v1/files/file-1")).json()["status"] == "processed"


async def test_pages_follow_each_other_even_past_a_deleted_file(api: httpx.AsyncClient) -> None:
    made = [(await upload(api)).json()["id"] for _ in range(5)]
    first = (await api.get("/v1/files?limit=2")).json()
    assert ([each["id"] for each in first["data"]], first["has_more"]) == (made[:2:-1], True)
    assert (await api.delete(f"/v1/files/{first['last_id']}")).json() == {
        "id": first["last_id"],
        "object": "file",
        "deleted": True,
        "models": [],
        "recurated": [],
    }
    rest = (await api.get(f"/v1/files?limit=3&after={first['last_id']}")).json()
    assert ([each["id"] for each in rest["data"]], rest["has_more"]) == (made[2::-1], False)
    upwards = (await api.get("/v1/files?order=asc")).json()["data"]
    assert [each["id"] for each in upwards] == [id for id in made if id != first["last_id"]]
    assert (await api.get("/v1/files?purpose=fine-tune-results")).json()["data"] == []


@pytest.mark.parametrize("query", ["limit=0", "limit=10001", "limit=x", "order=up", "after=file-unknown"])
async def test_a_page_that_makes_no_sense_is_refused(api: httpx.AsyncClient, query: str) -> None:
    assert error(await api.get(f"/v1/files?{query}"))["param"] == query.split("=")[0]


async def test_a_deleted_file_is_gone_with_its_bytes(world: World, api: httpx.AsyncClient) -> None:
    id = (await upload(api)).json()["id"]
    await api.delete(f"/v1/files/{id}")
    assert world.blobs._blobs == {}
    for path in (f"/v1/files/{id}", f"/v1/files/{id}/content"):
        found = error(await api.get(path), 404)
        assert (found["message"], found["param"]) == (f"No such File object: {id}", "id")
    error(await api.delete(f"/v1/files/{id}"), 404)
    retried = await api.delete(f"/v1/files/{id}", headers={"x-stainless-retry-count": "1"})
    assert retried.json()["deleted"] is True
    assert world.topics().count("file.deleted") == 1


async def test_a_file_in_use_is_not_deleted(world: World, api: httpx.AsyncClient) -> None:
    id = (await upload(api)).json()["id"]
    await world.say(JobCreated(model=BASE, training_file="file-other", validation_file=id), "ftjob-1", "local")
    found = error(await api.delete(f"/v1/files/{id}"))
    assert (found["code"], "ftjob-1" in found["message"]) == ("file_in_use", True)
    assert (await api.get(f"/v1/files/{id}/content")).content == ROWS


async def test_nobody_sees_another_tenants_file(world: World, api: httpx.AsyncClient) -> None:
    id = (await upload(api)).json()["id"]
    async with world.client(await world.key("other", 1)) as stranger:
        for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
            error(await stranger.request(method, f"/v1/files/{id}{path}"), 404)
        assert (await stranger.get("/v1/files")).json()["data"] == []
        error(await stranger.get(f"/v1/files?after={id}"))
    assert (await api.get(f"/v1/files/{id}")).status_code == 200


# --- retries


async def test_the_same_key_and_content_is_the_same_file(world: World, api: httpx.AsyncClient) -> None:
    made = [(await upload(api, headers={"idempotency-key": "k"})).json() for _ in range(2)]
    assert made[0] == made[1]
    assert world.topics() == ["file.uploaded"]
    assert list(world.blobs._blobs) == [f"local/{made[0]['id']}/content"]
    found = error(await upload(api, ROWS + b"\n", headers={"idempotency-key": "k"}))
    assert found["code"] == "idempotency_key_reused"
    assert len(world.blobs._blobs) == 1


async def test_fifty_at_once_with_one_key_are_one_file(world: World, api: httpx.AsyncClient) -> None:
    replies = await asyncio.gather(*(upload(api, headers={"idempotency-key": "k"}) for _ in range(50)))
    ids = {reply.json()["id"] for reply in replies}
    assert len(ids) == 1
    assert {event.id for event in world.emit.events if event.type == "file.uploaded"} == {
        event.id for event in world.emit.events if event.subject in ids
    }
    assert list(world.blobs._blobs) == [f"local/{ids.pop()}/content"]


async def test_two_deliberate_uploads_stay_two(world: World, api: httpx.AsyncClient) -> None:
    made = {(await upload(api)).json()["id"] for _ in range(2)}
    late = (await upload(api, headers={"x-stainless-retry-count": "1"})).json()["id"]
    assert len(made | {late}) == 3


@pytest.mark.parametrize("bytes_lost", [False, True])
async def test_a_marked_retry_after_a_lost_publish_gives_one_file(
    world: World, api: httpx.AsyncClient, bytes_lost: bool
) -> None:
    world.kafka_down = UnavailableError("kafka", "Kafka does not answer")
    found = error(await upload(api), 503)
    assert "Kafka" in found["message"]
    reserved = world.requests.made[0].id
    assert list(world.blobs._blobs) == [f"local/{reserved}/content"]  # the event may be out: its bytes stay
    if bytes_lost:
        world.blobs._blobs.clear()
    world.kafka_down = None
    made = (await upload(api, headers={"x-stainless-retry-count": "1"})).json()
    assert made["id"] == reserved
    assert world.topics() == ["file.uploaded"]
    assert list(world.blobs._blobs) == [f"local/{reserved}/content"]
    assert (await api.get(f"/v1/files/{reserved}/content")).content == ROWS


async def test_a_retry_with_other_content_is_another_file(world: World, api: httpx.AsyncClient) -> None:
    world.kafka_down = UnavailableError("kafka")
    await upload(api)
    world.kafka_down = None
    other = json.dumps({"messages": []}).encode()
    made = (await upload(api, other, headers={"x-stainless-retry-count": "1"})).json()
    assert made["id"] != world.requests.made[0].id
