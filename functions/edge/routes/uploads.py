"""/v1/uploads: a file by parts, which go to the store as they come and are put together there."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from typing import Any
from weakref import WeakValueDictionary

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from contracts.blobs import BlobRef
from contracts.envelope import derived_id, make
from contracts.events.uploads import STAGE, UploadCancelled, UploadCompleted, UploadCreated
from contracts.formats import HEAD
from contracts.ports import BlobNotFoundError, BlobStat, UnavailableError
from contracts.wire import uploads as wire
from contracts.wire.errors import ApiError
from contracts.wire.requests import FileForm
from contracts.wire.uploads import MAX_PART, MOST_PARTS, CompleteUpload, UploadRequest
from functions.edge import core
from functions.edge.context import (
    check_dataset,
    deps,
    end,
    incoming,
    new_object_id,
    owned,
    publish,
    read,
    reply,
    reply_reserved,
    reserve,
    tenant,
)
from functions.edge.multipart import Form, begin, content
from functions.edge.refusals import no_upload

MOST_OPEN = 64
"""Uploads of a tenant that are neither completed nor over."""
MOST_BYTES = 64 * 2**30
"""That these announce together."""
_gates: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()


def _gate(request: Request, what: str) -> asyncio.Lock:
    """Return what lets one part of a tenant into memory at a time; the others wait in their sockets.

    A whole one in flight takes some 32 MiB, and the store is as fast with one as with forty.
    """
    return _gates.setdefault((tenant(request), what), asyncio.Lock())


async def create_upload(request: Request) -> Response:
    """POST /uploads."""
    asked = await read(request, UploadRequest)
    await check_dataset(request, asked.dataset)
    await _check_room(request, asked.bytes)
    data = UploadCreated(
        **asked.model_dump(exclude={"expires_after", "dataset", "filename"}),
        filename=core.clean_filename(asked.filename.encode()),
        seconds=deps(request).upload_seconds,
        expires_after=asked.expires_after.seconds if asked.expires_after else None,
        dataset=asked.dataset.model_dump(exclude_none=True) if asked.dataset else None,
    )
    reservation = await reserve(request, "uploads", data.model_dump(mode="json"), new_object_id(request, "upload_"))
    id = reservation.id
    if await owned(request, "uploads", id) is None:
        event = make(data, subject=id, tenant=tenant(request), id=derived_id(id, "upload.created"))
        await publish(request, event)
    return await reply_reserved(request, reservation, await _shown(request, await _upload(request, id)))


async def _check_room(request: Request, more: int) -> None:
    """Refuse one upload more than a tenant may have open."""
    mine = {"tenant": tenant(request), "status": "pending"}
    documents = deps(request).documents
    count, size = await documents.count("uploads", mine), await documents.total("uploads", "bytes", mine)
    if count >= MOST_OPEN or size + more > MOST_BYTES:
        sentence = (
            f"You have {count} uploads open, of {size} bytes together; at most {MOST_OPEN} of {MOST_BYTES} bytes may "
            "be. Complete or cancel some first."
        )
        raise ApiError(sentence, code="too_many_uploads")


async def create_part(request: Request) -> Response:
    """POST /uploads/{id}/parts: at most 64 MB, in any order and several at a time; a broken part leaves nothing."""
    view = await _pending(request)
    await _check_parts(request, view)
    blobs, id = deps(request).blobs, new_object_id(request, "part_")
    form, body = Form(request.headers.get("content-type"), "data"), incoming(request)
    await begin(form, body)
    async with _gate(request, "part"):
        blob = await blobs.put(_key(view, id), content(form, body, MAX_PART, "The part"))
    try:
        if not blob.bytes:
            raise ApiError("The part is empty.", param="data", code="empty_part")
        await _pending(request)  # or nobody takes it away again
    except ApiError:
        await blobs.remove([blob.key])
        raise
    return reply(wire.part(id, view["id"], deps(request).now()))


async def _check_parts(request: Request, view: dict[str, Any]) -> None:
    """Refuse more parts than an upload may have: twice its bytes, for a client may send one again."""
    count = size = 0
    async for stat in deps(request).blobs.walk(_key(view)):
        count, size = count + 1, size + stat.bytes
    if count >= MOST_PARTS or size > 2 * view["bytes"] + MAX_PART:
        sentence = f"The upload has {count} parts of {size} bytes already, and announced {view['bytes']} bytes."
        raise ApiError(sentence, param="data", code="too_many_parts")


async def complete_upload(request: Request) -> Response:
    """POST /uploads/{id}/complete: the parts become a file as of POST /files.

    Their bytes are read once, for no hash of the whole follows from theirs, and joined by the store.
    """
    asked = await read(request, CompleteUpload)
    async with _gate(request, "complete"):
        view = await _pending(request, asked)
        if view["status"] == "pending":
            await _complete(request, view, asked)
    return reply(await _shown(request, await _upload(request, view["id"])))


async def _complete(request: Request, view: dict[str, Any], asked: CompleteUpload) -> None:
    id, owner, blobs = new_object_id(request, "file-"), tenant(request), deps(request).blobs
    key = f"{owner}/{id}/content"
    try:
        parts = await _parts(request, view, asked.part_ids)
        blob, head = await _read(request, parts, key, asked.md5)
        said = {"purpose": view["purpose"], **({"dataset": view["dataset"]} if view["dataset"] else {})}
        if view["expires_after"]:
            said |= {"expires_after[anchor]": "created_at", "expires_after[seconds]": str(view["expires_after"])}
        data = core.uploaded(FileForm.read(said), view["filename"], head, blob)
        await blobs.join(key, parts)
        file = make(data, subject=id, tenant=owner, id=derived_id(id, "file.uploaded"))
        ending = make(UploadCompleted(file=id), subject=view["id"], tenant=owner, id=derived_id(view["id"], "end"))
        await end(request, STAGE, ending, file)
    except (ApiError, BlobNotFoundError):
        await _discard(request, f"{owner}/{id}/")
        if (await _pending(request, asked))["status"] == "completed":  # meanwhile: its parts are gone
            return
        raise
    if (await _upload(request, view["id"]))["file"] != id:  # somebody else was faster
        await _discard(request, f"{owner}/{id}/")
        await _pending(request, asked)
    await _discard(request, f"{owner}/{view['id']}/")


async def _parts(request: Request, view: dict[str, Any], ids: tuple[str, ...]) -> list[BlobStat]:
    """Return the parts in the order of the file; raises ApiError where they are not what was announced."""
    there = {stat.key.rpartition("/")[2]: stat async for stat in deps(request).blobs.walk(_key(view))}
    seen: set[str] = set()
    for number, id in enumerate(ids):
        param = f"part_ids[{number}]"
        if id not in there:
            raise ApiError(f"No such part of the upload: {id}", param=param, code="part_not_found")
        if id in seen:
            raise ApiError(f"The part {id} is named twice.", param=param, code="duplicate_part")
        seen.add(id)
    parts = [there[id] for id in ids]
    size = sum(each.bytes for each in parts)
    if size != view["bytes"]:
        sentence = f"The parts have {size} bytes together, but the upload announced {view['bytes']}."
        raise ApiError(sentence, param="part_ids", code="upload_size_mismatch")
    return parts


async def _read(request: Request, parts: list[BlobStat], key: str, md5: str | None) -> tuple[BlobRef, bytes]:
    """Return what the parts are together, and the first bytes; raises ApiError where their MD5 is another one."""
    digest, other, head = hashlib.sha256(), hashlib.md5(usedforsecurity=False) if md5 else None, b""

    def add(chunk: bytes) -> None:
        digest.update(chunk)
        if other is not None:
            other.update(chunk)

    for each in parts:
        async for chunk in deps(request).blobs.stream(each.key):
            head += chunk[: HEAD - len(head)]
            await asyncio.to_thread(add, chunk)
    if md5 and other is not None and other.hexdigest() != md5.lower():
        sentence = f"The parts have the MD5 {other.hexdigest()} together, not {md5}. Send them again."
        raise ApiError(sentence, param="md5", code="md5_mismatch")
    return BlobRef(key=key, sha256=digest.hexdigest(), bytes=sum(each.bytes for each in parts)), head


async def cancel_upload(request: Request) -> Response:
    """POST /uploads/{id}/cancel: no part is taken any more, and those that there are go."""
    view = await _upload(request, request.path_params["id"])
    if view["status"] != "cancelled":
        view = await _pending(request)
        id = derived_id(view["id"], "end")
        await end(request, STAGE, make(UploadCancelled(), subject=view["id"], tenant=tenant(request), id=id))
        view = await _upload(request, view["id"])
        if view["status"] != "cancelled":
            raise _over(view)
    await _discard(request, f"{tenant(request)}/{view['id']}/")
    return reply(await _shown(request, view))


async def _upload(request: Request, id: str) -> dict[str, Any]:
    view = await owned(request, "uploads", id)
    if view is None:
        raise no_upload(id)
    return view


async def _pending(request: Request, again: CompleteUpload | None = None) -> dict[str, Any]:
    """Return the upload that is asked for; raises ApiError when it is over, but for a retry of what completed it."""
    view = await _upload(request, request.path_params["id"])
    if view["status"] == "pending" and view["expires_at"] <= deps(request).now():
        view = {**view, "status": "expired"}
    if view["status"] == "pending" or (again is not None and view["status"] == "completed"):
        return view
    raise _over(view)


def _over(view: dict[str, Any]) -> ApiError:
    sentence = f"The upload {view['id']} is {view['status']}. Create another one."
    return ApiError(sentence, param="upload_id", code="upload_not_pending")


async def _shown(request: Request, view: dict[str, Any]) -> dict[str, Any]:
    file = await owned(request, "files", view["file"]) if view["file"] else None
    return wire.upload(view, deps(request).now(), file)


async def _discard(request: Request, prefix: str) -> None:
    """Delete bytes that nothing names; what cannot be deleted now, the sweeper finds."""
    with suppress(UnavailableError):
        await deps(request).blobs.delete(prefix)


def _key(view: dict[str, Any], part: str = "") -> str:
    return f"{view['tenant']}/{view['id']}/parts/{part}"


ROUTES = [
    Route("/v1/uploads", create_upload, methods=["POST"]),
    Route("/v1/uploads/{id}/parts", create_part, methods=["POST"]),
    Route("/v1/uploads/{id}/complete", complete_upload, methods=["POST"]),
    Route("/v1/uploads/{id}/cancel", cancel_upload, methods=["POST"]),
]
