"""What the edge passes on to the serving process, at once or in batches: the paths, and what it reads of a body."""

from __future__ import annotations

from collections.abc import Mapping

from contracts.wire.body import check_strings, escapes, parse
from contracts.wire.completions import Chat, Completion, Routed
from contracts.wire.embeddings import Embeddings
from contracts.wire.request import Request

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
    given = parse(body)
    if escapes(body):
        check_strings(given)
    return Routed.read(given, known).model
