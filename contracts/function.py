"""How a function says all of itself: its role, what it reacts to, its stages of work, its children, its settings.

Each folder `functions/<verb_noun>/` has a `function.py` with one `FUNCTION`; whatever runs, documents or repairs
functions goes through those. Parameters after the first are ports, and are handed over by their names.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from contracts import topics
from contracts.controls import Claim
from contracts.documents import View
from contracts.envelope import Event, derived_id, make

Role = Literal["edge", "worker", "trainer", "serving"]
Handle = Callable[..., Awaitable[None]]
"""(event or view, ports by name) → dealt with; may be repeated."""
Work = Callable[..., Awaitable[Sequence[Event]]]
"""(lease, ports by name) → the final events."""
LIGHT = "light"
"""Children that are started often and import little: a quarter of a second, 40 MB, nothing with threads of its own."""
NUMERIC = "numeric"
"""Children that calculate: what they share is numpy's weight."""


class FunctionSettings(BaseModel):
    """Settings of one function: each field is a variable `TEMPER_…`, with a docstring under it."""

    model_config = ConfigDict(frozen=True)


@dataclass(frozen=True, slots=True)
class Places:
    """How many things are at work at the same time in one process."""

    at_once: int
    per_tenant: int
    """Of one tenant, so that its large ones do not hold all."""


def places(each: int = 1) -> Places:
    """Return `each` places for every tenant, and one place more."""
    return Places(each + 1, each)


@dataclass(frozen=True, slots=True)
class Reaction:
    """What a function does when something has happened."""

    topics: tuple[str, ...]
    handle: Handle
    fails: str | None = None
    """The stage that ends, in its own words, what the event is about when this handler crashes; None: nobody waits."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One kind of long work, done under a lease."""

    name: str
    """Of control documents; a constant."""
    model: str
    """The read model whose documents it works on."""
    over: Callable[[View], bool]
    """Whether such a document shows that the stage has done its part, or has none in it any more."""
    work: Work
    exhausted: Callable[[Claim, str], Sequence[Event]]
    """(claim, why) → the final events of what could not be done."""
    suffix: str = ""
    """What the control document's id has after the document's own."""
    onward: Mapping[str, str] = field(default_factory=dict)
    """Topic of the result → the stage that it leads to; any other result is an ending."""
    places: Places | Callable[..., Places] = Places(2, 1)
    """Or what says so, of ports by name."""
    grace: float = 0.0
    """Seconds that work which heeds `Lease.changed` has to come to rest when its process is told to end."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A kind of thing that is not over, and is looked at again and again until it is."""

    model: str
    """The read model that shows it."""
    where: Mapping[str, Any]
    """A MongoDB filter over view fields: those that are not over."""
    given_up: str
    """The stage that ends, in its own words, what crashes whenever it is taken up."""
    every: float = 0.0
    """Seconds between two looks at the same one; 0: each round."""
    control: bool = True
    """Whether it has a control document of its own id: then it is taken up only when that is missing."""
    inputs: Callable[[View], Mapping[str, Any]] | None = None
    """What that control document is made of again; None: whoever retakes it opens it."""


@dataclass(frozen=True, slots=True)
class Function:
    """All that there is to know of a function from outside."""

    name: str
    """Its folder, and its consumer group: offsets live under it."""
    role: Role | None
    """The process that runs it; None: a command of an operator does."""
    reactions: tuple[Reaction, ...] = ()
    stages: tuple[Stage, ...] = ()
    unfinished: Unfinished | None = None
    """A kind of thing that this function speaks for."""
    retakes: Mapping[str, Handle] = field(default_factory=dict)
    """Read model → what takes the step that an unfinished document's state allows, once more: (view, ports)."""
    children: Mapping[str, str] = field(default_factory=dict)
    """Module run in a process of its own → what is imported before that is forked: a module, `LIGHT` or `NUMERIC`."""
    settings: type[FunctionSettings] = FunctionSettings
    provides: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    """Name of a parameter → what makes it, once a process, of ports by name."""
    of_files: bool = False
    """It works on files: what its `blobs` write after one was deleted goes again, and the work ends without a word."""
    deadline: float = 60.0
    """Seconds for one event; what takes longer is a stage, or waits for a server that is slow."""
    optional: bool = False
    """Nobody waits for it: it is left out where a port of its is not there, and its process is well without it."""

    @property
    def topics(self) -> tuple[str, ...]:
        """All that it reacts to."""
        return tuple(name for reaction in self.reactions for name in reaction.topics)


def said_again(view: View, topic: str, data: Mapping[str, Any]) -> Event:
    """Return what was said of a thing once more, from its read model."""
    found = topics.named(topic)
    assert found is not None
    payload = found.payload.model_validate(data)
    return make(payload, subject=view["id"], tenant=view["tenant"], id=derived_id(view["id"], topic))
