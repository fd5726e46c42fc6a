"""One line asked of the serving process, as the edge asks a live request."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from contracts.manifest import ManifestRef
from contracts.ports import Complete
from contracts.wire.asked import PASSED_ON, model_asked
from contracts.wire.errors import ApiError
from functions._shared.patience import ask_patiently
from functions.run_batch import core

MAX_BODY = 2**20
"""As of a live request."""


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
            id = core.request_id(self.batch, line)
            status, said = await ask_patiently(self.complete, self.path, body, self.manifest, id, self.tenant)
        return core.answered(self.batch, line, custom_id, status, said)
