"""P5: `GET /readyz` tells the truth: a part that stands still is named within 10 s, and no longer when it goes on."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

WITHIN = 10.0
PARTS = ("kafka", "mongo", "minio", "serving", "worker", "trainer")


def readyz(stack: Stack) -> tuple[int, dict[str, Any]]:
    """Return the status and the checks."""
    url = stack.base_url.removesuffix("/v1") + "/readyz"
    try:
        with urlopen(url, timeout=WITHIN) as answer:
            return answer.status, json.load(answer)["checks"]
    except HTTPError as error:
        return error.code, json.load(error)["checks"]


def wait_ready(stack: Stack, within: float = 60.0) -> None:
    """Return when everything is well."""
    until = time.monotonic() + within
    while (told := readyz(stack))[0] != 200:
        assert time.monotonic() < until, told
        time.sleep(0.1)


@contextmanager
def standing_still(stack: Stack, name: str) -> Iterator[None]:
    """Stop a process of the stack without ending it, and let it go on afterwards."""
    stack.kill(name, signal.SIGSTOP)
    try:
        yield
    finally:
        stack.kill(name, signal.SIGCONT)


@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_stands_still_is_named_within_ten_seconds(stack: Stack, name: str) -> None:
    wait_ready(stack)
    with standing_still(stack, name):
        begun = time.monotonic()
        while True:
            status, checks = readyz(stack)
            took = time.monotonic() - begun
            if not checks[name]["ok"]:
                break
            assert took < WITHIN, checks
            time.sleep(0.1)
        assert status == 503
        assert took < WITHIN, f"{name} was named after {took:.1f} s"
        assert checks[name]["message"]
    wait_ready(stack)
    assert set(readyz(stack)[1]) == set(PARTS)
