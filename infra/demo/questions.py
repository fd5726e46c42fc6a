"""What is asked about a data set of documents: its rows again, the same among new distractors, and held-out ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

from openai import OpenAI

from contracts.asking import asked as asked_of
from contracts.asking import read
from infra.demo.data import DemoSet

ASKED_AGAIN = 100
"""Training rows that are asked again."""

DatasetRow = Mapping[str, Any]
"""A row as `GET /files/{id}/rows` shows it: `messages`, `kind`, and `position` of the passage that answers."""


def data_set_rows(client: OpenAI, file: str, split: str) -> Iterator[DatasetRow]:
    """Yield the rows of a split of a data set, page by page."""
    after: dict[str, str] = {}
    while True:
        params = {"split": split, "limit": 100, **after}
        page: Any = client.get(f"/files/{file}/rows", cast_to=object, options={"params": params})
        yield from page["data"]
        if not page["has_more"]:
            return
        after = {"after": page["last_id"]}


def document_sets(train: Sequence[DatasetRow], held_out: Sequence[DatasetRow], seed: int = 0) -> list[DemoSet]:
    """Return the sets to ask (memorised, reread, held out, not there), none of them empty."""
    answered = [row for row in train if row["kind"] == "answered"]
    rng = Random(f"questions/{seed}")
    again = rng.sample(answered, min(ASKED_AGAIN, len(answered)))
    asked: dict[str, tuple[str, Sequence[DatasetRow]]] = {
        "memorised": ("rows of the training set, asked as trained: this is recall", again),
        "reread": (
            "trained questions among new distractors: this is reading, helped by recall",
            among_new_distractors(again, answered, rng),
        ),
        "held out": (
            "sections that training never saw: this is the one that counts",
            [row for row in held_out if row["kind"] == "answered"],
        ),
        "not there": (
            "held-out questions that no passage shown answers: it should say so",
            [row for row in held_out if row["kind"] == "absent"],
        ),
    }
    return [
        DemoSet(name, about, (), tuple({"messages": row["messages"]} for row in rows))
        for name, (about, rows) in asked.items()
        if rows
    ]


def among_new_distractors(
    asked: Sequence[DatasetRow], answered: Sequence[DatasetRow], rng: Random
) -> list[dict[str, Any]]:
    """Return each row with the passage that answers it among as many others that it was never trained among."""
    passages = sorted({_passages(row)[row["position"]] for row in answered})
    seen: dict[str, set[str]] = {}
    for row in answered:
        seen.setdefault(_question(row), set()).update(_passages(row))
    found = []
    for row in asked:
        shown, question = _passages(row), _question(row)
        right, answer = shown[row["position"]], row["messages"][-1]["content"]
        others = [each for each in passages if each not in seen[question] and answer not in each]
        context = [right, *rng.sample(others, min(len(shown) - 1, len(others)))]
        rng.shuffle(context)
        user = {"role": "user", "content": asked_of(context, question)}
        found.append({"messages": [*row["messages"][:-2], user, row["messages"][-1]]})
    return found


def _passages(row: DatasetRow) -> list[str]:
    """Return the passages of a row's context without their numbers."""
    return read(row["messages"][-2]["content"])[0]


def _question(row: DatasetRow) -> str:
    return read(row["messages"][-2]["content"])[1]
