"""A child for tests: `python -m tests.unit.adapters.speaker FILE` does what the file's text says."""

import gc
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def say(value: Any) -> None:
    """Print one JSON line."""
    print(json.dumps(value), flush=True)


def environment() -> None:
    """Say what a child is given."""
    say(
        {
            "environment": sorted(os.environ),
            "home": os.environ["HOME"],
            "cwd": str(Path.cwd()),
            "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
            "group": os.getpgrp() == os.getpid(),
            "collects": gc.isenabled(),
        }
    )


def echo() -> None:
    """Say what is said, until nothing is."""
    say({"type": "started"})
    for line in sys.stdin:
        say({"heard": line.strip()})
    say({"type": "finished"})


def family() -> None:
    """Start a grandchild and wait with it."""
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    say({"pid": os.getpid(), "grandchild": grandchild.pid})
    time.sleep(600)


def main(argument: Path) -> None:
    """Do what the file says."""
    order, _, detail = argument.read_text().partition(" ")
    match order:
        case "environment":
            environment()
        case "echo":
            echo()
        case "family":
            family()
        case "print":
            sys.stdout.write(detail)
        case "long":
            sys.stdout.write("x" * int(detail) + "\n")
        case "memory":
            say(len(bytearray(int(detail))))
        case "crash":
            sys.stderr.write("x" * 20_000 + detail)
            sys.exit(3)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
