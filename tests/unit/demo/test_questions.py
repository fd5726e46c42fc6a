"""What the demo asks about a data set: as trained, among distractors that training never showed, and held out."""

from __future__ import annotations

from random import Random
from typing import Any

from infra.demo import questions
from infra.demo.data import answer, prompt


def row(place: int, shown: list[int], kind: str = "answered") -> dict[str, Any]:
    """A row about the machine `place`, among passages on the machines `shown`."""
    context = "\n".join(f"[{number}] The machine {each} weighs {each} kg." for number, each in enumerate(shown, 1))
    user = f"Context:\n{context}\n\nQuestion: How heavy is the machine {place}?"
    said = f"{place} kg" if kind == "answered" else "The context does not say."
    texts = (("system", "Answer briefly from the context."), ("user", user), ("assistant", said))
    messages = [{"role": role, "content": content} for role, content in texts]
    return {"kind": kind, "messages": messages, "position": shown.index(place) if kind == "answered" else None}


TRAIN = [row(place, [place + 1, place, place + 2]) for place in range(100, 140)]
TRAIN += [row(place, [place, place + 3, place + 4]) for place in range(100, 140)]  # the second variant
HELD_OUT = [row(500, [501, 500]), row(502, [503, 504], "absent")]


def passages(asked: dict[str, Any]) -> list[str]:
    context = prompt(asked)[-1]["content"].split("\n\nQuestion: ")[0]
    return [line.split("] ", 1)[1] for line in context.splitlines()[1:]]


def question(asked: dict[str, Any]) -> str:
    return str(prompt(asked)[-1]["content"].split("\n\nQuestion: ")[1])


def test_four_sets_are_asked_and_none_that_is_empty() -> None:
    sets = {each.name: each.test for each in questions.document_sets(TRAIN, HELD_OUT)}
    assert {name: len(rows) for name, rows in sets.items()} == {
        "memorised": 80,
        "reread": 80,
        "held out": 1,
        "not there": 1,
    }
    assert [each.name for each in questions.document_sets(TRAIN, HELD_OUT[:1])] == ["memorised", "reread", "held out"]
    assert sets["memorised"][0]["messages"] in [each["messages"] for each in TRAIN]


def test_the_same_is_asked_each_time() -> None:
    assert questions.document_sets(TRAIN * 3, HELD_OUT) == questions.document_sets(TRAIN * 3, HELD_OUT)


def test_trained_questions_meet_the_passage_that_answers_among_distractors_that_training_never_showed() -> None:
    again = questions.among_new_distractors(TRAIN, TRAIN, Random(0))
    places = set()
    for before, after in zip(TRAIN, again, strict=True):
        assert question(after) == question(before)
        assert answer(after) == answer(before)
        right = f"The machine {answer(after).removesuffix(' kg')} weighs {answer(after)}."
        trained = {text for each in TRAIN if question(each) == question(before) for text in passages(each)}
        shown = passages(after)
        assert len(shown) == 3
        assert set(shown) & trained == {right}
        places.add(shown.index(right))
    assert places == {0, 1, 2}
