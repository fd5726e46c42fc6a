"""What the edge says no with: OpenAI's status, wording, `param` and `code`. Pure."""

from __future__ import annotations

from contracts.wire.errors import ApiError


def no_file(id: str) -> ApiError:
    """The tenant has no such file."""
    return ApiError(f"No such File object: {id}", status=404, param="id")


def no_upload(id: str) -> ApiError:
    """The tenant has no such upload."""
    return ApiError(f"No such Upload object: {id[:128]}", status=404, param="upload_id")


def no_batch(id: str) -> ApiError:
    """The tenant has no such batch."""
    return ApiError(f"No such Batch object: {id[:128]}", status=404, param="batch_id")


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


def no_response(id: str, previous: bool = False) -> ApiError:
    """The tenant keeps no such response."""
    if previous:
        sentence = f"Previous response with id '{id[:128]}' not found."
        return ApiError(sentence, status=404, param="previous_response_id", code="previous_response_not_found")
    return ApiError(f"Response with id '{id[:128]}' not found.", status=404, param="id")


def no_chat(id: str) -> ApiError:
    """The tenant keeps no such chat."""
    sentence = f"Chat completion with id '{id[:128]}' not found. Only those that were asked with 'store' are kept."
    return ApiError(sentence, status=404, param="id")


def no_endpoint(id: str) -> ApiError:
    """The tenant has no such webhook endpoint."""
    return ApiError(f"No such webhook endpoint: {id[:128]}", status=404, param="id")


def no_notification(id: str) -> ApiError:
    """The tenant has no such notification."""
    return ApiError(f"No such notification: {id[:128]}", status=404, param="id")


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
        code="service_unavailable",
        headers={"retry-after": "2"},
    )


def no_documents(id: str) -> ApiError:
    """A data set is asked for of a file that holds rows."""
    sentence = f"The file {id} holds no documents, so no data set is made of it: leave 'dataset' out."
    return ApiError(sentence, param="dataset", code="no_dataset")
