"""One line asked of the serving process, as the edge asks a live request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from contracts.manifest import ManifestRef
from contracts.ports import Complete
from contracts.wire import embeddings
from contracts.wire.asked import CHAT, EMBEDDINGS, PASSED_ON, RESPONSES, model_asked, passed_on
from contracts.wire.errors import ApiError
from contracts.wire.response_items import read_input
from contracts.wire.responses import ResponseRequest, of_response
from functions._shared.patience import ask_patiently
from functions._shared.responding import Responding, chat_of, numbered
from functions.run_batch import core

MAX_BODY = 2**20
"""As of a live request, one for embeddings excepted."""


@dataclass(frozen=True, slots=True)
class _Question:
    """What serving is asked for a line."""

    path: str
    body: bytes
    responding: Responding | None = None
    """Of a response, which serving answers as a chat."""

    def told(self, status: int, said: Any, now: int) -> Any:
        """Return the answer to the line, of what serving says."""
        if self.responding is None:
            return said
        if status != 200:
            error = said.get("error") if isinstance(said, dict) else None
            return of_response(error if isinstance(error, dict) else {}, status, {}).body()
        self.responding.whole(said, now)
        return self.responding.response


def _question(path: str, given: dict[str, Any], id: str, now: int) -> _Question:
    """Return what is asked for the body of a line; raises ApiError: what is wrong with it, and where."""
    body = msgspec.json.encode(given)
    most = embeddings.MAX_BYTES if path == EMBEDDINGS else MAX_BODY
    if len(body) > most:
        raise ApiError(f"The body is larger than {most} bytes.", status=413, code="request_too_large")
    if path in (CHAT, RESPONSES) and given.get("store"):
        what = "Invalid 'store': the answers of a batch are kept in its file, and nowhere else. Leave it out."
        raise ApiError(what, param="store", code="unsupported")
    if path != RESPONSES:
        model_asked(body, PASSED_ON[path])
        return _Question(path, body)
    _, asked = passed_on(body, ResponseRequest, ResponseRequest)
    if asked.background:
        what = "Invalid 'background': a line of a batch is answered in the background as it is. Leave it out."
        raise ApiError(what, param="background", code="unsupported")
    if asked.previous_response_id is not None:
        what = "Invalid 'previous_response_id': a line of a batch stands alone. Send what came before in 'input'."
        raise ApiError(what, param="previous_response_id", code="unsupported")
    response_id = id.replace("req_", "resp_", 1)
    new_id = numbered(response_id)
    chat = msgspec.json.encode(chat_of(asked, read_input(asked.input, new_id)))
    return _Question(CHAT, chat, Responding({**asked.response(response_id, now), "store": False}, new_id))


@dataclass(frozen=True, slots=True)
class Asking:
    """Where the lines of one batch go."""

    complete: Complete
    batch: str
    tenant: str
    path: str
    manifest: ManifestRef
    gate: asyncio.Semaphore
    """As many at once as the setting says."""
    now: Callable[[], int]
    """Milliseconds."""

    async def ask(self, request: Mapping[str, Any]) -> core.Answered:
        """Return a line's answer, good or bad; raises UnavailableError while serving is away."""
        line, custom_id = request["line"], request["custom_id"]
        id = core.request_id(self.batch, line)
        try:
            question = _question(self.path, request["body"], id, self.now() // 1000)
        except ApiError as error:
            return core.answered(self.batch, line, custom_id, error.status, error.body())
        async with self.gate:
            asked = question.path, question.body
            status, said = await ask_patiently(self.complete, *asked, self.manifest, id, self.tenant)
        return core.answered(self.batch, line, custom_id, status, question.told(status, said, self.now() // 1000))
