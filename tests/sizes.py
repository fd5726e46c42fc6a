"""How much of what is real a test takes: a part of it, or all of it with `TEMPER_TEST_SIZE=full` (`make long`)."""

import os

FULL = os.environ.get("TEMPER_TEST_SIZE") == "full"


def sized(part: int, whole: int) -> int:
    """Return `part`, the least that can still fail, or `whole`."""
    return whole if FULL else part
