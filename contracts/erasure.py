"""Where a file's content lies beside the file: the jobs that read it, the benchmarks that ask its rows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

View = Mapping[str, Any]
_ROLES = ("file", "generalization", "forgetting")
"""Under which a benchmark's request names files of rows."""


def of_jobs(file: str) -> Mapping[str, Any]:
    """Return the filter of the jobs that read a file."""
    return {"$or": [{"created.training_file": file}, {"created.validation_file": file}]}


def of_benchmarks(file: str, jobs: Iterable[View]) -> Mapping[str, Any]:
    """Return the filter of the benchmarks that ask rows of a file; `jobs` are those that read it."""
    validated = [job["id"] for job in jobs if job["created"]["validation_file"] == file]
    named = ({f"requested.{role}": file} for role in _ROLES)
    return {"$or": [*named, {"job": {"$in": validated}}]}


def checkpoints_prefix(tenant: str, job: str) -> str:
    """Return the prefix of the blobs of all checkpoints of a job."""
    return f"{tenant}/{job}/ckpt/"


def read_by(job: View) -> list[str]:
    """Return the files that a job reads."""
    return [name for name in (job["created"]["training_file"], job["created"]["validation_file"]) if name]


def asked_by(benchmark: View, job: View) -> list[str]:
    """Return the files whose rows a benchmark of a job's model asks."""
    named = (benchmark["requested"][role] for role in _ROLES)
    return [name for name in (*named, job["created"]["validation_file"]) if name]
