"""What the edge decides: which requests become events, what a list shows, what is refused. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

from contracts import formats
from contracts.blobs import BlobRef
from contracts.events.corpus import DatasetAsked, DatasetRecurated, DocumentUploaded, Score, ZipUploaded
from contracts.events.files import FileUploaded
from contracts.events.jobs import JobCreated
from contracts.formats import HEAD
from contracts.wire import batches, openai
from contracts.wire.errors import ApiError, missing, unsupported
from contracts.wire.requests import FileForm, Recurate
from functions.edge.refusals import no_file, too_large

View = Mapping[str, Any]
Filter = dict[str, Any]

MAX_FILE = 512 * 2**20
ROWS = ("jsonl", "json", "csv", "unknown")
DOCUMENTS = frozenset({
    "txt", "text", "md", "markdown", "rst", "adoc", "asciidoc", "html", "htm", "xhtml", "mht", "mhtml", "pdf",
    "doc", "docx", "dot", "docm", "xls", "xlsx", "xlsm", "ppt", "pptx", "odt", "ods", "odp", "epub", "rtf",
    "eml", "msg", "pages", "numbers", "key", "svg", "xml",
})  # fmt: skip
"""Ends of names whose text is no rows."""
MAX_FILENAME = 1024
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


# --- files


def sniff(head: bytes, filename: str) -> str:
    """Return what a file is by its first bytes: jsonl, json, csv or unknown rows, a zip, or a document's format.

    Validation and extraction decide later. Raises ApiError for what is neither rows nor a document.
    """
    if not head:
        raise ApiError("The file is empty. Upload a file with at least 10 rows.", param="file", code="empty_file")
    known = formats.magic(head)
    known = formats.begins(head) if known == "zip" else known  # the first names in it tell
    if known is not None:
        return known if not isinstance(known, formats.Skip) else "zip" if head.startswith(b"PK") else "unknown"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"{"):
        return "jsonl"
    if text.startswith(b"["):
        return "json"
    suffix = filename.lower().rpartition(".")[2]
    if suffix in DOCUMENTS:
        found = formats.sniff(head, len(head) + (len(head) == HEAD))
        if isinstance(found, formats.Skip):
            raise ApiError(f"The file cannot be read: {found.message}", param="file", code="unsupported_file")
        return "txt" if found in ROWS else found
    if suffix not in ROWS and formats.sniff(head, len(head) + (len(head) == HEAD)) == "eml":  # saved under its subject
        return "eml"
    if suffix == "csv" or b"," in text.split(b"\n", 1)[0]:
        return "csv"
    return "unknown"


def check_content(head: bytes, purpose: str) -> None:
    """Refuse what is to be trained on and cannot be, by its first bytes; anything else may be stored."""
    skip = formats.foreign(head) if purpose in openai.CHECKED else None
    if skip is not None:
        raise ApiError(f"The file cannot be read: {skip.message}", param="file", code="unsupported_file")


def clean_filename(raw: bytes | None) -> str:
    """Return a name that is safe to store and show; it is never used as a path."""
    name = _CONTROL.sub("", (raw or b"").decode("utf-8", errors="replace")).strip()
    return name[:MAX_FILENAME] or "upload"


Uploaded = FileUploaded | ZipUploaded | DocumentUploaded


def uploaded(form: FileForm, filename: str, head: bytes, blob: BlobRef) -> Uploaded:
    """Return the event of an upload whose bytes are stored: of rows, of an archive or of a document."""
    for one, other in ((form.anchor, "seconds"), (form.seconds, "anchor")):
        if one is not None and getattr(form, other) is None:
            raise missing(f"expires_after.{other}")
    check_content(head, form.purpose)
    found = sniff(head, filename)
    if form.purpose == batches.PURPOSE:
        _check_batch_file(found, blob.bytes)
    said: dict[str, Any] = {"blob": blob, "filename": filename, "purpose": form.purpose, "expires_after": form.seconds}
    if found in ROWS:
        if form.dataset is not None:
            sentence = "The file holds rows, of which no data set is made: leave 'dataset' out, or upload documents."
            raise ApiError(sentence, param="dataset", code="invalid_value")
        return FileUploaded(**said, format=found)
    if form.dataset is not None:
        said["dataset"] = DatasetAsked(**form.dataset.model_dump(exclude_none=True))
    return ZipUploaded(**said) if found == "zip" else DocumentUploaded(**said, format=found)


def _check_batch_file(found: str, size: int) -> None:
    if found not in ("jsonl", "unknown"):
        sentence = f"A file for a batch is JSON lines, a request in each; this one looks like {found}."
        raise ApiError(sentence, param="file", code="unsupported_file")
    if size > batches.MAX_BYTES:
        raise too_large("A file for a batch", batches.MAX_BYTES)


def same_upload(data: Uploaded) -> dict[str, Any]:
    """Return what makes two uploads the same: content, purpose, name; not the key that the bytes lie under."""
    said = data.model_dump(mode="json", exclude={"blob"})
    if not said.get("dataset"):
        said.pop("dataset", None)
    return {"sha256": data.blob.sha256, **said}


def recurated(asked: Recurate, archive: View) -> DatasetRecurated:
    """Return the event that a request to re-curate an archive asks for.

    One that is itself re-curated keeps its bounds: what it has lost does not come back.
    """
    said = archive["uploaded"]
    if not asked.min_score and not asked.max_score:
        known = ", ".join(get_args(Score))
        sentence = f"Missing required parameter: 'min_score' or 'max_score', an object of scores ({known})."
        raise ApiError(sentence, param="min_score", code="missing_required_parameter")
    least = _both(said.get("min_score", {}), asked.min_score, max)
    most = _both(said.get("max_score", {}), asked.max_score, min)
    for name in least.keys() & most.keys():
        if least[name] > most[name]:
            sentence = f"No row can be left: '{name}' is to be at least {least[name]} and at most {most[name]}."
            raise ApiError(sentence, param=f"max_score.{name}", code="invalid_value")
    return DatasetRecurated(
        source=archive["source"] or archive["id"],
        blob=BlobRef.model_validate(said["blob"]),
        filename=said["filename"],
        min_score=least,
        max_score=most,
    )


def _both(
    one: Mapping[Any, float], other: Mapping[Any, float], stricter: Callable[[Iterable[float]], float]
) -> dict[Any, float]:
    names = sorted(one.keys() | other.keys())
    return {name: stricter(each[name] for each in (one, other) if name in each) for name in names}


# --- jobs


def check_wandb(mode: str | None, key: str | None) -> None:
    """Refuse a job that asks for Weights & Biases where it cannot be told."""
    param = "integrations[0].wandb.api_key"
    if mode is None:
        sentence = "Weights & Biases is not installed here. Install Temper's extra `wandb`, or leave this out."
        raise ApiError(sentence, param="integrations", code="wandb_not_installed")
    if mode == "online" and not key:
        sentence = "There is no key for Weights & Biases. Send one, or store one with `temper secrets set wandb`."
        raise ApiError(sentence, param=param, code="wandb_key_missing")


def check_training_file(id: str, param: str, tenant: str, view: View | None) -> None:
    """Refuse a file that cannot be trained on; one that is not checked yet may be."""
    if view is None or view["tenant"] != tenant:
        raise ApiError(no_file(id).message, param=param, code="file_not_found")
    if view["deleted"]:
        raise ApiError(f"The file {id} was deleted. Upload it again.", param=param, code="file_deleted")
    if view["purpose"] != "fine-tune":
        sentence = f"The file {id} has purpose '{view['purpose']}'; a job needs one with purpose 'fine-tune'."
        raise ApiError(sentence, param=param, code="invalid_file_purpose")
    if view["rejected"] is not None:
        raise ApiError(view["rejected"]["message"], param=param, code=view["rejected"]["code"])


def check_base(data: JobCreated, view: View | None, known: Sequence[str]) -> None:
    """Refuse a model that cannot be tuned, naming those that can, and rows longer than it reads."""
    name, length = data.model, data.hyperparameters.context_length
    if view is None:
        names = ", ".join(known) or "none; add one with `temper models add NAME DIR`"
        raise ApiError(
            f"The model `{name}` is not available for fine-tuning or does not exist. Available are: {names}.",
            param="model",
            code="model_not_found",
        )
    if view["kind"] == "embedding":
        sentence = f"The model `{name}` makes embeddings; only base models that write text can be tuned."
        raise ApiError(sentence, param="model", code="unsupported_model")
    if view["kind"] != "base":
        raise unsupported("Tuning a model that is itself tuned is", "model")
    if length != "auto" and length > view["context"]:
        param = "hyperparameters.context_length"
        what = f"integer above maximum value. `{name}` reads {view['context']} tokens, but got {length} instead"
        raise ApiError(f"Invalid '{param}': {what}.", param=param, code="integer_above_max_value")


def check_cancel(job: View) -> None:
    """Refuse to cancel what has ended."""
    if job["ended"]:
        raise _ended(job)


def check_delete(job: View) -> None:
    """Refuse to delete what has not ended."""
    if not job["ended"]:
        sentence = f"The job {job['id']} is {job['status']}. Cancel it or wait for its end, then delete it."
        raise ApiError(sentence, param="fine_tuning_job_id", code="job_not_ended")


def _ended(job: View) -> ApiError:
    sentence = f"The job {job['id']} has already ended: its status is {job['status']}."
    return ApiError(sentence, param="fine_tuning_job_id", code="job_already_ended")


def check_desired(job: View) -> None:
    """Refuse a pause or resume that came too late, or before anybody could keep it."""
    check_cancel(job)
    sentence = f"The job {job['id']} is {job['status']} and cannot be paused or resumed yet. Try again in a moment."
    raise ApiError(sentence, param="fine_tuning_job_id", code="job_not_running")


def wants_change(job: View, wanted: Literal["pause", "run"]) -> bool:
    """Return whether a pause or resume changes anything; raises ApiError where it makes no sense.

    What is asked twice is answered twice: the POST is safe to retry.
    """
    if job["ended"]:
        raise _ended(job)
    resting = job["status"] == "paused" or openai.pausing(job)
    if wanted == "pause":
        if not resting and job["status"] not in ("queued", "running"):
            sentence = f"The job {job['id']} is {job['status']}; only a queued or running job can be paused."
            raise ApiError(sentence, param="fine_tuning_job_id", code="job_not_running")
        return not resting
    if not resting and not any(request["topic"] == "job.resume_requested" for request in job["requests"]):
        sentence = f"The job {job['id']} is {job['status']}; only a paused job can be resumed."
        raise ApiError(sentence, param="fine_tuning_job_id", code="job_not_paused")
    return resting


def visible_events(runs: Sequence[View]) -> Filter:
    """Return the filter that hides metrics of steps which a newer run makes again.

    A step said in a run is shown when it is at most the `from_step` of every newer run. `runs` are a job's newest
    {epoch, attempt, from_step}; what a run says that is newer than these is shown.
    """
    ordered = sorted(runs, key=lambda run: (run["epoch"], run["attempt"]))
    if len(ordered) < 2:
        return {}
    newest = ordered[-1]
    shown: list[Filter] = [
        {"type": {"$ne": "metrics"}},
        {"epoch": {"$gt": newest["epoch"]}},
        {"epoch": newest["epoch"], "attempt": {"$gte": newest["attempt"]}},
    ]
    limit = newest["from_step"]
    for run in reversed(ordered[:-1]):
        shown.append({"epoch": run["epoch"], "attempt": run["attempt"], "step": {"$lte": limit}})
        limit = min(limit, run["from_step"])
    oldest = ordered[0]
    shown.append({"epoch": {"$lt": oldest["epoch"]}, "step": {"$lte": limit}})
    shown.append({"epoch": oldest["epoch"], "attempt": {"$lt": oldest["attempt"]}, "step": {"$lte": limit}})
    return {"$or": shown}
