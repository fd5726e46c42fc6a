"""The judge's endpoint, asked for a process that knows what to ask: every reply is recorded before it is used."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contracts.ports import Child, ChildResult, Generate, RefusedError, Running
from contracts.replies import Patience, Replies, UnansweredError

JUDGE = "functions.benchmark_model.judge"
IN_FLIGHT = 16

Scored = Callable[[Mapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Judge:
    """An endpoint that scores answers."""

    generate: Generate
    patience: Patience = field(default_factory=lambda: Patience(attempts=4, outages=3, in_flight=IN_FLIGHT))


def requests(model: str, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the chat requests of what the judge is asked, best first, each asking less of the endpoint.

    The last one carries a model and messages alone, which every endpoint takes. A second try is another request.
    """
    plain: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": asked["prompt"]}]}
    settled = {**plain, **({"temperature": 0.5, "seed": 1} if asked["again"] else {"temperature": 0, "seed": 0})}
    if asked["schema"] is None:
        return [settled, plain]
    schema = {"type": "json_schema", "json_schema": {"name": asked["name"], "schema": asked["schema"]}}
    return [
        {**settled, "response_format": schema},
        {**settled, "response_format": {"type": "json_object"}},
        settled,
        plain,
    ]


async def judged(child: Child, items: Path, replies: Replies, model: str, in_flight: int, scored: Scored) -> None:
    """Have every line of `items` judged, telling `scored` of each as it comes.

    Raises AwayError when the endpoint answers nobody, and ChildFailedError when the judging process ends badly.
    """
    spec = items.with_name("judge.json")
    spec.write_text(json.dumps({"items": str(items), "in_flight": in_flight}), encoding="utf-8")
    running = child.start(JUDGE, spec)
    broken: list[Exception] = []
    stopping: list[asyncio.Task[int]] = []

    replying: set[asyncio.Task[None]] = set()

    def replied(task: asyncio.Task[None]) -> None:
        replying.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):  # nobody waits for a reply that will not come
            broken.append(error)
            stopping.append(asyncio.create_task(running.stop()))

    try:
        async for line in running.lines():
            if "ask" in line:
                task = asyncio.create_task(_reply(running, replies, model, line["ask"]))
                replying.add(task)
                task.add_done_callback(replied)
            else:
                await scored(line["scored"])
    finally:
        for task in list(replying):
            task.cancel()
        await asyncio.gather(*replying, *stopping, return_exceptions=True)
        code = await running.stop()
    if broken:
        raise broken[0]
    if code:
        raise ChildResult(code, b"", running.stderr()).failed(JUDGE)


async def _reply(running: Running, replies: Replies, model: str, asked: Mapping[str, Any]) -> None:
    try:
        told = {"text": (await replies.ask(requests(model, asked))).text}
    except UnansweredError:
        told = {"error": "the judge gave no answer"}
    except RefusedError as error:
        told = {"error": f"the judge refuses with {error.status}"}
    await running.say(json.dumps({"id": asked["id"], **told}))
