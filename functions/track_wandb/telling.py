"""Weights & Biases' client in a process of its own, which is handed the key and nothing else of ours."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from contracts.ports import Child, RefusedError, UnavailableError
from contracts.tracking import Tracked

log = logging.getLogger("temper.wandb")
WANDB_RUN = "functions.track_wandb.wandb_run"


async def tell(child: Child, folder: Path, spec: Mapping[str, Any], lines: Sequence[str], key: str) -> Tracked:
    """Write a run of these lines of steps; `folder` is used meanwhile.

    Raises UnavailableError when it is worth to try again, RefusedError when it is not.
    """
    steps, path = folder / "steps.jsonl", folder / "spec.json"
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    try:
        steps.write_text("".join(lines), encoding="utf-8")
        path.write_text(json.dumps({**spec, "steps": str(steps)}), encoding="utf-8")
        running = child.start(WANDB_RUN, path)
        try:
            await running.say(key)
            said = [line async for line in running.lines()]
        finally:
            code = await running.stop()
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    if not said:
        words = running.stderr()[-2000:]
        log.warning("the client of Weights & Biases said: %s", words.replace(key, "…") if key else words)
        raise UnavailableError("wandb", f"its client ended with status {code} and without a word")
    if "error" in said[-1]:
        sentence = f"Weights & Biases was not told: {said[-1]['error']}"
        raise UnavailableError("wandb", sentence) if said[-1]["again"] else RefusedError(400, sentence)
    return Tracked(said[-1]["run_id"], said[-1]["url"])
