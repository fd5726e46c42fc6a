"""One line asked of the serving process, as the edge asks a live request."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from contracts.manifest import ManifestRef
from contracts.ports import Complete, UnavailableError
from contracts.wire.asked import BATCH, PASSED_ON, model_asked
from contracts.wire.errors import ApiError
from functions.run_batch import core

MAX_BODY = 2**20
"""As of a live request."""
MAX_ANSWER = 16 * 2**20
TRIES = 4
"""For one line in one attempt at the batch; then it waits as a whole."""
_LATER = frozenset({408, 425, 429, 502, 503, 504})
_WAIT = 0.5


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

    async def ask(self, request: Mapping[str, Any]) -> core.Answered:
        """Return a line's answer, good or bad; raises UnavailableError while serving is away."""
        line, custom_id = request["line"], request["custom_id"]
        body = msgspec.json.encode(request["body"])
        try:
            if len(body) > MAX_BODY:
                sentence = f"The body is larger than {MAX_BODY} bytes."
                raise ApiError(sentence, status=413, code="request_too_large")
            model_asked(body, PASSED_ON[self.path])
        except ApiError as error:
            return core.answered(self.batch, line, custom_id, error.status, error.body())
        async with self.gate:
            status, said = await self._patiently(body, core.request_id(self.batch, line))
        return core.answered(self.batch, line, custom_id, status, said)

    async def _patiently(self, body: bytes, id: str) -> tuple[int, Any]:
        for tried in range(1, TRIES + 1):
            try:
                status, said = await self._once(body, id)
                if status < 500 and status not in _LATER:
                    return status, said
                why = UnavailableError("serving", f"serving answers {status}")
            except UnavailableError as error:
                status, said, why = 503, None, error
            if tried < TRIES:
                await asyncio.sleep(_WAIT * 2**tried)
        if status in _LATER:
            raise why
        return status, said  # it answers, and this line breaks it

    async def _once(self, body: bytes, id: str) -> tuple[int, Any]:
        reply = await self.complete(self.path, body, self.manifest, id, self.tenant + BATCH)
        try:
            content = bytearray()
            async for chunk in reply.chunks():
                content += chunk
                if len(content) > MAX_ANSWER:
                    error = ApiError(f"The answer is larger than {MAX_ANSWER} bytes.", status=500, code="too_large")
                    return error.status, error.body()
            return reply.status, msgspec.json.decode(content)
        except msgspec.DecodeError:
            return 500, ApiError("The answer is no JSON.", status=500, code="generation_failed").body()
        finally:
            await reply.close()
