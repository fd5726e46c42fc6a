"""What both clients use: names of values, paths, what is sent, the bar of a download."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypedDict
from urllib.parse import quote

from openai import APIConnectionError, OpenAIError

ENDED = ("succeeded", "failed", "cancelled")
Split = Literal["train", "held_out"]
Score = Literal["support", "closed_book"]
Task = Literal["documents", "trained", "closed_book", "needle"]
Metric = Literal["judge", "exact_match", "f1", "rouge_l"]
_WIDTH = 30


class Grid(TypedDict, total=False):
    """The needle in a haystack: every combination of these, `per_cell` questions each."""

    lengths: Sequence[int]
    chunks: Sequence[int]
    positions: Sequence[float]
    distractors: Sequence[Literal["random", "hard"]]
    per_cell: int


def given(values: Mapping[str, object] | None) -> dict[str, object]:
    """Return what is sent: all that is not None."""
    return {name: value for name, value in (values or {}).items() if value is not None}


def part(value: str) -> str:
    """Return a part of a path, whatever is in it; raises ValueError for an empty one, which would be another path."""
    if not value:
        raise ValueError("An id is expected, but it is empty.")
    quoted = quote(value, safe=":")
    return quoted.replace(".", "%2E") if value in (".", "..") else quoted


def late(began: float, timeout: float | None, is_so: str) -> None:
    """Raise TimeoutError when more than `timeout` seconds have passed."""
    if timeout is not None and time.monotonic() - began > timeout:
        raise TimeoutError(f"{is_so} after {timeout:g} s.")


def inside(folder: str | Path, name: str) -> Path:
    """Return the path of a file in a folder, which is made; raises OpenAIError for a name that leads out of it."""
    home = Path(folder).resolve()
    path = (home / name).resolve()
    if home not in path.parents:
        raise OpenAIError(f"The server names a file {name!r}, which would not be in {home}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def broken(name: str, request: Any) -> Iterator[None]:
    """Raise what breaks a stream off as OpenAI's own exception; what the disk says stays as it is."""
    try:
        yield
    except (OSError, OpenAIError):
        raise
    except Exception as error:
        raise APIConnectionError(message=f"{name} broke off: {error}", request=request) from error


class Bar:
    """A bar of bytes on standard error, where that is a terminal."""

    def __init__(self, total: int, shown: bool) -> None:
        self._total, self._done, self._name = total, 0, ""
        self._shown = shown and sys.stderr.isatty()

    def begin(self, name: str) -> None:
        """Go on with another file."""
        self._name = name

    def has(self, path: Path, sha256: str) -> bool:
        """Return whether the file is there and whole, and count it then."""
        if not path.is_file():
            return False
        with path.open("rb") as file:
            whole = hashlib.file_digest(file, "sha256").hexdigest() == sha256
        if whole:
            self.add(path.stat().st_size)
        return whole

    def add(self, count: int) -> None:
        """Count bytes, and show them."""
        self._done += count
        if self._shown:
            share = self._done / max(self._total, 1)
            full = "█" * int(share * _WIDTH)
            size = f"{self._done / 1e6:.1f} of {self._total / 1e6:.1f} MB"
            sys.stderr.write(f"\r\x1b[K{full:░<{_WIDTH}} {share:4.0%} {size} {self._name[:40]}")
            sys.stderr.flush()

    def end(self) -> None:
        """End the line."""
        if self._shown:
            sys.stderr.write("\n")
