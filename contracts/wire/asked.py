"""What is asked of the serving process, at once or in batches: the paths, and what is read of a body before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from contracts.wire.body import check_strings, escapes, parse
from contracts.wire.completions import Chat, Completion, Routed
from contracts.wire.embeddings import Embeddings
from contracts.wire.request import Request
from contracts.wire.responses import ResponseRequest

Passed = TypeVar("Passed", bound=Request)
CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"
RESPONSES = "/v1/responses"
"""Which serving does not know: a response is asked of it as a chat."""
PASSED_ON: Mapping[str, type[Request]] = {
    CHAT: Chat,
    "/v1/completions": Completion,
    EMBEDDINGS: Embeddings,
    RESPONSES: ResponseRequest,
}
"""Path → the request that is read there. A path that is added here takes batches."""
BATCH = "/batch"
"""Behind a tenant's name where serving queues: what is asked so has half the priority of what somebody waits for."""


def model_asked(body: bytes, known: type[Request]) -> str:
    """Return the model that a body asks, of which serving reads `known`; raises ApiError for what it would not know."""
    return passed_on(body, known, Routed)[1].model


def passed_on(body: bytes, known: type[Request], routed: type[Passed]) -> tuple[dict[str, Any], Passed]:
    """Return the object of a body that goes on as it is, and what is read of it here; raises as `model_asked` does."""
    given = parse(body)
    if escapes(body):
        check_strings(given)
    return given, routed.read(given, known)
