"""What an invented company's equipment handbook says: manuals of chapters, a section for each machine.

Facts are those of `infra.demo.data`, worded as manuals word them; a seed gives the same text every time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from infra.demo.data import MACHINES, TOPICS
from infra.demo.text import MONTHS, name

COMPANY = "Sorvel Works"

# M is the machine, V the value. Each paragraph of a machine's section says some facts of its group.
_GROUPS: tuple[Mapping[str, Sequence[str]], ...] = (
    {
        "weight": ("The weight of the {M} is {V}.",),
        "price": ("The price of the {M} was {V}.",),
        "warranty": ("The warranty period of the {M} is {V}.", "Buyers of the {M} are covered for {V}."),
        "supplier": ("The {M} was delivered by {V}.", "The {M} was made by {V}."),
        "date": ("The {M} was installed on {V}.",),
    },
    {
        "pressure": ("The pressure of the {M} is {V}.",),
        "temperature": ("The temperature limit of the {M} is {V}.",),
        "volume": ("The capacity of the {M} is {V}.",),
        "speed": ("The speed of the {M} is {V}.",),
        "power": ("The power of the {M} is {V}.",),
    },
    {
        "service": ("The {M} is inspected every {V}.", "The {M} must be oiled every {V}."),
        "owner": ("The {M} is maintained by {V}.", "The {M} was approved by {V}."),
        "place": ("The {M} is kept near {V}.", "The {M} is stored near {V}."),
        "noise": ("The noise level of the {M} is {V}.",),
        "filter": ("The filter of the {M} must be changed every {V}.",),
    },
)
_FACTS = 3
"""Of a paragraph."""
_OPENINGS = (
    "This page belongs to the people who work at the machine every day.",
    "Read this page before the first shift.",
    "Keep a copy of this page within reach of the machine.",
    "Ask before you change anything that is written here.",
    "Nothing on this page replaces the training on the machine itself.",
    "The figures were checked when the machine was last cleaned.",
)
_LINKS = (
    "Nobody should have to guess here.",
    "A plate on the side repeats these figures.",
    "Write to the workshop when something here is out of date.",
    "Round figures are not good enough for this.",
    "The list by the door says the same.",
    "New colleagues ask about this first.",
)
_RULES = (
    "Leave the doors of the halls shut in winter.",
    "Wear goggles wherever sparks fly.",
    "Tell the shift leader about every leak, however small.",
    "Hang tools back where they belong at the end of the shift.",
    "Keep the yellow lanes free of pallets.",
    "Never work alone behind a closed grille.",
    "Sweep up chips by hand, with a broom and not with air.",
    "Put oily rags into the steel bins with lids.",
)


@dataclass(frozen=True, slots=True)
class HandbookGrid:
    """A table: a row of column names, then rows of values."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Block = str | HandbookGrid
"""A paragraph or a table."""


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with what stands below it; sections within follow it in the list, one level deeper."""

    title: str
    level: int
    """1 is the highest."""
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Manual:
    """One document of the handbook."""

    title: str
    sections: tuple[Section, ...]


@dataclass(frozen=True, slots=True)
class Handbook:
    """All that is written, by the file that it goes into."""

    machines: Manual
    workshop: Manual
    kitchen: Manual
    yard: Manual
    parts: HandbookGrid


def handbook(seed: int = 0) -> Handbook:
    """Return the handbook; the same seed gives the same text, and no machine is in two manuals."""
    rng = Random(f"handbook/{seed}")
    names = _names(rng)
    return Handbook(
        machines=_manual(rng, names, "Machines", "Hall", (9, 9, 9, 9)),
        workshop=_manual(rng, names, "Workshop", "Bench", (7, 7)),
        kitchen=_manual(rng, names, "Canteen kitchen", "Line", (5, 5)),
        yard=_manual(rng, names, "Yard and stores", "Gate", (5, 5)),
        parts=HandbookGrid(
            ("Name", "Colour", "Material", "Part number"), tuple(_part(rng, next(names)) for _ in range(30))
        ),
    )


def _manual(rng: Random, names: Iterator[str], title: str, place: str, machines: Sequence[int]) -> Manual:
    sections = [Section("Ground rules", 1, tuple(rng.sample(_RULES, 4)))]
    for number, count in enumerate(machines, 1):
        here = [next(names) for _ in range(count)]
        keys = tuple((machine, str(rng.randint(10, 99)), name(rng, 2)) for machine in here)
        opening = f"{place} {number} of {COMPANY} has {count} machines, and each has a page of its own."
        sections.append(
            Section(f"{place} {number}", 1, (opening, HandbookGrid(("Machine", "Key number", "Keeper"), keys)))
        )
        sections += [_machine(rng, machine) for machine in here]
    return Manual(title, tuple(sections))


def _machine(rng: Random, machine: str) -> Section:
    paragraphs = []
    for number, group in enumerate(_GROUPS):
        facts = [
            rng.choice(group[topic]).format(M=machine, V=_value(rng, topic))
            for topic in rng.sample(sorted(group), _FACTS)
        ]
        facts.insert(0 if number == 0 else _FACTS, rng.choice(_LINKS if number else _OPENINGS))
        paragraphs.append(" ".join(facts))
    return Section(machine, 2, tuple(paragraphs))


def _value(rng: Random, topic: str) -> str:
    if topic == "date":
        return f"{rng.randint(1, 28)} {rng.choice(MONTHS)} {rng.randint(1990, 2024)}"
    if topic in _MORE:
        low, high, unit = _MORE[topic]
        return f"{rng.randint(low, high)} {unit}"
    said = TOPICS[topic].value(rng)
    return said.replace(" Ltd", " Brothers")  # an abbreviation at a sentence's end would not end it


_MORE = {
    "speed": (20, 999, "metres per hour"),
    "power": (200, 9999, "watts"),
    "noise": (30, 99, "decibels"),
    "filter": (4, 48, "weeks"),
}


def _part(rng: Random, machine: str) -> tuple[str, ...]:
    return (machine, *(TOPICS[topic].value(rng) for topic in ("colour", "material", "part")))


def _names(rng: Random) -> Iterator[str]:
    """Yield machines, no first word twice, so that nobody confuses two of them."""
    seen: set[str] = set()
    while True:
        first = name(rng, rng.choice([1, 2]))
        if len(first) > 3 and first not in seen:
            seen.add(first)
            yield f"{first} {rng.choice(MACHINES)}"
