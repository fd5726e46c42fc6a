"""Text of images through `tesseract`, a program that may be on the PATH."""

from __future__ import annotations

import os
import subprocess
from functools import cache

PROGRAM = "tesseract"
_SECONDS = 120.0
_NOT_LANGUAGES = frozenset({"osd", "equ"})


class OcrError(Exception):
    """The program did not say what it sees; the message says why."""


def recognised(width: int, height: int, grey: bytes) -> str:
    """Return the text on an image of `width` x `height` pixels of one byte, in all languages that are installed."""
    image = b"P5 %d %d 255\n" % (width, height) + grey
    return _run([PROGRAM, "stdin", "stdout", "-l", _languages()], image)


@cache
def _languages() -> str:
    listed = _run([PROGRAM, "--list-langs"], b"").splitlines()[1:]
    languages = sorted(set(map(str.strip, listed)) - _NOT_LANGUAGES - {""})
    if not languages:
        raise OcrError(f"{PROGRAM} has no language installed. Install one, such as its package for English.")
    return "+".join(languages)


def _run(command: list[str], data: bytes) -> str:
    environment = {**os.environ, "OMP_THREAD_LIMIT": "1"}
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=_SECONDS, env=environment, check=False)
    except subprocess.TimeoutExpired as error:
        raise OcrError(f"{PROGRAM} took longer than {_SECONDS:g} s.") from error
    if done.returncode:
        raise OcrError(f"{PROGRAM} ended with status {done.returncode}.")
    return done.stdout.decode(errors="replace")
