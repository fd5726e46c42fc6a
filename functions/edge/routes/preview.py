"""/v1/files/{id}/preview: what a model would be trained on of a row, before a job is paid for."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from contracts.manifest import ManifestRef
from contracts.wire.dataset_answers import RowPreview
from contracts.wire.errors import ApiError
from contracts.wire.requests import PreviewQuery
from functions.edge import lines
from functions.edge.context import deps, own_model, owned, request_id, tenant
from functions.edge.refusals import no_file, no_model
from functions.edge.routes.completions import Relay

MAX_ROW = 2**20
"""Bytes of a row that is shown: serving renders it beside the chats that it answers."""


async def preview(request: Request) -> Annotated[Response, RowPreview]:
    """GET /files/{id}/preview?model&row: what a model would be trained on of a row, as text with spans, or why not."""
    asked = PreviewQuery.read(request.query_params)
    validated = await _validated(request)
    view = await own_model(request, asked.model)
    if view is None:
        raise no_model(asked.model)
    id, rows = request.path_params["id"], validated["rows"]
    if asked.row > rows:
        sentence = f"The file {id} has {rows} rows, numbered from 1, so there is no row {asked.row}."
        raise ApiError(sentence, param="row", code="row_not_found")
    row = await lines.nth(deps(request).blobs, validated["blob"]["key"], asked.row)
    if len(row) > MAX_ROW:
        sentence = f"Row {asked.row} is longer than {MAX_ROW} bytes, the most that is shown of one."
        raise ApiError(sentence, param="row", code="request_too_large")
    manifest = ManifestRef.model_validate(view["manifest"])
    path = "/v1/preview?" + urlencode({"model": asked.model, "row": asked.row})
    complete, called, owner = deps(request).complete, request_id(request), tenant(request)
    return Relay(lambda: complete(path, row, manifest, called, owner))


async def _validated(request: Request) -> dict[str, Any]:
    """Return what was said of the rows of the path's file; raises ApiError where there are none."""
    id = request.path_params["id"]
    view = await owned(request, "files", id)
    if view is None or view["deleted"]:
        raise no_file(id)
    if view["purpose"] != "fine-tune":
        sentence = f"The file {id} has purpose '{view['purpose']}'; only rows of purpose 'fine-tune' are trained on."
        raise ApiError(sentence, param="id", code="invalid_file_purpose")
    if view["rejected"] is not None:
        raise ApiError(view["rejected"]["message"], param="id", code=view["rejected"]["code"])
    if view["validated"] is None:
        sentence = f"The rows of {id} are not ready yet. Ask again when GET /files/{id} says `status: processed`."
        raise ApiError(sentence, param="id", code="file_not_ready")
    validated: dict[str, Any] = view["validated"]
    return validated


ROUTES = [Route("/v1/files/{id}/preview", preview, methods=["GET"])]
