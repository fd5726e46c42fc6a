"""/v1/files/{id}/rows, /report, /recurate, /v1/lineage: what was made of documents, and where each row comes from."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from contracts.corpus import RowOrigin, Split
from contracts.envelope import derived_id, make
from contracts.events.files import FileDeleted
from contracts.wire import dataset, openai
from contracts.wire.answers import Page
from contracts.wire.dataset_answers import DatasetReport, DatasetRow, Lineage
from contracts.wire.errors import ApiError
from contracts.wire.requests import LineagePage, Recurate, RowPage
from functions.edge import core, lines, listing, provenance
from functions.edge.context import (
    Answer,
    deps,
    new_object_id,
    owned,
    publish,
    read,
    reply,
    reply_reserved,
    reserve,
    streamed,
    tenant,
)
from functions.edge.refusals import no_file


async def list_rows(request: Request) -> Answer[Page[DatasetRow]]:
    """GET /files/{id}/rows?after&limit&split: rows in the order of the data set, each with where it comes from."""
    assembled = await _assembled(request)
    asked = RowPage.read(request.query_params)
    split = asked.split
    if split is None:  # ids of rows say it
        split = "held_out" if (asked.after or "").startswith("held_out-") else "train"
    total = assembled["rows"] if split == "train" else assembled["held_out_rows"]
    first = 1 if asked.after is None else _line(asked.after, split, total) + 1
    keys = dataset.blobs(assembled).get(split)
    if keys is None or first > total:
        return reply(openai.page([], False))
    rows, origins = await asyncio.gather(
        *(lines.numbered(deps(request).blobs, key, first, asked.limit) for key in keys)
    )
    shown = [_row(row, origin, split) for row, origin in zip(rows, origins, strict=True)]
    return reply(openai.page(shown, first + len(shown) <= total))


def _line(after: str, split: Split, total: int) -> int:
    """Return the line of the row that a page comes after; raises ApiError."""
    try:
        line = dataset.line_of(after, split)
    except ValueError as error:
        raise ApiError(f"{error}.", param="after", code="invalid_value") from None
    if not 1 <= line <= total:
        raise listing.unknown_after(after)
    return line


def _row(row: bytes, origin: bytes, split: Split) -> DatasetRow:
    messages = msgspec.json.decode(row)["messages"]
    return dataset.row(RowOrigin.model_validate_json(origin), messages, split)


async def recurate(request: Request) -> Response:
    """POST /files/{id}/recurate: the same questions again, without those below `min_score` or above `max_score`.

    The answer is a file of its own, whose data set is made like any other; this one stays as it is.
    """
    await _assembled(request)
    id = request.path_params["id"]
    archive = await owned(request, "archives", id)
    if archive is None or archive["assembled"] is None:
        raise _not_ready(id)
    data = core.recurated(await read(request, Recurate), archive)
    asked, new_id = data.model_dump(mode="json"), new_object_id(request, "file-")
    reservation = await reserve(request, "files/recurate", asked, new_id)
    view = await owned(request, "files", reservation.id)
    if view is None:
        owner, born = tenant(request), derived_id(reservation.id, "file.uploaded")
        await publish(request, make(data, subject=reservation.id, tenant=owner, id=born))
        view = await owned(request, "files", reservation.id)
        # A deletion looks for what was re-curated after it has said so: one of the two sees the other.
        source = await owned(request, "files", data.source)
        if source is None or source["deleted"]:
            gone = derived_id(reservation.id, "file.deleted")
            await publish(request, make(FileDeleted(), subject=reservation.id, tenant=owner, id=gone))
            raise no_file(id)
    if view is None or view["deleted"]:
        raise no_file(reservation.id)
    return await reply_reserved(request, reservation, openai.file(view))


async def _assembled(request: Request) -> dict[str, Any]:
    """Return what was said of the data set of the path's file; raises ApiError where there is none."""
    id = request.path_params["id"]
    view = await owned(request, "files", id)
    if view is None or view["deleted"]:
        raise no_file(id)
    if not view["archive"]:
        sentence = f"The file {id} holds rows, so no data set was made of it. Its rows are at /files/{id}/content."
        raise ApiError(sentence, param="id", code="no_dataset")
    if view["rejected"] is not None:
        raise ApiError(view["rejected"]["message"], param="id", code=view["rejected"]["code"])
    if view["validated"] is None:
        raise _not_ready(id)
    assembled: dict[str, Any] = view["validated"]
    return assembled


def _not_ready(id: str) -> ApiError:
    sentence = f"The data set of {id} is not ready yet. Ask again when GET /files/{id} says `dataset.stage: ready`."
    return ApiError(sentence, param="id", code="dataset_not_ready")


async def report(request: Request) -> Annotated[Response, DatasetReport]:
    """GET /files/{id}/report: coverage per document, page and chunk, what was dropped and why, lengths, samples."""
    key = (await _assembled(request))["report"]["key"]
    return await streamed(request, key, "application/json", {})


async def lineage(request: Request) -> Answer[Page[Lineage]]:
    """GET /lineage?file&page&document&after&limit: page → chunks → rows → jobs → models, a document at a time."""
    asked, ports = LineagePage.read(request.query_params), deps(request)
    file, page = asked.file, asked.page
    view = await owned(request, "files", file)
    if view is None or view["deleted"]:
        raise no_file(file)
    home = view["source"] or file  # the documents of what was re-curated are its source's
    found = await ports.documents.find("documents", _of(request, home, asked), [("id", 1)], asked.limit + 1)
    shown = found[: asked.limit]
    cut = {each["id"]: await provenance.chunks_of(ports.blobs, each) for each in shown}
    names = {chunk.id for chunks in cut.values() if chunks for chunk in dataset.on_page(chunks, page)}
    assembled = view["validated"] if view["archive"] else None
    origins = await provenance.origins_naming(ports.blobs, assembled, names) if assembled else {}
    jobs = await provenance.jobs_using(ports.documents, tenant(request), file)
    traced = [
        dataset.lineage(chunks, page, origins, jobs) if (chunks := cut[each["id"]]) else dataset.uncut(each, page)
        for each in shown
    ]
    return reply(openai.page(traced, len(found) > asked.limit))


def _of(request: Request, file: str, asked: LineagePage) -> core.Filter:
    """Return the filter for the documents asked for: of this archive, that have the page, that come after."""
    where: core.Filter = {"tenant": tenant(request), "archive": file}
    named = [{"id": asked.document}] if asked.document else []
    paged = [{"extracted.pages": {"$gte": asked.page}}] if asked.page is not None else []
    behind = [{"id": {"$gt": asked.after}}] if asked.after else []
    return {"$and": [where, *named, *paged, *behind]}


ROUTES = [
    Route("/v1/files/{id}/rows", list_rows, methods=["GET"]),
    Route("/v1/files/{id}/report", report, methods=["GET"]),
    Route("/v1/files/{id}/recurate", recurate, methods=["POST"]),
    Route("/v1/lineage", lineage, methods=["GET"]),
]
