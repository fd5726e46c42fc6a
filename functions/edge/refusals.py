"""What the edge says no with: OpenAI's status, wording, `param` and `code`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.wire import openai


class ApiError(Exception):
    """A request that is answered with an error; `message` is a sentence that says what to do."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
        type: str = "invalid_request_error",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.param = param
        self.code = code
        self.type = type
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """Return the answer's body."""
        return openai.error(self.message, self.type, self.param, self.code)


def missing(param: str) -> ApiError:
    """A required parameter is absent."""
    return ApiError(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def no_file(id: str) -> ApiError:
    """The tenant has no such file."""
    return ApiError(f"No such File object: {id}", status=404, param="id")


def no_job(id: str) -> ApiError:
    """The tenant has no such job."""
    return ApiError(f"Could not find fine tune: {id}", status=404, param="fine_tune_id", code="fine_tune_not_found")


def no_model(name: str) -> ApiError:
    """The tenant cannot see such a model."""
    return ApiError(
        f"The model `{name}` does not exist or you do not have access to it.",
        status=404,
        param="model",
        code="model_not_found",
    )


def unsupported(what: str, param: str) -> ApiError:
    """OpenAI has this; Temper does not serve it yet."""
    return ApiError(f"{what} not supported yet.", param=param, code="unsupported")


def bad_key(message: str) -> ApiError:
    """The API key is absent, malformed, unknown or revoked."""
    headers = {"www-authenticate": "Bearer"}
    return ApiError(message, status=401, code="invalid_api_key", headers=headers)


def key_reused() -> ApiError:
    """An Idempotency-Key came again with another body."""
    return ApiError(
        "This Idempotency-Key was already used with a different request. Use a new key for a new request.",
        param="Idempotency-Key",
        code="idempotency_key_reused",
    )


def too_large(what: str, limit: int) -> ApiError:
    """More bytes than the edge takes."""
    return ApiError(f"{what} is larger than {limit} bytes.", status=413, code="request_too_large")


def unavailable(message: str) -> ApiError:
    """A dependency does not answer; a client may try again."""
    sentence = message if message.endswith(".") else f"{message}."
    return ApiError(
        f"{sentence} Please try again.",
        status=503,
        type="server_error",
        code="service_unavailable",
        headers={"retry-after": "2"},
    )
