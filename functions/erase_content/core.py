"""Decides what holds the content of a deleted file beside the file itself, and what ended jobs leave. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.documents.facts import View
from contracts.envelope import Event, derived_id, make
from contracts.events.benchmarks import FILE_DELETED, BenchmarkFailed
from contracts.topics import ENDINGS

TOPICS = ("file.deleted", "model.deleted", *sorted(ENDINGS))


def prefixes(tenant: str, file: str, jobs: Sequence[View], benchmarks: Sequence[View]) -> list[str]:
    """Return the prefixes of all blobs that say what the file says; weights and metrics are not among them.

    Of a job's blobs these are its token ids and the rendered row of its proof; nobody asks for them once it has ended.
    """
    of_job = (f"{tenant}/{job['id']}/{part}" for job in jobs if job["ended"] for part in ("tokens/", "probe.json"))
    return [f"{tenant}/{file}/", *of_job, *(f"{tenant}/{each['id']}/" for each in benchmarks)]


def ended(benchmark: View, file: str, cause: str) -> Event:
    """Return the ending of a benchmark whose questions are gone."""
    data = BenchmarkFailed(code=FILE_DELETED, message=f"The file {file}, whose rows it asks, was deleted.")
    id = derived_id(benchmark["id"], "end")
    return make(data, subject=benchmark["id"], tenant=benchmark["tenant"], id=id, cause=cause)
