"""A whole answer of the serving process."""

from __future__ import annotations

from typing import Any

import msgspec

from contracts.ports import Reply
from contracts.wire.errors import ApiError

MAX_ANSWER = 16 * 2**20


async def answer_of(reply: Reply) -> tuple[int, Any]:
    """Return an answer's status and what its JSON says; it is closed then."""
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
