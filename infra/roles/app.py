"""Runs one role until it is told to stop: `python -m infra.roles.app edge|worker|trainer|serving`.

Settings come from the environment; `--functions` runs some of the role's functions only.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Sequence

from pydantic import ValidationError

from contracts.function import Role
from infra.runtime.functions import UnknownFunctionError, of_role
from infra.runtime.listening import PortTakenError
from infra.runtime.world import MissingSettingError
from infra.settings import Settings, wrong_setting

ROLES = ("edge", "worker", "trainer", "serving")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one role until it is told to stop; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.roles.app", description=__doc__)
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("--functions", type=lambda text: tuple(filter(None, text.split(","))), default=())
    asked = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for chatty in ("httpx", "aiokafka"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    os.umask(0o077)  # what tenants brought lies in caches and scratch folders
    gc.disable()  # what is imported stays; looking for cycles in it takes a fifth of a start, and later of each search
    # only the role that is run: serving loads torch and the others do not
    run: Callable[..., Awaitable[None]] = importlib.import_module(f"infra.roles.{asked.role}").run
    gc.freeze()
    gc.enable()
    try:
        asyncio.run(_start(run, asked.role, asked.functions))
    except (MissingSettingError, PortTakenError, UnknownFunctionError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except ValidationError as error:
        if (wrong := wrong_setting(error)) is None:
            raise
        print(f"error: {wrong}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


async def _start(run: Callable[..., Awaitable[None]], role: Role, only: Sequence[str]) -> None:
    if only:
        of_role(role, only)  # says what is wrong with them
    await run(Settings(), only)


if __name__ == "__main__":
    sys.exit(main())
