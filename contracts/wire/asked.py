"""What the edge passes on to the serving process, at once or in batches: the paths, and what it reads of a body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from contracts.wire.body import check_strings, escapes, parse
from contracts.wire.completions import Chat, Completion, Routed
from contracts.wire.embeddings import Embeddings
from contracts.wire.request import Request

Passed = TypeVar("Passed", bound=Routed)
PASSED_ON: Mapping[str, type[Request]] = {
    "/v1/chat/completions": Chat,
    "/v1/completions": Completion,
    "/v1/embeddings": Embeddings,
}
"""Path → the request that serving reads there. A path that is added here is served, and takes batches."""
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
