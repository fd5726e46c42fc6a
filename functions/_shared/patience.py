"""Serving asked again while it is away or busy, as work asks it that nobody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from contracts.manifest import ManifestRef
from contracts.ports import Complete, Reply, UnavailableError
from contracts.wire.asked import BATCH
from functions._shared.answer import answer_of

TRIES = 4
"""For one request in one attempt at the work; then it waits as a whole."""
_LATER = frozenset({408, 425, 429, 502, 503, 504})
_WAIT = 0.5


async def ask_patiently(
    complete: Complete,
    path: str,
    body: bytes,
    manifest: ManifestRef,
    id: str,
    tenant: str,
    read: Callable[[Reply], Awaitable[tuple[int, Any]]] = answer_of,
) -> tuple[int, Any]:
    """Return an answer, good or bad, at half a live request's priority; raises UnavailableError where none comes.

    `read` makes status and answer of a reply, and closes it.
    """
    for tried in range(1, TRIES + 1):
        try:
            status, said = await read(await complete(path, body, manifest, id, tenant + BATCH))
            if status < 500 and status not in _LATER:
                return status, said
            why = UnavailableError("serving", f"serving answers {status}")
        except UnavailableError as error:
            status, said, why = 503, None, error
        if tried < TRIES:
            await asyncio.sleep(_WAIT * 2**tried)
    if status in _LATER:
        raise why
    return status, said  # it answers, and this request breaks it
