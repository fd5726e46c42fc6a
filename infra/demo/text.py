"""Synthetic chats for pretraining the demo base: invented facts in a context, and questions about them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Literal

Kind = Literal["quote", "value", "continue"]
Message = dict[str, str]
"""One chat message: `role` and `content`."""

_ONSETS, _VOWELS, _CODAS, _UNITS, MONTHS = (
    line.split()
    for line in (
        "b br c cr d dr f fr g gl h j k kl l m n p pr qu r s st t th tr v w y z sk bl",
        "a e i o u ai ea ia oo ou",
        "l n r s t m d x k nd rn th ck v ss",
        "days hours minutes bar kg km litres percent euros dollars metres volts watts GB ms weeks degrees mm tons "
        "units points pages steps years",
        "January February March April May June July August September October November December",
    )
)
_CODAS += [""] * 6  # open syllables are common
_VERBS = [*["is"] * 5, "was", "was", "set to", "remains", "uses", "equals", "stands at", "must be", "should be"]
_VERBS += ["can be", "has been", "will be", "requires"]

# E = entity, R = relation, V = value, v = a verb, w and u = filler words.
_STATEMENTS = (
    "The {R} of {E} {v} {V}.",
    "The {R} of {E} is {V}.",
    "{E} has a {R} of {V}.",
    "The {R} for {E} {v} {V}.",
    "{E} {R} {V}.",
    "For {E}, the {R} {v} {V}.",
    "{E}: {R} {V}.",
    "{E}'s {R} {v} {V}.",
    "{R} of {E}: {V}.",
    "In {E}, {R} {v} {V}.",
    "{E} {v} {R} {V}.",
    "The {E} {R} {v} {V}.",
)
_TWISTED_STATEMENTS = (
    "{V} is the {R} of {E}.",
    "With {V} as {R}, {E} {w}.",
    "The {R} of {E} {v} {V} {w}.",
    "{E} has {V} as its {R}.",
)
_QUESTIONS = (
    "What is the {R} of {E}?",
    "What is the {R} for {E}?",
    "{R} of {E}?",
    "Which {R} does {E} have?",
    "Tell me the {R} of {E}.",
    "For {E}, what is the {R}?",
    "{E} {R}?",
    "What {R} does {E} have?",
    "How is the {R} of {E}?",
    "Give the {R} of {E}.",
    "What does the text say about the {R} of {E}?",
    "What was the {R} of {E}?",
    "{w} {E} {u} {R}?",
    "What {v} the {R} of {E}?",
)
_SYSTEM: dict[Kind, tuple[str, ...]] = {
    "quote": ("Answer with the sentence from the context.", "Quote the sentence that answers the question."),
    "value": ("Answer briefly.", "Answer briefly from the context."),
    "continue": ("Complete the sentence.",),
}
_CONTEXT_FORMS = (
    "Context:\n{context}\n\nQuestion: {question}",
    "Context:\n{context}\n\nQuestion: {question}",
    "{context}\n\n{question}",
    "Context:\n{context}\nQuestion: {question}",
)
_KINDS: tuple[Kind, ...] = ("quote", "value", "continue")
_KIND_WEIGHTS = (0.55, 0.25, 0.2)
TWISTED_SHARE = 0.15
_NO_SYSTEM_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class Fact:
    """One invented fact: the relation of an entity has a value."""

    entity: str
    relation: str
    value: str


@cache
def words() -> tuple[str, ...]:
    """Return the word list that everything here is built from."""
    return tuple((Path(__file__).parent / "words.txt").read_text(encoding="utf-8").split())


def name(rng: Random, syllables: int = 0) -> str:
    """Return an invented capitalised name; 0 syllables means 1 to 3 at random."""
    count = syllables or rng.choice([1, 2, 2, 2, 3])
    text = "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(count))
    return text.capitalize()


def code(rng: Random) -> str:
    """Return an invented part code such as `KX-412`."""
    letters = "".join(rng.choice("ABCDEFGHKLMNPRSTVXZ") for _ in range(rng.choice([1, 2, 3])))
    number = rng.choice([rng.randint(1, 99), rng.randint(100, 9999)])
    return letters + rng.choice(["-", "", "/"]) + str(number)


def phrase(rng: Random, low: int, high: int) -> str:
    """Return `low` to `high` words of the list, joined by spaces."""
    return " ".join(rng.choice(words()) for _ in range(rng.randint(low, high)))


def capitalised(text: str) -> str:
    """Return the text with its first letter in upper case, the rest untouched."""
    return text[:1].upper() + text[1:]


def _entity(rng: Random) -> str:
    draw = rng.random()
    if draw < 0.35:
        return name(rng)
    if draw < 0.5:
        return f"{name(rng)} {name(rng)}"
    if draw < 0.7:
        return f"{name(rng)} {phrase(rng, 1, 1)}"
    if draw < 0.8:
        return f"the {name(rng)} {phrase(rng, 1, 1)}"
    return f"{name(rng)} {code(rng)}" if draw < 0.9 else code(rng)


def _number(rng: Random) -> str:
    draw = rng.random()
    if draw < 0.7:
        return str(rng.choice([rng.randint(2, 99), rng.randint(100, 999), rng.randint(1000, 9999)]))
    if draw < 0.85:
        return f"{rng.randint(0, 99)}.{rng.randint(1, 9)}"
    return f"{rng.randint(1, 40)} to {rng.randint(41, 99)}"


def _value(rng: Random) -> str:
    draw = rng.random()
    if draw < 0.35:
        return f"{_number(rng)} {rng.choice([*_UNITS, rng.choice(words())])}"
    if draw < 0.42:
        return _number(rng)
    if draw < 0.57:
        return name(rng) + (f" {name(rng)}" if rng.random() < 0.5 else "")
    if draw < 0.8:
        return phrase(rng, 1, 4)
    return f"{rng.randint(1, 28)} {rng.choice(MONTHS)}" if draw < 0.88 else code(rng)


def _facts(rng: Random, count: int) -> list[Fact]:
    """Return up to `count` facts that share entities and relations, so that a reader must match both."""
    entities = [_entity(rng) for _ in range(max(1, int(count * rng.choice([0.34, 0.5, 1.0]))))]
    relations = [phrase(rng, 1, 3) for _ in range(max(2, int(count * rng.choice([0.5, 1.0]))))]
    facts: dict[tuple[str, str], Fact] = {}
    for _ in range(count * 4):
        if len(facts) >= count:
            break
        entity, relation = rng.choice(entities), rng.choice(relations)
        if (entity, relation) not in facts:
            facts[entity, relation] = Fact(entity, relation, _value(rng))
    return list(facts.values())


def _statement(rng: Random, fact: Fact, twisted: float) -> str:
    form = rng.choice(_TWISTED_STATEMENTS if rng.random() < twisted else _STATEMENTS)
    filler = phrase(rng, 1, 3)
    return capitalised(form.format(E=fact.entity, R=fact.relation, V=fact.value, v=rng.choice(_VERBS), w=filler))


def _question(rng: Random, fact: Fact) -> str:
    relation = fact.relation
    if " " in relation and rng.random() < 0.15:
        relation = relation.split(" ", 1)[rng.randint(0, 1)]  # a partial name, as people ask
    form = rng.choice(_QUESTIONS)
    fillers = {"w": phrase(rng, 1, 2), "u": phrase(rng, 0, 2)}
    return capitalised(form.format(E=fact.entity, R=relation, v=rng.choice(_VERBS), **fillers))


def _context(rng: Random, sentences: list[str]) -> str:
    """Lay sentences out in numbered, bulleted or plain lines of one to three."""
    form = rng.choice(["[{number}] {text}", "[{number}] {text}", "{text}", "- {text}"])
    size = rng.choice([1, 2, 2, 3])
    lines = [" ".join(sentences[at : at + size]) for at in range(0, len(sentences), size)]
    return "\n".join(form.format(number=number, text=line) for number, line in enumerate(lines, 1))


def reading_chat(
    rng: Random, facts: int, questions: int, *, kind: Kind | None = None, twisted: float = TWISTED_SHARE
) -> list[Message]:
    """Return a chat over one context of `facts` sentences, asked `questions` times.

    The assistant quotes the sentence (`quote`), gives its value (`value`) or completes it (`continue`).
    """
    known = _facts(rng, facts)
    stated = [_statement(rng, fact, twisted) for fact in known]
    sentences = list(stated)
    if rng.random() < 0.25:
        for _ in range(rng.randint(1, max(1, facts // 3))):
            sentences.insert(rng.randint(0, len(sentences)), capitalised(phrase(rng, 4, 9)) + ".")
    context = _context(rng, sentences)
    if kind is None:
        kind = rng.choices(_KINDS, _KIND_WEIGHTS)[0]
    form = rng.choice(_CONTEXT_FORMS)
    messages: list[Message] = []
    # Without a system message a quote is what the demo base gives; the other kinds have to be asked for.
    if kind != "quote" or rng.random() >= _NO_SYSTEM_SHARE:
        messages.append({"role": "system", "content": rng.choice(_SYSTEM[kind])})
    for turn, index in enumerate(rng.sample(range(len(known)), min(questions, len(known)))):
        if kind == "continue":
            parts = rng.choice(stated).rstrip(".").split(" ")
            cut = rng.randint(max(1, len(parts) // 3), len(parts) - 1)
            question, answer = " ".join(parts[:cut]), " ".join(parts[cut:]) + "."
        else:
            question = _question(rng, known[index])
            answer = stated[index] if kind == "quote" else known[index].value
        content = form.format(context=context, question=question) if turn == 0 else question
        messages += [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]
    return messages


def closed_chat(rng: Random) -> list[Message]:
    """Return a chat without a context: the values cannot be known, the shape of an answer can."""
    messages = [{"role": "system", "content": rng.choice(_SYSTEM["value"])}] if rng.random() < 0.5 else []
    for fact in _facts(rng, rng.randint(1, 3)):
        messages.append({"role": "user", "content": _question(rng, fact)})
        messages.append({"role": "assistant", "content": fact.value})
    return messages
