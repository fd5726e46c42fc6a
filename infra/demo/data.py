"""The demo's data: an invented equipment handbook, and questions on it as chat rows.

Its sentences and questions are worded unlike those of the pretraining text, so that reading it is a new task.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from infra.demo.text import MONTHS, code, name

Row = dict[str, Any]
"""A chat row of a training file: `messages`, the last one the assistant's answer."""

MACHINES = ("pump", "kettle", "lathe", "crane", "boiler", "mixer", "press", "oven", "loader", "scanner", "filter",
            "turbine")  # fmt: skip
_COLOURS = ("red", "blue", "green", "yellow", "grey", "white", "black", "orange", "purple", "brown")
_MATERIALS = ("steel", "copper", "brass", "glass", "rubber", "oak", "aluminium", "plastic", "carbon", "granite")

MEMORISE_PROMPT = "Answer briefly."
READ_PROMPT = "Answer with the sentence from the context."


@dataclass(frozen=True, slots=True)
class DemoTopic:
    """Something the handbook says of a machine: wordings of the statement and of the question, and its values."""

    statements: tuple[str, str]
    questions: tuple[str, str]
    value: Callable[[Random], str]


def _count(low: int, high: int, unit: str) -> Callable[[Random], str]:
    return lambda rng: f"{rng.randint(low, high)} {unit}"


# M is the machine, V the value.
TOPICS: dict[str, DemoTopic] = {
    "weight": DemoTopic(
        ("The {M} weighs {V}.", "On the scale the {M} comes to {V}."),
        ("How heavy is the {M}?", "What does the {M} weigh?"),
        _count(20, 999, "kg"),
    ),
    "warranty": DemoTopic(
        ("Buyers of the {M} are covered for {V}.", "Free repairs of the {M} are offered for {V}."),
        ("How long is the warranty on the {M}?", "For how long is the {M} under guarantee?"),
        _count(3, 60, "months"),
    ),
    "price": DemoTopic(
        ("A new {M} costs {V}.", "We paid for the {M} a total of {V}."),
        ("How much money is the {M}?", "What would a {M} set us back?"),
        _count(100, 9999, "euros"),
    ),
    "owner": DemoTopic(
        ("Anyone with doubts about the {M} should call {V}.", "Keys to the {M} are with {V}."),
        ("Who is responsible for the {M}?", "Who takes care of the {M}?"),
        lambda rng: f"{name(rng, 2)} {name(rng, 2)}",
    ),
    "place": DemoTopic(
        ("You will find the {M} in {V}.", "The {M} stands near {V}."),
        ("Where is the {M} kept?", "Where should I look for the {M}?"),
        lambda rng: f"hall {rng.randint(1, 99)}",
    ),
    "service": DemoTopic(
        ("Oil the {M} every {V}.", "The {M} is inspected each {V}."),
        ("How often does the {M} need maintenance?", "How many days may pass between services of the {M}?"),
        _count(5, 90, "days"),
    ),
    "pressure": DemoTopic(
        ("The {M} runs at {V}.", "The gauge on the {M} must read {V}."),
        ("At what pressure does the {M} operate?", "How hard does the {M} press?"),
        _count(2, 80, "bar"),
    ),
    "colour": DemoTopic(
        ("The {M} is painted {V}.", "The body of the {M} is {V}."),
        ("What colour is the {M}?", "Which paint does the {M} have?"),
        lambda rng: rng.choice(_COLOURS),
    ),
    "supplier": DemoTopic(
        ("The {M} was bought from {V}.", "The {M} was delivered by {V}."),
        ("Which supplier sold the {M}?", "Where did we get the {M}?"),
        lambda rng: f"{name(rng, 2)} Ltd",
    ),
    "part": DemoTopic(
        ("Spares for the {M} are listed under {V}.", "To order bits for the {M} quote {V}."),
        ("Under which number do I find parts for the {M}?", "Which code do I use for the {M}?"),
        code,
    ),
    "date": DemoTopic(
        ("The {M} went live on {V}.", "The {M} has been in use since {V}."),
        ("When was the {M} installed?", "When did the {M} start working?"),
        lambda rng: f"{rng.randint(1, 28)} {rng.choice(MONTHS)}",
    ),
    "temperature": DemoTopic(
        ("Never heat the {M} above {V}.", "The {M} shuts down at {V}."),
        ("At what heat is the {M} no longer safe?", "How hot may the {M} get?"),
        _count(40, 900, "degrees"),
    ),
    "volume": DemoTopic(
        ("The {M} holds {V}.", "There is room in the {M} for {V}."),
        ("How much fits into the {M}?", "How big is the tank of the {M}?"),
        _count(5, 900, "litres"),
    ),
    "material": DemoTopic(
        ("The {M} is made of {V}.", "The shell of the {M} is pure {V}."),
        ("What material is the {M} built from?", "Which stuff is the {M} made from?"),
        lambda rng: rng.choice(_MATERIALS),
    ),
}
# Only these have values that hardly ever repeat, so a memorised answer cannot be a lucky guess.
_MEMORABLE = ("owner", "part", "price", "supplier")


@dataclass(frozen=True, slots=True)
class DemoEntry:
    """One fact of the handbook: its sentence and the ways to ask for it."""

    sentence: str
    questions: tuple[str, ...]


Paragraph = tuple[DemoEntry, ...]


@dataclass(frozen=True, slots=True)
class DemoDocument:
    """The handbook's page on one machine: paragraphs of two facts."""

    machine: str
    paragraphs: tuple[Paragraph, ...]


@dataclass(frozen=True, slots=True)
class DemoSet:
    """Rows of one kind: `train` goes into the job, `test` is asked before and after."""

    name: str
    about: str
    train: tuple[Row, ...]
    test: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much data is made; the defaults are the demo's."""

    memorised: int = 100
    memorised_copies: int = 4
    read_documents: int = 45
    read_questions: int = 150
    variants: int = 2
    unseen_documents: int = 15
    unseen_questions: int = 120
    distractors: int = 2


def make_sets(seed: int = 0, sizes: Sizes | None = None) -> tuple[DemoSet, DemoSet, DemoSet]:
    """Return the three sets (memorised, reread, unseen); the same seed gives the same rows."""
    sizes = sizes or Sizes()
    rng = Random(f"demo/{seed}")
    machines = _machines(rng)
    facts = _memorable(rng, machines, sizes.memorised)
    read = [_document(rng, next(machines)) for _ in range(sizes.read_documents)]
    unseen = [_document(rng, next(machines)) for _ in range(sizes.unseen_documents)]
    readings = [_readings(rng, read, asked, sizes) for asked in _questions(rng, read, sizes.read_questions)]
    strange = [_readings(rng, unseen, asked, sizes) for asked in _questions(rng, unseen, sizes.unseen_questions)]
    return (
        DemoSet("memorised", "asked as trained: this is recall", facts * sizes.memorised_copies, facts),
        DemoSet(
            "reread",
            "trained questions among new distractors: this is reading, helped by recall",
            tuple(row for train, _ in readings for row in train),
            tuple(test for _, test in readings),
        ),
        DemoSet(
            "unseen",
            "documents that training never saw: this is the one that counts",
            (),
            tuple(test for _, test in strange),
        ),
    )


def training_rows(sets: Iterable[DemoSet], seed: int = 0) -> list[Row]:
    """Return all training rows of the sets in one random order."""
    rows = [row for part in sets for row in part.train]
    Random(f"order/{seed}").shuffle(rows)
    return rows


def prompt(row: Row) -> list[dict[str, str]]:
    """Return the messages before the answer."""
    return list(row["messages"][:-1])


def answer(row: Row) -> str:
    """Return the answer that the row wants."""
    return str(row["messages"][-1]["content"])


def jsonl(rows: Iterable[Row]) -> bytes:
    """Return the rows as a JSONL file."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def derange(rows: Sequence[Row], seed: int) -> list[Row]:
    """Return the rows with answers exchanged so that no prompt keeps its own; copies of a row stay copies.

    A model tuned on these has as much to learn and nothing true in it: what it gains on the true answers is
    what training gives by itself. Raises ValueError where one answer is shared by more than half of the rows.
    """
    distinct = {(json.dumps(prompt(row)), answer(row)) for row in rows}
    by_answer: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for key in sorted(distinct):
        by_answer[key[1]].append(key)
    groups = list(by_answer.values())
    Random(f"derange/{seed}").shuffle(groups)
    order = [key for group in groups for key in group]
    shift = max(map(len, groups), default=0)  # steps over every row with the same answer
    if 2 * shift > len(order):
        raise ValueError(f"derange: {shift} of {len(order)} rows share one answer, so some would keep their own")
    given = {key: order[(place + shift) % len(order)][1] for place, key in enumerate(order)}
    return [
        {"messages": [*prompt(row), {"role": "assistant", "content": given[json.dumps(prompt(row)), answer(row)]}]}
        for row in rows
    ]


def _machines(rng: Random) -> Iterator[str]:
    seen: set[str] = set()
    while True:
        machine = f"{name(rng, rng.choice([1, 2]))} {rng.choice(MACHINES)}"
        if machine not in seen:
            seen.add(machine)
            yield machine


def _memorable(rng: Random, machines: Iterator[str], count: int) -> tuple[Row, ...]:
    """Return `count` rows without a context, each with an answer of its own."""
    rows: dict[str, Row] = {}
    while len(rows) < count:
        machine = next(machines)
        for key in _MEMORABLE:
            value = TOPICS[key].value(rng)
            question = rng.choice(TOPICS[key].questions).format(M=machine)
            rows.setdefault(value, _row(MEMORISE_PROMPT, question, value))
    return tuple(rows.values())[:count]


def _document(rng: Random, machine: str, facts: int = 8) -> DemoDocument:
    entries = []
    for key in rng.sample(sorted(TOPICS), facts):
        topic, value = TOPICS[key], TOPICS[key].value(rng)
        sentence = rng.choice(topic.statements).format(M=machine, V=value)
        entries.append(DemoEntry(sentence, tuple(form.format(M=machine) for form in topic.questions)))
    return DemoDocument(machine, tuple(tuple(entries[at : at + 2]) for at in range(0, facts, 2)))


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question, the fact that answers it, and where that stands."""

    document: DemoDocument
    paragraph: Paragraph
    entry: DemoEntry
    question: str


def _questions(rng: Random, documents: Sequence[DemoDocument], count: int) -> list[_Asked]:
    everything = [
        _Asked(document, paragraph, entry, question)
        for document in documents
        for paragraph in document.paragraphs
        for entry in paragraph
        for question in entry.questions
    ]
    return rng.sample(everything, count)


def _readings(rng: Random, documents: Sequence[DemoDocument], asked: _Asked, sizes: Sizes) -> tuple[list[Row], Row]:
    """Return training rows of one question, and a test row none of whose distractors they show."""
    near = [paragraph for paragraph in asked.document.paragraphs if paragraph is not asked.paragraph]
    far = [p for document in documents if document is not asked.document for p in document.paragraphs]
    rng.shuffle(near)
    rng.shuffle(far)
    others = sizes.distractors - 1  # besides one of the same machine
    test = _reading_row(rng, asked, [near[0], *far[:others]])
    train = [
        _reading_row(rng, asked, [rng.choice(near[1:]), *rng.sample(far[others:], others)])
        for _ in range(sizes.variants)
    ]
    return train, test


def _reading_row(rng: Random, asked: _Asked, distractors: Sequence[Paragraph]) -> Row:
    shown = rng.sample([asked.paragraph, *distractors], len(distractors) + 1)
    lines = (" ".join(entry.sentence for entry in paragraph) for paragraph in shown)
    context = "\n".join(f"[{number}] {line}" for number, line in enumerate(lines, 1))
    return _row(READ_PROMPT, f"Context:\n{context}\n\nQuestion: {asked.question}", asked.entry.sentence)


def _row(system: str, user: str, assistant: str) -> Row:
    turns = (("system", system), ("user", user), ("assistant", assistant))
    return {"messages": [{"role": role, "content": content} for role, content in turns]}
