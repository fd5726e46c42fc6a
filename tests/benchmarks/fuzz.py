"""Hold an edge in this process against its own description: `python -m tests.benchmarks.fuzz [EACH] [SEED]`.

EACH requests that the description allows and as many that it does not go to every operation; 200 make some 20,000.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from pathlib import Path

from functions.edge.routes import legacy
from tests.functional.test_openapi import fuzzed


def main() -> int:
    """Print the figures and whatever was wrong; returns the exit status."""
    given = [int(text) for text in sys.argv[1:]]
    each, start = given + [200, 0][len(given) :]
    legacy.PATIENCE, legacy.INTERVAL = 0.01, 0.002
    logging.disable()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        found = fuzzed(each, Path(scratch), start)
    print(f"{sum(found.statuses.values())} requests in {time.monotonic() - begun:.0f} s: {dict(found.statuses)}")
    for fault in found.wrong.values():
        print(f"\n{fault}")
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
