"""What is stored for whom: the kind of each blob by its key, and sums of them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

Kind = Literal[
    "files", "documents", "data sets", "job inputs", "checkpoints", "models", "benchmarks", "completions", "ingest",
    "other",
]  # fmt: skip
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_OF_SUBJECT: Mapping[str, Kind] = {
    "file-": "files",
    "upload_": "files",
    "batch_": "files",
    "ftjob-": "job inputs",
    "bench-": "benchmarks",
    "eval_": "benchmarks",
    "evalrun_": "benchmarks",
    "resp_": "completions",
    "chatcmpl-": "completions",
}
_OF_FILE: Mapping[str, Kind] = {"documents": "documents", "members.json": "documents", "plan.json": "data sets"}


@dataclass
class StoredBytes:
    """How much there is of one kind."""

    bytes: int = 0
    objects: int = 0

    def add(self, bytes: int) -> None:
        """Count one object."""
        self.bytes += bytes
        self.objects += 1


def kind_of(tenant: str, key: str, models: Collection[str]) -> Kind:
    """Return what a tenant's blob is; `models` are the folders of those checkpoints that can be called."""
    subject, _, rest = key.removeprefix(f"{tenant}/").partition("/")
    if subject == "ingest":
        return "ingest"
    first = rest.partition("/")[0]
    if subject.startswith("ftjob-") and first == "ckpt":
        return "models" if key.rpartition("/")[0] in models else "checkpoints"
    if subject.startswith("file-"):
        return "data sets" if first.startswith("dataset") else _OF_FILE.get(first, "files")
    return next((kind for begin, kind in _OF_SUBJECT.items() if subject.startswith(begin)), "other")
