"""Make the tasks that ship: `python -m functions.benchmark_model.tasks.make FOLDER`.

Nothing in them comes from anybody's data: `reading` goes on with a passage of invented facts, `arithmetic` asks sums
in the form of MMLU, where the answer is a letter.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

ITEMS = 64
EXAMPLES = 5
_SYLLABLES = ("bra", "kel", "dor", "mi", "sta", "vun", "lor", "pe", "tri", "gal", "no", "rek", "fi", "sul", "ha", "wen")
_THINGS = ("pump", "valve", "sensor", "cabinet", "tank", "filter", "rotor", "panel", "sluice", "boiler")
_FACTS = (("pressure", "bar"), ("weight", "kg"), ("service interval", "weeks"), ("height", "mm"), ("range", "km"))


def reading(random: Random) -> dict[str, Any]:
    """A passage of four facts, the beginning of one of them, the four values to go on with."""
    names: list[str] = []
    while len(names) < 4:
        name = "".join(random.sample(_SYLLABLES, 2)).capitalize()
        if name not in names:
            names.append(name)
    fact, unit = random.choice(_FACTS)
    values = random.sample(range(11, 99), 4)
    thing = random.choice(_THINGS)
    pairs = zip(names, values, strict=True)
    passage = " ".join(f"The {fact} of the {name} {thing} is {value} {unit}." for name, value in pairs)
    right = random.randrange(4)
    choices = [f"{value} {unit}" for value in random.sample(values, 4)]
    question = f"The {fact} of the {names[right]} {thing} is"
    return {
        "passage": passage,
        "question": question,
        "choices": choices,
        "answer": choices.index(f"{values[right]} {unit}"),
    }


def arithmetic(random: Random) -> dict[str, Any]:
    """A sum, a difference or a product of small numbers, the right result among four near ones."""
    sign = random.choice("+-×")
    a, b = random.randint(2, 20), random.randint(2, 12)
    a, b = max(a, b), min(a, b)
    result = {"+": a + b, "-": a - b, "×": a * b}[sign]
    below = random.randrange(min(result, 3) + 1)  # so that no letter is right more often than others
    choices = sorted({result - step for step in range(below + 1)} | {result + step for step in range(4 - below)})
    return {
        "question": f"What is {a} {sign} {b}?",
        "choices": [str(choice) for choice in choices],
        "answer": choices.index(result),
    }


def files() -> Iterator[tuple[str, str]]:
    """Yield each data file's name and content."""
    for name, make in (("reading", reading), ("arithmetic", arithmetic)):
        random = Random(f"temper {name} 1")
        rows: dict[str, dict[str, Any]] = {}
        while len(rows) < ITEMS + EXAMPLES:
            row = make(random)
            rows.setdefault(json.dumps([row.get("passage"), row["question"]]), row)
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows.values()]
        yield f"{name}/dev.jsonl", "".join(lines[:EXAMPLES])
        yield f"{name}/test.jsonl", "".join(lines[EXAMPLES:])


def main() -> None:
    """Write the data files below a folder."""
    for name, content in files():
        path = Path(sys.argv[1]) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")


if __name__ == "__main__":
    main()
