"""The composition root: ports are made real and handed to functions, a module per role.

`python -m infra.roles.app edge|worker|trainer|serving` runs one role; settings come from the environment.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Sequence

from infra.runtime.bootstrap import bootstrap
from infra.runtime.listening import PortTakenError
from infra.runtime.world import MissingSettingError
from infra.settings import Settings

ROLES = {
    "edge": "infra.roles.edge:run_edge",
    "worker": "infra.roles.worker:run_worker",
    "trainer": "infra.roles.trainer:run_trainer",
    "serving": "infra.roles.serving:run_serving",
}
"""Role → what runs it; imported only when it is run, because serving loads torch and the others do not."""


def main(arguments: Sequence[str]) -> int:
    """Run one role until it is told to stop."""
    if len(arguments) != 1 or arguments[0] not in ROLES:
        print(f"usage: python -m infra.roles.app {'|'.join(ROLES)}", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for chatty in ("httpx", "aiokafka"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    os.umask(0o077)  # what tenants brought lies in caches and scratch folders
    module, _, name = ROLES[arguments[0]].partition(":")
    gc.disable()  # what is imported stays; looking for cycles in it takes a fifth of a start, and later of each search
    run: Callable[[Settings], Awaitable[None]] = getattr(importlib.import_module(module), name)
    gc.freeze()
    gc.enable()
    try:
        asyncio.run(_start(run))
    except (MissingSettingError, PortTakenError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


async def _start(run: Callable[[Settings], Awaitable[None]]) -> None:
    await run(Settings())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

__all__ = ["ROLES", "bootstrap", "main"]
