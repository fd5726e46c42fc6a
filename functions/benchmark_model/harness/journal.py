"""What a model said to each batch of requests, a line of JSON each: what was answered is never asked again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self


def key(requests: Sequence[Any]) -> str:
    """Return the hash of a batch of requests: their texts and tokens."""
    return hashlib.sha256(json.dumps(requests, ensure_ascii=False, default=str).encode()).hexdigest()


class Journal:
    """A file of batches and their answers; made for one pinned configuration, and begun anew for another."""

    def __init__(self, path: Path, pinned: str) -> None:
        self._answers: dict[str, list[Any]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        end = self._read(path, pinned)
        self._file = path.open("r+b" if end else "wb")
        if end:
            self._file.truncate(end)  # a line that was being written when the process ended
            self._file.seek(end)
        else:
            self._append({"pinned": pinned})

    def _read(self, path: Path, pinned: str) -> int:
        """Take over whole lines of the same configuration; returns where they end."""
        if not path.exists():
            return 0
        end = 0
        with path.open("rb") as lines:
            for number, line in enumerate(lines):
                if not line.endswith(b"\n"):
                    break
                entry = json.loads(line)
                if number == 0:
                    if entry != {"pinned": pinned}:
                        return 0
                else:
                    self._answers[entry["batch"]] = entry["answers"]
                end += len(line)
        return end

    def get(self, batch: str) -> list[Any] | None:
        """Return what was answered to a batch, or None."""
        return self._answers.get(batch)

    def add(self, batch: str, answers: list[Any]) -> None:
        """Keep the answers to a batch; they are on disk when this returns."""
        self._append({"batch": batch, "answers": answers})
        self._answers[batch] = answers

    def _append(self, entry: Any) -> None:
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self._file.close()
