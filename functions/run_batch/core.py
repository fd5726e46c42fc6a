"""Decides what a batch asks, what its lines become, how it ends. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from contracts.blobs import BlobRef
from contracts.documents.facts import View
from contracts.envelope import derived_id
from contracts.events.batches import BatchEnded, BatchError
from contracts.events.files import FileUploaded
from contracts.wire.batches import OUTPUT, WINDOW

PART = 64
"""Answers recorded together: what a crash may cost."""
Stop = Literal["expired", "cancelled"]
Answered = dict[str, Any]
_WHY: Mapping[Stop, tuple[str, str]] = {
    "expired": ("batch_expired", "This request could not be executed before the completion window expired."),
    "cancelled": ("batch_cancelled", "This request was not executed, because the batch was cancelled before."),
}


class CannotBeginError(Exception):
    """Nothing can be asked; `errors` say why."""

    def __init__(self, *errors: BatchError) -> None:
        super().__init__(errors[0].code)
        self.errors = errors


def check_file(batch: View, file: View | None) -> bool:
    """Return whether the file's lines are known to be good, False while nobody has looked; raises CannotBeginError."""
    id, endpoint = batch["input_file"], batch["created"]["endpoint"]
    if file is None or file["tenant"] != batch["tenant"] or file["deleted"]:
        raise CannotBeginError(_error("file_deleted", f"The file {id} was deleted.", "input_file_id"))
    rejected, validated = file["rejected"], file["validated"]
    if rejected is not None:
        lines = [
            BatchError(code=each["code"], message=each["message"], param=each["path"][:64] or None, line=each["line"])
            for each in rejected["errors"]
        ]
        raise CannotBeginError(*(lines or [_error(rejected["code"], rejected["message"], "input_file_id")]))
    if validated is None:
        return False
    if validated.get("url") != endpoint:
        sentence = f"The lines of the file ask {validated.get('url')}, but the batch is of {endpoint}."
        raise CannotBeginError(_error("mismatched_endpoint", sentence, "endpoint"))
    return True


def no_model(name: str) -> CannotBeginError:
    """Nobody has the model that the lines ask."""
    sentence = f"The model `{name}` does not exist or you do not have access to it."
    return CannotBeginError(_error("model_not_found", sentence, "body.model"))


def _error(code: str, message: str, param: str | None = None) -> BatchError:
    return BatchError(code=code, message=message, param=param)


def stop(batch: View, now: int) -> Stop | None:
    """Return why no more lines are asked; `now` is in milliseconds."""
    if batch["cancelling_at"] is not None:
        return "cancelled"
    return "expired" if now >= batch["created_at"] + 1000 * WINDOW else None


def request_id(batch: str, line: int) -> str:
    """Return the id of a line's request."""
    return "req_" + derived_id(batch, "request", line).replace("-", "")


def _line(batch: str, line: int, custom_id: str, response: Any, error: Any) -> Answered:
    id = "batch_req_" + derived_id(batch, "line", line).replace("-", "")
    return {"id": id, "custom_id": custom_id, "response": response, "error": error}


def answered(batch: str, line: int, custom_id: str, status: int, body: Any) -> Answered:
    """Return a line that was asked, as it stands in a file of answers."""
    response = {"status_code": status, "request_id": request_id(batch, line), "body": body}
    return _line(batch, line, custom_id, response, None)


def not_asked(batch: str, line: int, custom_id: str, why: Stop) -> Answered:
    """Return a line that was never asked."""
    code, message = _WHY[why]
    return _line(batch, line, custom_id, None, {"code": code, "message": message})


def is_good(answer: Mapping[str, Any]) -> bool:
    """Return whether a line goes to the file of answers, rather than to that of errors."""
    return answer["response"] is not None and answer["response"]["status_code"] == 200


def encoded(answers: Sequence[Mapping[str, Any]]) -> bytes:
    """Return lines as JSON lines."""
    return "".join(json.dumps(each, ensure_ascii=False, separators=(",", ":")) + "\n" for each in answers).encode(
        errors="replace"
    )


def file_id(batch: str, kind: str) -> str:
    """Return the id of a batch's file of answers or errors."""
    return "file-" + derived_id(batch, kind).replace("-", "")


def written(batch: str, kind: str, blob: BlobRef, expires_after: int | None) -> FileUploaded:
    """Return the event of a batch's file."""
    name = f"{batch}_{kind}.jsonl"
    return FileUploaded(blob=blob, filename=name, purpose=OUTPUT, format="jsonl", expires_after=expires_after)


def ended(why: Stop | None, total: int, counts: tuple[int, int], files: Mapping[str, str]) -> BatchEnded:
    """Return the ending of a batch whose lines all stand in its files."""
    return BatchEnded(
        status=why or "completed",
        total=total,
        completed=counts[0],
        failed=counts[1],
        output_file=files.get("output"),
        error_file=files.get("error"),
    )
