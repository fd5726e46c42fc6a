"""Whether the engine serves a family of models exactly: `python -m functions.generate_text.trial spec.json`.

The spec's `folder` has a small `model`, an `adapter` and, in `trial.safetensors`, `ids` [n] and the `logits`
[n, vocabulary] that the two gave in training. Printed is {"refused": why or null}.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from functions._shared.child import answer
from functions.generate_text.engine import Engine, Sampling

PROMPTS, ANSWER = (24, 5, 17), 6
"""Tokens of prompts that are answered together, and of each answer."""
NEAR = 1e-3
"""Of two ways to compute the same logits, relative to the largest."""


def trial(spec: dict[str, Any]) -> dict[str, str | None]:
    """Return in a sentence what keeps the engine from serving a small model exactly, or None."""
    folder = Path(spec["folder"])
    told = load_file(folder / "trial.safetensors")
    engine = Engine("cpu", threads=1)
    try:
        engine.load_base("base", folder / "model")
        engine.load_adapter("adapter", "base", folder / "adapter")
        return {"refused": asyncio.run(_differs(engine, told["ids"].tolist(), told["logits"]))}
    except Exception as error:  # noqa: BLE001  whatever a model's code raises is why it is not served
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        return {"refused": f"The serving process cannot run its family: {first[:160].rstrip('.: ')}."}
    finally:
        engine.close()


async def _differs(engine: Engine, ids: list[int], logits: Tensor) -> str | None:
    served = await asyncio.to_thread(engine.logits, "base", "adapter", ids)
    if not _near(served, logits):
        return "The serving process does not compute for its family what training does."
    sampling = Sampling(max_tokens=ANSWER, temperature=0.0)
    rows = [(ids[:length], adapter) for adapter in ("adapter", None) for length in PROMPTS]
    answers = [engine.submit("base", adapter, prompt, sampling) for prompt, adapter in rows]
    for (prompt, adapter), generation in zip(rows, answers, strict=True):
        tokens = [token.id for token in await generation.all()]
        whole = await asyncio.to_thread(engine.logits, "base", adapter, [*prompt, *tokens[:-1]])
        steps = whole[len(prompt) - 1 :]
        best, chosen = steps.max(-1).values, steps.gather(-1, steps.new_tensor(tokens).long()[:, None])[:, 0]
        if not _near(chosen, best):
            return "The serving process does not answer token by token for its family as it does at once."
    return None


def _near(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= NEAR * other.abs().max().clamp(min=1e-6))


if __name__ == "__main__":
    sys.exit(answer(trial))
