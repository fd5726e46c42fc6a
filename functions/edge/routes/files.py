"""/v1/files: upload, list, retrieve, delete, content."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from contracts.blobs import BlobRef
from contracts.controls import unheld
from contracts.envelope import derived_id, make
from contracts.erasure import of_jobs
from contracts.events.files import FileDeleted
from contracts.formats import HEAD
from contracts.ports import UnavailableError
from contracts.results import JSONL, PURPOSE
from contracts.wire import dataset, openai
from contracts.wire.errors import ApiError
from contracts.wire.requests import FileForm, FilePage
from functions.edge import core, provenance
from functions.edge.context import (
    check_dataset,
    deps,
    incoming,
    is_retry,
    list_page,
    new_object_id,
    owned,
    publish,
    reply,
    reply_reserved,
    reserve,
    streamed,
    tenant,
)
from functions.edge.multipart import Form, begin, content, following
from functions.edge.refusals import no_file
from functions.edge.results import unfinished


async def create_file(request: Request) -> Response:
    """POST /files: the bytes go to the store as they come; a broken upload leaves nothing."""
    new_id = new_object_id(request, "file-")
    try:
        data = await _store(request, new_id)
        reservation = await reserve(request, "files", core.same_upload(data), new_id)
        if reservation.id != new_id:
            data = await _adopt(request, reservation.id, data)
    except BaseException:
        # Nothing names these bytes yet. Afterwards the event may: what is published is never taken back.
        await asyncio.shield(_discard(request, new_id))
        raise
    if reservation.id != new_id:
        await _discard(request, new_id)
    view = await owned(request, "files", reservation.id)
    if view is None:
        event = make(
            data,
            subject=reservation.id,
            tenant=tenant(request),
            id=derived_id(reservation.id, "file.uploaded"),
        )
        await publish(request, event)
        view = await _file(request, reservation.id)
    return await reply_reserved(request, reservation, openai.file(view))


async def _store(request: Request, id: str) -> core.Uploaded:
    """Stream the upload into the store and return the event that will say so."""
    form = Form(request.headers.get("content-type"))
    body = incoming(request)
    await begin(form, body)
    before = FileForm.read({"purpose": "fine-tune", **form.fields})  # what follows the file is read when it is there
    await check_dataset(request, before.dataset)
    filename = core.clean_filename(form.filename)
    head = await _head(form, body)
    core.sniff(head, filename)
    core.check_content(head, form.fields.get("purpose", ""))
    blob = await deps(request).blobs.put(_key(request, id), content(form, body, core.MAX_FILE, "The file", head))
    asked = FileForm.read(form.fields)
    await check_dataset(request, asked.dataset)
    return core.uploaded(asked, filename, head[:HEAD], blob)


async def _head(form: Form, body: AsyncIterator[bytes]) -> bytes:
    """Return the file's first bytes, enough to tell its format."""
    head = b"".join(form.take())
    while len(head) < HEAD and not form.file_ended:
        form.feed(await following(body))
        head += b"".join(form.take())
    return head


async def _adopt(request: Request, id: str, data: core.Uploaded) -> core.Uploaded:
    """Return the same upload under an earlier attempt's id, whose bytes may be gone with that attempt."""
    blobs = deps(request).blobs
    key = _key(request, id)
    blob = BlobRef(**{**data.blob.model_dump(), "key": key})
    stat = await blobs.stat(key)
    if stat is None or stat.bytes != blob.bytes:
        view = await owned(request, "files", id)
        if view is None:
            blob = await blobs.put(key, blobs.stream(data.blob.key))
    return data.model_copy(update={"blob": blob})


async def _discard(request: Request, id: str) -> None:
    """Delete an upload's bytes; what cannot be deleted now stays behind, and the log never knew it."""
    with suppress(UnavailableError):
        await deps(request).blobs.delete(_prefix(request, id))


def _prefix(request: Request, id: str) -> str:
    return f"{tenant(request)}/{id}/"


def _key(request: Request, id: str) -> str:
    return _prefix(request, id) + "content"


async def _file(request: Request, id: str | None = None) -> dict[str, Any]:
    name: str = id or request.path_params["id"]
    view = await owned(request, "files", name)
    if view is None or view["deleted"]:
        raise no_file(name)
    return view


async def list_files(request: Request) -> Response:
    """GET /files."""
    asked = FilePage.read(request.query_params)
    where: dict[str, Any] = {"deleted": False}
    if asked.purpose is not None:
        where["purpose"] = asked.purpose
    return await list_page(request, "files", where, asked, openai.file)


async def retrieve_file(request: Request) -> Response:
    """GET /files/{id}; of documents it says under `dataset` how far they are, under `delay` what keeps them."""
    if (found := await _unfinished(request)) is not None:
        return reply(openai.file(found[0]))
    view = await _file(request)
    if view["status"] == "uploaded":
        view = {**view, "delay": unheld(await deps(request).controls.get(view["id"]))}
    archive = await owned(request, "archives", view["id"]) if view["archive"] else None
    if archive is None:
        return reply(openai.file(view))
    met = await provenance.troubles_of(deps(request).documents, deps(request).controls, archive)
    if view["status"] == "uploaded" and view["delay"] is None and met:
        view = {**view, "delay": met[0]}
    return reply(openai.file(view) | {"dataset": await provenance.progress(deps(request).documents, archive, met)})


async def delete_file(request: Request) -> Response:
    """DELETE /files/{id}: the id dies first, then the bytes and all that was made of them go; names who saw them.

    What was re-curated of it goes before it, so that nothing is left whose source is gone.
    """
    id, owner, documents = request.path_params["id"], tenant(request), deps(request).documents
    view = await owned(request, "files", id)
    if view is None and await _unfinished(request) is not None:
        raise ApiError(
            f"The file {id} is not stored: it is made of its job's metrics when asked for. There is nothing to delete.",
            param="id",
            code="file_in_use",
        )
    if view is None or (view["deleted"] and not is_retry(request)):
        raise no_file(id)
    doomed = [*await provenance.recurated_of(documents, owner, id), view]
    for each in doomed:
        if not each["deleted"]:
            await _check_unused(request, each["id"])
    for each in doomed:
        await _delete(request, each)
    meanwhile = await provenance.recurated_of(documents, owner, id)
    for each in meanwhile:
        if not each["deleted"]:
            await _delete(request, each)
    saw = [job for each in (*meanwhile, view) for job in await provenance.jobs_using(documents, owner, each["id"])]
    gone = {"models": dataset.seen_by(saw), "recurated": [each["id"] for each in meanwhile]}
    return reply({**openai.deleted(id, "file"), **gone})


async def _delete(request: Request, view: Mapping[str, Any]) -> None:
    """Say that a file is deleted, unless that was said, and erase all bytes of it."""
    id: str = view["id"]
    if not view["deleted"]:
        event = make(FileDeleted(), subject=id, tenant=tenant(request), id=derived_id(id, "file.deleted"))
        await publish(request, event)
    await deps(request).blobs.delete(_prefix(request, id))


async def _check_unused(request: Request, id: str) -> None:
    asking = {"tenant": tenant(request), "over": False, "input_file": id}
    batches = await deps(request).documents.find("batches", asking, limit=1)
    if batches:
        raise ApiError(
            f"The file {id} is in use by the batch {batches[0]['id']}. Cancel it or wait for its end, then delete it.",
            param="id",
            code="file_in_use",
        )
    using = {"tenant": tenant(request), "ended": False, **of_jobs(id)}
    jobs = await deps(request).documents.find("jobs", using, limit=1)
    if jobs:
        raise ApiError(
            f"The file {id} is in use by the job {jobs[0]['id']}. Cancel the job or wait for its end, then delete it.",
            param="id",
            code="file_in_use",
        )


async def file_content(request: Request) -> Response:
    """GET /files/{id}/content: the bytes; a CSV of results as base64 text, as OpenAI does, unless `?format=raw`.

    Results can be read while the job runs.
    """
    if (found := await _unfinished(request)) is not None:
        return _results(request, found[0], found[1])
    view = await _file(request)
    # Never the key that the upload's event named: an outsider may name anybody's, and validation copies its own here.
    blobs, key = deps(request).blobs, _key(request, view["source"] or view["id"])
    if view["purpose"] == PURPOSE:
        return _results(request, view, await blobs.get(key))
    return await streamed(request, key, "application/octet-stream", _attached(view))


async def _unfinished(request: Request) -> tuple[Mapping[str, Any], bytes] | None:
    """Return the result file that is asked for, when its job has not stored it (yet)."""
    id = request.path_params["id"]
    if await owned(request, "files", id) is not None:
        return None
    return await unfinished(deps(request).documents, tenant(request), id)


def _results(request: Request, view: Mapping[str, Any], content: bytes) -> Response:
    if view["filename"] == JSONL:
        return Response(content, headers=_attached(view), media_type="application/jsonl")
    if request.query_params.get("format") == "raw":
        return Response(content, headers=_attached(view), media_type="text/csv")
    return Response(base64.b64encode(content), headers=_attached(view), media_type="text/plain")


def _attached(view: Mapping[str, Any]) -> dict[str, str]:
    return {"content-disposition": f"attachment; filename*=UTF-8''{quote(view['filename'], safe='')}"}


ROUTES = [
    Route("/v1/files", create_file, methods=["POST"]),
    Route("/v1/files", list_files, methods=["GET"]),
    Route("/v1/files/{id}", retrieve_file, methods=["GET"]),
    Route("/v1/files/{id}", delete_file, methods=["DELETE"]),
    Route("/v1/files/{id}/content", file_content, methods=["GET"]),
]
