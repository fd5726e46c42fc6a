"""Which passages stand around a question: hard ones, random ones, never one that answers it; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import gcd

from contracts.corpus import Example, Split
from functions.assemble_dataset.core import SPLITS, Passage, RowSettings, Selection, draw, needle, normal

Rank = Callable[[Example], Sequence[int]]
"""An example → places of passages of its split, the most alike first."""
Allowed = Callable[[int], bool]
"""Whether the passage at a place may stand around a question."""
Guard = Callable[[Example], Allowed]
"""An example → what else says that of its question."""
RANDOM_STEPS = 64
"""How many passages are looked at for the random ones of a row; keeps the cost of a row from growing with the rest."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A row before it is written: places in the list of passages and of kept examples."""

    example: int
    variant: int
    shown: tuple[int, ...]
    position: int | None
    """0-based place of the right passage among those shown; None: it was left out."""
    tokens: int
    """Of all that is shown."""


class _Distractors:
    """What may stand around one example's question."""

    def __init__(
        self, example: Example, own: int, passages: Sequence[Passage], rivals: frozenset[str], below: Allowed
    ) -> None:
        self._passages, self._own, self._rivals, self._below = passages, own, rivals, below
        self._split = example.split
        self._needles = (needle(example.answer), needle(example.quote))

    def allowed(self, place: int) -> bool:
        """Return whether the passage at `place` is another one of the split and does not answer the question."""
        passage = self._passages[place]
        return (
            place != self._own
            and passage.split == self._split
            and not passage.leaks
            and passage.chunk.id not in self._rivals
            and not any(text in passage.words for text in self._needles)
            and self._below(place)
        )


def unguarded(_: Example) -> Allowed:
    """Say of no passage that it may not stand around a question."""
    return lambda _: True


def drafts(
    selection: Selection,
    passages: Sequence[Passage],
    rank: Rank,
    settings: RowSettings,
    seed: int,
    guard: Guard = unguarded,
) -> dict[Split, list[Draft]]:
    """Return the drafts of each split in the order of their rows, which depends on contents alone.

    Every example has its variants; refusals come on top until they have their share. `guard` keeps passages out that
    the other rules would show.
    """
    places = {passage.chunk.id: place for place, passage in enumerate(passages)}
    found: dict[Split, list[Draft]] = {}
    for split in SPLITS:
        maker = _Maker(split, selection, passages, places, rank, guard, settings, seed)
        made = [*maker.answered(), *maker.absent()]
        kept = selection.kept
        found[split] = sorted(made, key=lambda made: draw(seed, "order", kept[made.example].id, made.variant))
    return found


class _Maker:
    def __init__(
        self,
        split: Split,
        selection: Selection,
        passages: Sequence[Passage],
        places: Mapping[str, int],
        rank: Rank,
        guard: Guard,
        settings: RowSettings,
        seed: int,
    ) -> None:
        self._selection, self._passages, self._places = selection, passages, places
        self._rank, self._guard, self._settings, self._seed = rank, guard, settings, seed
        self._examples = [at for at, example in enumerate(selection.kept) if example.split == split]
        self._members = [place for place, passage in enumerate(passages) if passage.split == split]
        self._variants = settings.variants if split == "train" else 1
        self._hard: dict[int, tuple[int, ...]] = {}
        self._answered = 0

    def answered(self) -> Iterator[Draft]:
        """Yield the rows whose context holds the answer; a variant that would say the same again is left out."""
        for at in self._examples:
            example = self._selection.kept[at]
            allowed = self._allowed(at)
            wanted = self._settings.hard * (self._variants + 1)
            self._hard[at] = tuple(islice((place for place in self._rank(example) if allowed(place)), wanted))
            seen = set()
            for variant in range(self._variants):
                draft = self._draft(at, variant, self._places[example.chunk], allowed)
                if draft.shown not in seen:
                    seen.add(draft.shown)
                    self._answered += 1
                    yield draft

    def absent(self) -> Iterator[Draft]:
        """Yield rows that no passage shown answers, in as many variants as others have, until they have their share."""
        share, kept = self._settings.absent_share, self._selection.kept
        wanted = round(share / (1 - share) * self._answered)
        for at in sorted(self._examples, key=lambda at: draw(self._seed, "absent", kept[at].id)):
            for extra in range(self._variants):
                if wanted <= 0:
                    return
                draft = self._draft(at, self._variants + extra, None, self._allowed(at))
                if draft.shown:
                    wanted -= 1
                    yield draft

    def _allowed(self, at: int) -> Allowed:
        example = self._selection.kept[at]
        rivals = self._selection.rivals.get(normal(example.question), frozenset())
        own = self._places[example.chunk]
        return _Distractors(example, own, self._passages, rivals, self._guard(example)).allowed

    def _draft(self, at: int, variant: int, own: int | None, allowed: Allowed) -> Draft:
        """Return a row of as many passages as fit; one without its own has one distractor more in its place."""
        example, settings = self._selection.kept[at], self._settings
        chosen = [] if own is None else [own]
        words = {self._passages[place].words for place in chosen}
        room = settings.context_tokens - sum(self._passages[place].tokens for place in chosen)

        def take(places: Iterator[int], total: int) -> None:
            nonlocal room
            for place in places:
                if len(chosen) >= total:
                    return
                passage = self._passages[place]
                if passage.tokens <= room and passage.words not in words:
                    chosen.append(place)
                    words.add(passage.words)
                    room -= passage.tokens

        hard, key = self._hard[at], (self._seed, example.id, variant)
        if hard:
            turn = variant * settings.hard % len(hard)  # each variant begins where the one before ended
            take(iter(hard[turn:] + hard[:turn]), settings.hard + len(chosen))
        take(filter(allowed, self._walk(*key)), 1 + settings.hard + settings.random)
        shown = tuple(sorted(chosen, key=lambda place: draw(*key, "place", self._passages[place].chunk.id)))
        position = None if own is None else shown.index(own)
        return Draft(at, variant, shown, position, settings.context_tokens - room)

    def _walk(self, *key: str | int) -> Iterator[int]:
        """Yield passages of the split from a drawn start in drawn steps, none twice."""
        count = len(self._members)
        start, step = draw(*key, "start") % count, 1 + draw(*key, "step") % count
        while gcd(step, count) != 1:
            step += 1
        for turn in range(min(count, RANDOM_STEPS)):
            yield self._members[(start + turn * step) % count]
