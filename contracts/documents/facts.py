"""Facts: what a read model is made of. Filing is commutative and idempotent, whatever the order of topics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from contracts.canonical import compact, sha256
from contracts.envelope import Event, PoisonError

MAX_BYTES = 2**20
"""No document passes this, as JSON."""
Fact = dict[str, Any]
Facts = dict[str, Fact]
View = dict[str, Any]


def fact_of(event: Event, data: Mapping[str, Any] | None = None) -> Fact:
    """Return `event` (or only the part `data` of its body) as a fact."""
    body = dict(data) if data is not None else event.data.model_dump(mode="json")
    return {
        "type": event.type,
        "at": event.at,
        "subject": event.subject,
        "tenant": event.tenant,
        "epoch": event.epoch,
        "attempt": event.attempt,
        "data": body,
        "hash": sha256(compact([event.type, event.subject, event.tenant, event.epoch, event.attempt, body])),
        "conflict": False,
    }


def add(facts: Mapping[str, Fact], id: str, fact: Fact) -> Facts:
    """File `fact` under its event's id.

    The same event twice is once; of two bodies under one id the smaller hash is kept.
    The kept fact's `at` is the earliest time that this body was published, and `conflict` remembers the dispute.
    """
    known = facts.get(id)
    if known is None:
        return {**facts, id: fact}
    if known["hash"] == fact["hash"]:
        conflict = known["conflict"] or fact["conflict"]
        fact = {**known, "at": min(known["at"], fact["at"]), "conflict": conflict}
    elif known["hash"] < fact["hash"]:
        fact = {**known, "conflict": True}
    else:
        fact = {**fact, "conflict": True}
    return dict(facts) if fact == known else {**facts, id: fact}


def of_type(facts: Mapping[str, Fact], *types: str) -> list[Fact]:
    """Return the facts of these topics in (epoch, attempt, at, hash) order."""
    return sorted((fact for fact in facts.values() if fact["type"] in types), key=_order)


def first(facts: Mapping[str, Fact], *types: str) -> Fact | None:
    """Return the first fact of these topics, or None."""
    chosen = of_type(facts, *types)
    return chosen[0] if chosen else None


def _order(fact: Fact) -> tuple[int, int, int, str]:
    return fact["epoch"], fact["attempt"], fact["at"], fact["hash"]


@dataclass(frozen=True, slots=True)
class ReadModel:
    """A collection of documents and how they fold."""

    name: str
    version: int
    """Raise it whenever `view` changes; the projector then rebuilds."""
    topics: frozenset[str]
    touches: Callable[[Event], Iterable[str]]
    """The ids of the documents that an event of `topics` belongs to."""
    view: Callable[[str, Mapping[str, Fact]], View | None]
    """(document id, facts) → what is shown; None while the document is unborn."""
    indexes: tuple[tuple[str, ...], ...] = ()
    """Fields of the view to index, `-` in front for descending."""
    part: Callable[[str, Event], Mapping[str, Any]] | None = None
    """(document id, event) → the part of the body that this document keeps; None keeps the whole."""
    births: frozenset[str] = frozenset()
    """Topics that say whose a document is: a born one has no other tenant's facts. Empty: it is nobody's alone."""
    keep: Mapping[str, int] = field(default_factory=dict)
    """Topic → how many of the newest facts of a kind a document keeps, besides the first; one where nothing is said."""
    kinds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Topic → the parts of its body in which facts of one kind agree; nothing: they all are of one kind."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A document as stored."""

    facts: Facts
    view: View | None
    etag: str


def fold(model: ReadModel, id: str, stored: Stored | None, event: Event) -> Stored | None:
    """Return the document with `event` folded in, or None when that changes nothing.

    Raises PoisonError when it would pass MAX_BYTES.
    """
    before = stored.facts if stored else {}
    facts = _owned(model, add(before, event.id, fact_of(event, model.part(id, event) if model.part else None)))
    facts = bounded(model, facts)
    if stored is not None and facts == before:
        return None
    return build(model, id, facts)


def _owned(model: ReadModel, facts: Facts) -> Facts:
    """Return `facts` without other tenants' than the birth's, whichever came first.

    Of births of two tenants, which no publisher can make, only themselves stay: so it is the same in every order.
    """
    owners = {fact["tenant"] for fact in facts.values() if fact["type"] in model.births}
    if not owners:
        return facts
    return {id: fact for id, fact in facts.items() if owners == {fact["tenant"]} or fact["type"] in model.births}


def bounded(model: ReadModel, facts: Facts) -> Facts:
    """Return `facts` with the first and the newest of each kind, so that a document never grows with what is repeated.

    What is left out stays out, for a topic's facts of one subject come in their order, however often.
    """
    alike: dict[tuple[str, ...], list[tuple[tuple[int, int, int, str], str]]] = {}
    for id, fact in facts.items():
        parts = (str(fact["data"].get(name)) for name in model.kinds.get(fact["type"], ()))
        alike.setdefault((fact["type"], fact["tenant"], *parts), []).append((_order(fact), id))
    dropped = {
        id
        for (topic, *_), found in alike.items()
        if len(found) > 1 + model.keep.get(topic, 1)
        for _, id in sorted(found)[1 : -model.keep.get(topic, 1)]
    }
    return {id: fact for id, fact in facts.items() if id not in dropped} if dropped else facts


def build(model: ReadModel, id: str, facts: Facts) -> Stored:
    """Return the document made of `facts`; raises PoisonError when it passes MAX_BYTES."""
    view = model.view(id, facts)
    content = compact({"facts": facts, "view": view})
    if len(content) > MAX_BYTES:
        text = f"{model.name}/{id[:200]} would have {len(content)} bytes; a document has {MAX_BYTES} at most"
        raise PoisonError("document_too_large", text)
    return Stored(facts=facts, view=view, etag=sha256(content))
