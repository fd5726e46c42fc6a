"""Tokens per second of answers that are held to a schema ÷ those of free answers, of the same engine and lengths.

At 1 and at 8 rows, at temperature 1; answers have the same number of tokens, for nothing else ends them. Pairs are
measured in turns, and the ratio is the median of the pairs' ratios. HTTP would cost both the same, and is left out.

`python -m tests.benchmarks.schema_throughput [--base DIR] [--threads N] [--tokens N]`
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from functions._shared.chat_template import ChatTemplate
from functions._shared.model_files import stop_ids
from functions.generate_text.answer_rules import json_rule, whole
from functions.generate_text.engine import Engine, Sampling
from functions.generate_text.grammars import Constraint
from functions.generate_text.models import ServedModel

DEMO = Path(__file__).parents[2] / "infra" / "demo" / "base"
ROWS = (1, 8)
PAIRS = 15
GATE = 0.9
PART = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "colour": {"type": "string", "enum": ["red", "blue", "green"]},
        "grams": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 40}},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    "required": ["name", "colour", "grams", "tags", "note"],
    "additionalProperties": False,
}
SCHEMA: dict[str, Any] = {"type": "array", "items": PART, "minItems": 200}
"""Longer than any answer here."""


class Subject:
    """A base in the engine, and the grammar of its answers."""

    def __init__(self, folder: Path, threads: int, tokens: int) -> None:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        chat = ChatTemplate(tokenizer, stop_ids(folder, tokenizer))
        model = ServedModel("0" * 64, "base", None, tokenizer, 1024, chat)
        self.engine, self.tokens = Engine("cpu", threads=threads), tokens
        self.engine.load_base("base", folder)
        self.prompt = model.render(
            [{"role": "user", "content": "Which parts has the kettle? Answer in JSON."}], None
        ).ids
        vocabulary = model.vocabulary(self.engine.vocabulary("base"))
        rule = f"answer: {json_rule(SCHEMA, lines=True)}"
        self.held = vocabulary.constraint(whole(rule, vocabulary.literal, None, False, "", spaced=vocabulary.spaced))

    async def rate(self, rows: int, held: Callable[[], Constraint] | None, seed: int) -> float:
        """Tokens per second of `rows` answers at once."""
        start = time.perf_counter()
        running = [
            self.engine.submit(
                "base",
                None,
                self.prompt,
                Sampling(max_tokens=self.tokens, seed=f"{seed}:{row}", constraint=held() if held else None),
                stream=False,
            )
            for row in range(rows)
        ]
        made = sum([len(await each.all()) for each in running])
        assert made == rows * self.tokens
        return made / (time.perf_counter() - start)


async def measure(subject: Subject) -> dict[str, dict[str, float]]:
    """Return tokens per second with and without, and their ratio, by the number of rows."""
    found: dict[str, dict[str, float]] = {}
    for rows in ROWS:
        await subject.rate(rows, None, 0)
        await subject.rate(rows, subject.held, 0)
        pairs = [
            (await subject.rate(rows, subject.held, seed), await subject.rate(rows, None, seed))
            for seed in range(1, PAIRS + 1)
        ]
        with_schema, free = (statistics.median(each) for each in zip(*pairs, strict=True))
        ratio = statistics.median(one / other for one, other in pairs)
        found[str(rows)] = {"with a schema": round(with_schema, 1), "free": round(free, 1), "ratio": round(ratio, 3)}
    return found


def main() -> int:
    """Print what was measured; 1 where a ratio is below the gate."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=Path, default=DEMO)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=96)
    asked = parser.parse_args()
    subject = Subject(asked.base, asked.threads, asked.tokens)
    found = asyncio.run(measure(subject))
    subject.engine.close()
    what = "tokens/s with a schema ÷ without"
    print(json.dumps({"what": what, "base": asked.base.name, "gate": GATE, "rows": found}, indent=1))
    return any(each["ratio"] < GATE for each in found.values())


if __name__ == "__main__":
    sys.exit(main())
