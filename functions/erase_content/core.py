"""Decides what holds the content of a deleted file beside the file itself, and what ended jobs leave. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from contracts.documents.facts import View
from contracts.envelope import Event, derived_id, make
from contracts.events.benchmarks import FILE_DELETED, JOB_DELETED, BenchmarkFailed
from contracts.events.completions import CompletionDeleted
from contracts.events.files import FileDeleted
from contracts.events.uploads import UploadCancelled
from contracts.topics import ENDINGS

TOPICS = ("completion.deleted", "file.deleted", "job.deleted", "model.deleted", *sorted(ENDINGS))
MOST_COMPLETIONS = 100_000
"""That one tenant keeps; beyond, the oldest go."""
MOST_COMPLETION_BYTES = 8 * 2**30
"""Of all that one tenant keeps."""
ORPHAN_MS = 24 * 3600 * 1000
"""Age of the newest blob of a subject that nobody knows, before all of them go."""
KINDS = {
    "file-": "files",
    "ftjob-": "jobs",
    "bench-": "benchmarks",
    "upload_": "uploads",
    "batch_": "batches",
    "eval_": "evals",
    "evalrun_": "eval_runs",
    "resp_": "completions",
    "chatcmpl-": "completions",
}
"""How the name of a subject begins that is in the log before long → the read model that shows it."""


def prefixes(tenant: str, file: str, jobs: Sequence[View], benchmarks: Sequence[View]) -> list[str]:
    """Return the prefixes of all blobs that say what the file says; weights and metrics are not among them.

    Of a job's blobs these are its token ids and the rendered row of its proof; nobody asks for them once it has ended.
    """
    of_job = (f"{tenant}/{job['id']}/{part}" for job in jobs if job["ended"] for part in ("tokens/", "probe.json"))
    return [f"{tenant}/{file}/", *of_job, *(f"{tenant}/{each['id']}/" for each in benchmarks)]


def read_model(subject: str) -> str | None:
    """Return the read model that shows a subject, None for what is none of the log's: it is nobody's orphan."""
    return next((model for begin, model in KINDS.items() if subject.startswith(begin)), None)


def is_old(newest: int, now: int) -> bool:
    """Return whether blobs whose newest is of `newest` (ms) have been there too long for an upload in flight."""
    return now - newest > ORPHAN_MS


def expired(file: View) -> Event:
    """Return the end of a file whose time has come."""
    id = derived_id(file["id"], "file.deleted", "expired")
    return make(FileDeleted(reason="expired"), subject=file["id"], tenant=file["tenant"], id=id)


def out_of_time(upload: View) -> Event:
    """Return the end of an upload that was not completed in its time."""
    id = derived_id(upload["id"], "end")
    return make(UploadCancelled(reason="expired"), subject=upload["id"], tenant=upload["tenant"], id=id)


def ended_completion(view: View, reason: Literal["expired", "crowded"]) -> Event:
    """Return the end of a completion whose time has come, or whose tenant keeps too many."""
    id = derived_id(view["id"], "completion.deleted", reason)
    return make(CompletionDeleted(reason=reason), subject=view["id"], tenant=view["tenant"], id=id)


def ended(benchmark: View, file: str | None, cause: str) -> Event:
    """Return the ending of a benchmark whose questions are gone with a file, or its model with a job."""
    data = BenchmarkFailed(code=JOB_DELETED, message=f"The job {benchmark['job']}, whose model it asks, was deleted.")
    if file is not None:
        data = BenchmarkFailed(code=FILE_DELETED, message=f"The file {file}, whose rows it asks, was deleted.")
    id = derived_id(benchmark["id"], "end")
    return make(data, subject=benchmark["id"], tenant=benchmark["tenant"], id=id, cause=cause)
