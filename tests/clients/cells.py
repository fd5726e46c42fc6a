"""How a client's script says what works: each use is a cell, and becomes one JSON line. Standard library only."""

import asyncio
import inspect
import json
import os
import re
import sys
import traceback

MODEL = os.environ["CLIENTS_MODEL"]
"""A chat model that was tuned on `rows.py`: it calls functions and writes JSON by itself, for those few questions."""
EMBEDDER = os.environ["CLIENTS_EMBEDDER"]
BASE_URL, KEY = os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_API_KEY"]
WEATHER = "What is the weather in Oslo?"
PERSON = "Ann is 30 years old."

_cells = []


def cell(what):
    """Make a function a cell: `what` its user wanted. It raises where they do not get it."""

    def add(use):
        _cells.append((what, use))
        return use

    return add


def main():
    """Try every cell, and tell each as soon as it is known; the whole error is on stderr."""
    wanted = re.compile(sys.argv[1] if len(sys.argv) > 1 else "")
    for what, use in _cells:
        if not wanted.search(what):
            continue
        why = None
        try:
            asyncio.run(use()) if inspect.iscoroutinefunction(use) else use()
        except BaseException as error:  # noqa: BLE001  a client may raise anything; the other cells are tried
            print(f"--- {what}", file=sys.stderr)
            traceback.print_exc()
            why = f"{type(error).__name__}: {error}"
        print(json.dumps({"what": what, "why": why}), flush=True)
