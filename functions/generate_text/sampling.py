"""From logits to tokens: penalties, temperature, nucleus, seeds, and whether rounding could change the answer."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from functions.generate_text.grammars import Constraint


@dataclass(frozen=True)
class Sampling:
    """What one choice of a request asks for; token ids only."""

    max_tokens: int
    """Tokens to make at most, the end token included; 0 makes none (the prompt's logprobs are still computed)."""
    temperature: float = 1.0
    """0 takes the likeliest token."""
    top_p: float = 1.0
    seed: int | str = 0
    """The same seed gives the same tokens, whatever else is in the batch."""
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    stop_ids: frozenset[int] = frozenset()
    """Tokens that end the answer; they are handed out as its last token."""
    min_tokens: int = 0
    """Tokens before an end token is allowed."""
    logprobs: int | None = None
    """None: no logprobs; otherwise how many alternatives each token is given with."""
    prompt_logprobs: bool = False
    constraint: Constraint | None = None
    """Of this choice alone: it has a state."""


_COLDEST = 1e-5
"""Below it, sampling is taking the likeliest token, and its arithmetic ends in infinities."""


class Chooser:
    """Draws the tokens of one choice; holds its random state and the counts that penalties need."""

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self.counts: Counter[int] = Counter()
        self.made = 0
        self._random = random.Random(f"temper:{sampling.seed}")
        self._draw: float | None = None

    @property
    def draw(self) -> float:
        """The uniform number of the coming token; the same one until `took` is called."""
        if self._draw is None:
            self._draw = self._random.random()
        return self._draw

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken: an empty nucleus holds it alone."""
        return self.sampling.temperature < _COLDEST or self.sampling.top_p == 0

    @property
    def edits(self) -> bool:
        """Whether logits are changed before the choice."""
        s = self.sampling
        penalised = bool(s.presence_penalty or s.frequency_penalty) and bool(self.counts)
        return penalised or bool(s.logit_bias) or self.made < s.min_tokens

    @property
    def ended(self) -> bool:
        """Whether nothing may follow what it is held to."""
        return self.sampling.constraint is not None and self.sampling.constraint.ended

    @property
    def error(self) -> str | None:
        """Why what it is held to cannot be followed."""
        return self.sampling.constraint.error if self.sampling.constraint else None

    def edit(self, logits: Tensor) -> None:
        """Apply penalties, bias and the ban on early ends, in place, to logits [vocabulary]."""
        s = self.sampling
        changes: dict[int, float] = dict(s.logit_bias)
        if s.presence_penalty or s.frequency_penalty:
            for token, count in self.counts.items():
                changes[token] = changes.get(token, 0.0) - s.presence_penalty - s.frequency_penalty * count
        if changes:
            ids = torch.tensor(list(changes), device=logits.device)
            logits[ids] += torch.tensor(list(changes.values()), device=logits.device, dtype=logits.dtype)
        if self.made < s.min_tokens and s.stop_ids:
            logits[torch.tensor(sorted(s.stop_ids), device=logits.device)] = -torch.inf

    def took(self, token: int) -> None:
        """Record the token chosen."""
        self.made += 1
        self.counts[token] += 1
        self._draw = None
        if self.sampling.constraint is not None:
            self.sampling.constraint.took(token)


def choose(logits: Tensor, choosers: Sequence[Chooser], noise: float) -> tuple[list[int], list[bool]]:
    """Choose each row's token, and say whether logits [rows, vocabulary] off by `noise` would still choose it.

    A choice that rounding could turn is marked False: the caller decides it on logits that do not depend on the batch.
    """
    # Rounding errors grow with the size of the logits (as the model made them).
    noise_of = noise * logits.abs().amax(-1).clamp(min=1.0)
    held = {row: c.sampling.constraint.banned() for row, c in enumerate(choosers) if c.sampling.constraint is not None}
    if any(c.edits for c in choosers) or 0 < len(held) < len(choosers):
        logits = logits.clone()
        for row, chooser in enumerate(choosers):
            if chooser.edits:
                chooser.edit(logits[row])
    if held:
        banned = torch.stack([*held.values()]).to(logits.device)
        if len(held) == len(choosers):
            logits = logits.masked_fill(banned, -torch.inf)
        else:
            logits[[*held]] = logits[[*held]].masked_fill(banned, -torch.inf)
    drawn = [row for row, c in enumerate(choosers) if not c.greedy]
    if not drawn:
        return _greedy(logits, noise_of)
    tokens, sure = [0] * len(choosers), [True] * len(choosers)
    greedy = [row for row, c in enumerate(choosers) if c.greedy]
    if greedy:
        for row, token, certain in zip(greedy, *_greedy(logits[greedy], noise_of[greedy]), strict=True):
            tokens[row], sure[row] = token, certain
    results = _draw(logits[drawn], [choosers[row] for row in drawn], noise_of[drawn])
    for row, token, certain in zip(drawn, *results, strict=True):
        tokens[row], sure[row] = token, certain
    return tokens, sure


def _greedy(logits: Tensor, noise: Tensor) -> tuple[list[int], list[bool]]:
    values, ids = logits.topk(2, dim=-1)
    return ids[:, 0].tolist(), (values[:, 0] - values[:, 1] > 2 * noise).tolist()


def _draw(logits: Tensor, choosers: Sequence[Chooser], noise: Tensor) -> tuple[list[int], list[bool]]:
    """Invert the cumulative distribution in token order (an order that rounding cannot change) at each row's draw."""

    def column(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=logits.device)[:, None]

    temperature = column([c.sampling.temperature for c in choosers])
    p = torch.softmax(logits.double() / temperature, dim=-1)
    # Errors of e in the logits change the odds of a probability, or of a sum of them, by at most exp(2e / temperature).
    turn = torch.expm1(2 * noise[:, None].double() / temperature)
    top_p = column([c.sampling.top_p for c in choosers])
    loose = torch.zeros_like(top_p)
    if bool((top_p < 1).any()):
        p, loose = _nucleus(p, top_p, turn)
    reach = p.cumsum(-1)
    total = reach[:, -1:]
    draw = column([c.draw for c in choosers])
    token = torch.searchsorted(reach, draw * total, right=True).clamp(max=p.shape[-1] - 1)
    upper = reach.gather(-1, token) / total
    lower = upper - p.gather(-1, token) / total
    least, most = (_moved(border, turn) + loose for border in (lower, upper))
    sure = (upper - draw > most) & (draw - lower > least)
    return token[:, 0].tolist(), sure[:, 0].tolist()


def _nucleus(p: Tensor, top_p: Tensor, turn: Tensor) -> tuple[Tensor, Tensor]:
    """Return probabilities that are zero outside the nucleus, and how far what rounding puts in or out moves a sum."""
    ordered, order = p.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered
    kept = (before < top_p) | (top_p >= 1)
    within = torch.zeros_like(p).scatter(-1, order, ordered * kept)
    # The last token in the nucleus is one of these places, by how far the sums before them can move.
    off = _moved(before, turn)
    first = ((before + off < top_p).sum(-1, keepdim=True) - 1).clamp(min=0)
    last = ((before - off < top_p).sum(-1, keepdim=True) - 1).clamp(min=0)
    most, least = ordered.gather(-1, first) * (1 + turn), ordered.gather(-1, last) / (1 + turn)
    doubtful = (ordered <= most) & (ordered >= least) & (top_p < 1)
    mass = (ordered * doubtful).sum(-1, keepdim=True) * (doubtful.sum(-1, keepdim=True) > 1)
    return within, (1 + turn) ** 2 * mass / (within.sum(-1, keepdim=True) - mass).clamp(min=1e-9)


def _moved(border: Tensor, turn: Tensor) -> Tensor:
    """Return how far the probability `border` can move, both ways, when its odds change by the factor 1 + `turn`."""
    return (border * (1 - border)).clamp(min=0) * turn
