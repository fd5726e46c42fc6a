"""/v1/fine_tuning/alpha/graders: a grader tried on one sample, or only read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from contracts.manifest import ManifestRef
from contracts.wire.asked import PASSED_ON, model_asked
from contracts.wire.errors import ApiError
from contracts.wire.graders import (
    Combined,
    Grader,
    GraderRunRequest,
    GraderValidateRequest,
    LabelModel,
    PythonGrader,
    ScoreModel,
    read_grader,
)
from functions._shared.answer import answer_of
from functions._shared.grading.code import BrokenCodeError, BusyError, NotConfinedError
from functions._shared.grading.grade import Judges, grade
from functions._shared.grading.graded import FLAGS, Graded, Values, sample_of
from functions.edge.context import deps, read, reply, request_id, tenant, visible_model

CHAT = "/v1/chat/completions"


async def run_grader(request: Request) -> Response:
    """POST /fine_tuning/alpha/graders/run {grader, model_sample, item?}: what it says of one sample."""
    asked = await read(request, GraderRunRequest)
    grader = read_grader(asked.grader)
    await check_grader(request, grader, "grader")
    judges = Judges(partial(_ask, request), partial(_code, request))
    graded = await grade(grader, {"sample": sample_of(asked.model_sample), "item": asked.item}, judges)
    return reply(_shown(grader, asked.grader["type"], graded))


async def validate_grader(request: Request) -> Response:
    """POST /fine_tuning/alpha/graders/validate {grader}: the same grader, or what is wrong with it."""
    asked = await read(request, GraderValidateRequest)
    await check_grader(request, read_grader(asked.grader), "grader")
    return reply({"grader": asked.grader})


async def check_grader(request: Request, grader: Grader, where: str) -> None:
    """Refuse a grader whose model nobody has, and whose code is none."""
    if isinstance(grader, Combined):
        for name, each in grader.graders.items():
            await check_grader(request, each, f"{where}.graders.{name[:64]}")
    if isinstance(grader, ScoreModel | LabelModel):
        view = await visible_model(request, grader.model)
        if view is None or view["kind"] == "embedding":
            sentence = f"The model `{grader.model[:100]}` does not exist or cannot grade. GET /v1/models lists them."
            raise ApiError(sentence, param=f"{where}.model", code="model_not_found")
    if isinstance(grader, PythonGrader):
        try:
            await _code(request, grader.source, [])
        except BrokenCodeError as error:
            sentence = f"Invalid '{where}.source': {error}"
            raise ApiError(sentence, param=f"{where}.source", code="invalid_grader") from None


async def _code(request: Request, source: str, rows: Sequence[Values]) -> list[Graded]:
    coders = deps(request).coders
    try:
        if coders is None:
            raise NotConfinedError
        return await coders.run(tenant(request), source, rows)
    except NotConfinedError as error:
        raise ApiError(error.sentence, param="grader.type", code="unsupported") from None
    except BusyError:
        sentence = "Too many of your graders' code is waiting to be run. Try again when some have ended."
        raise ApiError(sentence, status=429, code="too_many_graders", headers={"retry-after": "2"}) from None


async def _ask(request: Request, model: str, chat: Mapping[str, Any]) -> tuple[int, Any]:
    view = await visible_model(request, model)
    if view is None:  # deleted at this moment
        return 404, {"error": {"message": "the model does not exist."}}
    body = msgspec.json.encode({"model": model, **chat})
    try:
        model_asked(body, PASSED_ON[CHAT])
    except ApiError as error:
        return error.status, error.body()
    manifest = ManifestRef.model_validate(view["manifest"])
    return await answer_of(await deps(request).complete(CHAT, body, manifest, request_id(request), tenant(request)))


def _shown(grader: Grader, kind: str, graded: Graded) -> dict[str, Any]:
    errors: dict[str, Any] = {name: name == graded.error for name in FLAGS}
    for name in ("python_grader_runtime_error", "model_grader_server_error"):
        errors[f"{name}_details"] = graded.details if name == graded.error else None
    errors["python_grader_server_error_type"] = None
    used = [each["total_tokens"] for each in graded.usage.values()]
    return {
        "reward": graded.reward,
        "sub_rewards": graded.scores,
        "metadata": {
            "name": grader.name,
            "type": kind,
            "errors": {**errors, "details": graded.details},
            "execution_time": graded.seconds,
            "scores": graded.scores or {grader.name: graded.reward},
            "token_usage": sum(used) if used else None,
            "sampled_model_name": graded.model,
        },
        "model_grader_token_usage_per_model": graded.usage,
    }


ROUTES = [
    Route("/v1/fine_tuning/alpha/graders/run", run_grader, methods=["POST"]),
    Route("/v1/fine_tuning/alpha/graders/validate", validate_grader, methods=["POST"]),
]
