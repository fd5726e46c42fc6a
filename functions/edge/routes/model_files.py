"""/v1/models/{model}/files: a model as the folder that other software reads, to take away."""

from __future__ import annotations

import hashlib
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from contracts.manifest import Manifest, ManifestFile, ManifestRef
from contracts.wire import openai
from contracts.wire.answers import ModelFile, Whole
from contracts.wire.errors import ApiError
from functions._shared.model_files import read_manifest
from functions._shared.model_folder import CARD, card, files_of
from functions.edge.context import Answer, deps, own_model, owned, reply, streamed
from functions.edge.refusals import no_model


async def list_files(request: Request) -> Answer[Whole[ModelFile]]:
    """GET /models/{model}/files: name, bytes and SHA-256 of each; an adapter's has its base's tokenizer beside it."""
    view = await _model(request)
    text = await _card(request, view)
    shown = [openai.model_file(file.path, file.bytes, file.sha256) for file in await _files(request, view)]
    own = openai.model_file(CARD, len(text), hashlib.sha256(text).hexdigest())
    data = sorted([*shown, own], key=lambda file: file["name"])
    return reply(Whole[ModelFile](object="list", data=data))


async def download(request: Request) -> Response:
    """GET /models/{model}/files/{name}: one file's bytes as they come."""
    view, name = await _model(request), request.path_params["name"]
    headers = {"content-disposition": f'attachment; filename="{name.rpartition("/")[2]}"'}
    if name == CARD:
        return Response(await _card(request, view), headers=headers, media_type="text/markdown")
    for file in await _files(request, view):
        if file.path == name:
            return await streamed(request, file.key, "application/octet-stream", headers)
    sentence = f"The model has no file {name[:200]!r}; GET /v1/models/{{model}}/files lists them."
    raise ApiError(sentence, status=404, param="name")


async def _model(request: Request) -> dict[str, Any]:
    name = request.path_params["model"]
    view = await own_model(request, name)
    if view is None:
        raise no_model(name)
    return view


async def _files(request: Request, view: dict[str, Any]) -> list[ManifestFile]:
    base = await _manifest(request, view["base"]) if view["kind"] == "adapter" else None
    return files_of(await _manifest(request, view["manifest"]), base)


async def _manifest(request: Request, ref: dict[str, str]) -> Manifest:
    return await read_manifest(deps(request).blobs, ManifestRef.model_validate(ref))


async def _card(request: Request, view: dict[str, Any]) -> bytes:
    job = await owned(request, "jobs", view["job"]) if view["job"] else None
    return card(view, job["plan"] if job else None).encode()


ROUTES = [
    Route("/v1/models/{model:path}/files", list_files, methods=["GET"]),
    Route("/v1/models/{model:path}/files/{name:path}", download, methods=["GET"]),
]
