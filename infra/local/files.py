"""Small files that several processes read: replaced whole, private, locked where only one may write."""

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.local.errors import UserError


def keep_private(home: Path) -> None:
    """Make a home that only its owner can read, whatever it was before, and so all that this process starts makes."""
    os.umask(0o077)
    home.mkdir(parents=True, exist_ok=True)
    try:
        for path in (home, *home.iterdir()):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & 0o700)
    except PermissionError as error:
        raise UserError(
            f"{home} holds what another user owns. Give it to this one (chown), or set TEMPER_HOME."
        ) from error


def write_private(path: Path, text: str) -> None:
    """Replace a file atomically; only its owner can read it (0600)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp makes 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Replace a JSON file atomically (0600)."""
    write_private(path, json.dumps(value, indent=2) + "\n")


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold an exclusive lock on a file, which the system frees when the process dies; yields whether it was got.

    With `wait` it blocks until the lock is free; without, it yields False at once when another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
