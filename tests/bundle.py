"""A small bundle of invented questions in the columns of MMLU, HellaSwag, ARC-Challenge and GPQA."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
from pyarrow import parquet

ADJECTIVES = [
    "brass",
    "cedar",
    "copper",
    "glass",
    "iron",
    "linen",
    "marble",
    "paper",
    "pewter",
    "slate",
    "velvet",
    "wicker",
]
NOUNS = [
    "anvil",
    "barrel",
    "compass",
    "drum",
    "easel",
    "flask",
    "goblet",
    "hinge",
    "kettle",
    "lantern",
    "mallet",
    "spindle",
]
PLACES = ["attic", "barn", "cellar", "depot", "foyer", "garage", "hall", "kiln", "loft", "mill", "orchard", "pantry"]


def build(folder: Path, rows: int = 16) -> Path:
    """Write the bundle; every file has `rows` rows."""
    random = Random(7)
    subjects = {"abstract_algebra": "jsonl", "care_of_kettles": "parquet"}  # one known to lm-eval, one not
    for subject, format in subjects.items():
        write(folder / "mmlu" / subject / f"test.{format}", [_mmlu(random) for _ in range(rows)])
        write(folder / "mmlu" / subject / f"dev.{format}", [_mmlu(random) for _ in range(5)])
    write(folder / "hellaswag" / "validation.jsonl", [_hellaswag(random) for _ in range(rows)])
    write(folder / "arc_challenge" / "test-00000-of-00001.parquet", [_arc(random) for _ in range(rows)])
    write(folder / "gpqa" / "train.jsonl", [_gpqa(random) for _ in range(rows)])
    return folder


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows as JSON lines or Parquet, as the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(list(rows)), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def _thing(random: Random) -> str:
    return f"{random.choice(ADJECTIVES)} {random.choice(NOUNS)}"


def _four(random: Random, make: Callable[[Random], str]) -> list[str]:
    found: list[str] = []
    while len(found) < 4:
        one = make(random)
        if one not in found:
            found.append(one)
    return found


def _mmlu(random: Random) -> dict[str, Any]:
    return {
        "question": f"Where does the {_thing(random)} of {random.randint(1, 999)} stand?",
        "choices": random.sample(PLACES, 4),
        "answer": random.randrange(4),
    }


def _hellaswag(random: Random) -> dict[str, Any]:
    return {
        "activity_label": f"Mending a {random.choice(NOUNS)}",
        "ctx_a": f"Someone takes the {_thing(random)} to the {random.choice(PLACES)}.",
        "ctx_b": "they",
        "endings": _four(random, lambda r: f"put {r.randint(2, 90)} of them beside the {_thing(r)} [step] and leave."),
        "label": str(random.randrange(4)),
    }


def _arc(random: Random) -> dict[str, Any]:
    labels = random.choice((["A", "B", "C", "D"], ["1", "2", "3", "4"]))
    return {
        "question": f"Which of these is kept in the {random.choice(PLACES)} of house {random.randint(1, 999)}?",
        "choices": {"text": _four(random, _thing), "label": labels},
        "answerKey": random.choice(labels),
    }


def _gpqa(random: Random) -> dict[str, Any]:
    right, *wrong = _four(random, _thing)
    return {
        "Question": f" Which thing did guild {random.randint(1, 9999)} make?",
        "Correct Answer": right,
        **{f"Incorrect Answer {number}": one for number, one in enumerate(wrong, 1)},
    }
