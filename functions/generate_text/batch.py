"""A base model's running batch: rows join, get one token per step, and leave.

Answers do not depend on the batch. Floating point sums depend on shapes, so a row's logits differ in the last digits
with its company; where that could change the chosen token, the choice is made on the logits of that row computed alone.
"""

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from functions.generate_text.fair_queue import FairQueue
from functions.generate_text.generation import Generation, Token, failure, wake
from functions.generate_text.grammars import ahead
from functions.generate_text.kv_cache import BatchCache
from functions.generate_text.lora import LoraMixer
from functions.generate_text.sampling import choose

log = logging.getLogger(__name__)
# Error of a logit, relative to the row's largest, that a batch can cause (tests/functional measure it).
_NOISE = {torch.float32: 5e-5}


@dataclass(frozen=True)
class BatchLimits:
    """Bounds of one base model's batch."""

    rows: int = 64
    """Rows that run together."""
    kv_tokens: int = 2**17
    """Rows times columns of the key-value buffer, padding included: bounds its memory."""
    prefill_tokens: int = 4096
    """Padded prompt tokens per prefill, so that running rows do not wait long."""
    queue: int = 2048
    """Choices of a tenant that wait; one more is refused with OverloadedError."""
    request_tokens: int = 2**18
    """Tokens of a request's prompts and answers together; a single choice may always fill its model's context."""


@dataclass
class Statistics:
    """What the loop has done since it started."""

    steps: int = 0
    rows: Counter[int] = field(default_factory=Counter)
    """Decode steps by number of rows."""
    mixed_steps: int = 0
    """Decode steps whose rows used more than one adapter (the base counts as one)."""
    prefills: int = 0
    tokens: int = 0
    cancelled: int = 0
    put_back: int = 0
    """Rows that made room for another tenant and were prefilled again."""
    decided_alone: int = 0
    """Choices too close to call in the batch, made on the row's own logits."""


class Base:
    """A base model in memory with its running batch; everything but `waiting` belongs to the engine's thread."""

    def __init__(self, model: PreTrainedModel, limits: BatchLimits) -> None:
        self.model = model
        self.limits = limits
        self.device, self.dtype = model.device, model.dtype
        self.mixer = LoraMixer(model)
        self.waiting = FairQueue(limits.queue)
        self.running: list[Generation] = []
        self.joining: list[Generation] = []
        """Those in their prefill, neither waiting nor running yet."""
        self.cache = BatchCache()
        self.noise = _NOISE.get(self.dtype, 0.0)

    @property
    def bytes(self) -> int:
        """Memory of the weights in bytes."""
        return sum(p.numel() * p.element_size() for p in self.model.parameters())

    def step(self, statistics: Statistics) -> None:
        """One round: cancelled rows leave, waiting ones join, every running row gets one token."""
        self._leave([row for row, g in enumerate(self.running) if g.cancelled], statistics)
        statistics.cancelled += self.waiting.drop_cancelled()
        self._admit(statistics)
        if self.joining:
            self._prefill(self.joining, statistics)
            self.joining = []
        if self.running:
            self._decode(statistics)

    def fail(self, error: BaseException) -> None:
        """End everything that runs or joins, after a step that failed; what waits is tried with an empty batch."""
        told = failure(error)
        for generation in (*self.running, *self.joining):
            generation.fail(told)
        self.running, self.joining, self.cache = [], [], BatchCache()

    def close(self, error: BaseException) -> None:
        """End everything, what waits included."""
        self.joining += self.waiting.drain()
        self.fail(error)

    def _admit(self, statistics: Statistics) -> None:
        """Let those join that fit now, in the order of their turns; who has too many rows makes room."""
        rows = Counter(g.tenant for g in self.running)
        while (g := self.waiting.next(rows)) is not None and self._prefills(g) and self._make_room(g, rows, statistics):
            self.waiting.take(g)
            self.joining.append(g)
            rows[g.tenant] += 1

    def _prefills(self, g: Generation) -> bool:
        """Whether it may be prefilled together with those that join already."""
        if not self.joining:
            return True
        longest = max(each.length for each in (*self.joining, g))
        alone = g.whole or self.joining[0].whole
        return not alone and (len(self.joining) + 1) * longest <= self.limits.prefill_tokens

    def _make_room(self, g: Generation, rows: Counter[str], statistics: Statistics) -> bool:
        """Whether it fits into the batch, perhaps after rows of a tenant with more than one more than its own left.

        The row with the fewest tokens waits again, first of its tenant, and is prefilled with what it had.
        """
        while not self._fits(g):
            having = max(rows[each.tenant] for each in self.running) if self.running else 0
            if having <= rows[g.tenant] + 1:
                return False
            many = [row for row, each in enumerate(self.running) if rows[each.tenant] == having]
            row = min(many, key=lambda row: len(self.running[row].tokens))
            loser = self.running[row]
            self._leave([row], statistics)
            self.waiting.put_back(loser)
            rows[loser.tenant] -= 1
            statistics.put_back += 1
        return True

    def _fits(self, g: Generation) -> bool:
        together = (*self.running, *self.joining, g)
        columns = max(each.reserved for each in together)
        return len(together) <= self.limits.rows and (
            len(together) == 1 or len(together) * columns <= self.limits.kv_tokens
        )

    def _prefill(self, group: list[Generation], statistics: Statistics) -> None:
        lengths = [g.length for g in group]
        width = max(lengths)
        ids = torch.tensor([[0] * (width - g.length) + g.ids for g in group])
        mask = torch.arange(width) >= width - torch.tensor(lengths)[:, None]
        cache = DynamicCache()
        self.mixer.route([g.adapter for g in group])
        try:
            whole = group[0].whole
            logits = self.forward(ids, mask, cache, keep=0 if whole else 1)
            if whole:
                group[0].prompt_logprobs = _prompt_logprobs(logits[0], group[0])
            statistics.prefills += 1
            for g in group:
                if g.sampling.max_tokens == 0:
                    g.finish = "length"
            wake([g for g in group if g.finish is not None])
            open_rows = [row for row, g in enumerate(group) if g.finish is None]
            if open_rows:
                self._take([group[row] for row in open_rows], logits[open_rows, -1], statistics)
        except Exception as error:
            log.exception("a prefill of %d requests failed", len(group))
            for g in group:
                g.fail(failure(error))
            return
        staying = [row for row, g in enumerate(group) if g.finish is None]
        if staying:
            self.cache.join(cache, staying, max(lengths[row] for row in staying))
            self.running += [group[row] for row in staying]

    def _decode(self, statistics: Statistics) -> None:
        rows = self.running
        ahead([g.sampling.constraint for g in rows if g.sampling.constraint is not None])
        self.mixer.route([g.adapter for g in rows])
        self.cache.prepare()
        # The newest token of a row is not in the cache yet, so it attends to `length` columns, itself included.
        lengths = torch.tensor([g.length for g in rows])[:, None]
        width = self.cache.width + 1
        ids = torch.tensor([[g.tokens[-1].id] for g in rows])
        logits = self.forward(ids, torch.arange(width) >= width - lengths, self.cache, positions=lengths - 1)
        self.cache.advance()
        statistics.steps += 1
        statistics.rows[len(rows)] += 1
        statistics.mixed_steps += len({g.adapter for g in rows}) > 1
        self._take(rows, logits[:, -1], statistics)
        self._leave([row for row, g in enumerate(rows) if g.finish is not None], statistics)

    def forward(
        self, ids: Tensor, mask: Tensor, cache: Any, *, positions: Tensor | None = None, keep: int = 1
    ) -> Tensor:
        """Logits [rows, kept positions, vocabulary] in float32."""
        if positions is None:
            positions = (mask.long().cumsum(-1) - 1).clamp(min=0)
        output = self.model(
            input_ids=ids.to(self.device),
            attention_mask=mask.long().to(self.device),
            position_ids=positions.to(self.device),
            past_key_values=cache,
            use_cache=cache is not None,
            logits_to_keep=keep,
        )
        logits: Tensor = output.logits
        return logits.float()

    def _take(self, rows: list[Generation], logits: Tensor, statistics: Statistics) -> None:
        """Choose every row's next token and hand it out."""
        choosers = [g.chooser for g in rows]
        tokens, sure = choose(logits, choosers, self.noise)
        if self.noise and not all(sure):
            for row in (row for row, certain in enumerate(sure) if not certain):
                alone = self._alone(rows[row])
                tokens[row] = choose(alone, [choosers[row]], self.noise)[0][0]
                statistics.decided_alone += 1
        told = _told(rows, logits, tokens)
        wake([g for g, token in zip(rows, told, strict=True) if g.take(token)])
        statistics.tokens += len(rows)

    def _alone(self, g: Generation) -> Tensor:
        """The row's next logits [1, vocabulary] from one forward over all its tokens: the same in any company."""
        self.mixer.route([g.adapter])
        ids = torch.tensor([g.ids])
        return self.forward(ids, torch.ones_like(ids), None)[:, -1]

    def _leave(self, holes: list[int], statistics: Statistics) -> None:
        if not holes:
            return
        statistics.cancelled += sum(self.running[row].cancelled for row in holes)
        gone = set(holes)
        # One token of each row that stays is not in the cache yet.
        longest = max((g.length - 1 for row, g in enumerate(self.running) if row not in gone), default=0)
        rows = list(self.running)
        for source, target in self.cache.leave(holes, longest):
            rows[target] = rows[source]
        self.running = rows[: self.cache.rows]
        if not self.running:
            self.cache = BatchCache()  # an idle model holds no buffers


def _told(rows: list[Generation], logits: Tensor, tokens: list[int]) -> list[Token]:
    """Tokens with the logprobs that their rows asked for, from the logits as the model made them."""
    told = [Token(token) for token in tokens]
    asking = [row for row, g in enumerate(rows) if g.sampling.logprobs is not None]
    if asking:
        table = torch.log_softmax(logits[asking], dim=-1)
        for line, row in zip(table, asking, strict=True):
            told[row] = _with_logprobs(line, tokens[row], rows[row].sampling.logprobs or 0)
    return told


def _with_logprobs(line: Tensor, token: int, k: int) -> Token:
    values, ids = line.topk(k) if k else (line[:0], line[:0])
    return Token(token, float(line[token]), tuple(zip(ids.long().tolist(), values.tolist(), strict=True)))


def _prompt_logprobs(logits: Tensor, g: Generation) -> list[Token | None]:
    """The prompt's tokens under the model: position i is predicted by the logits of position i - 1."""
    lines = (torch.log_softmax(row, dim=-1) for row in logits[:-1])
    k = g.sampling.logprobs or 0
    return [None, *(_with_logprobs(line, token, k) for line, token in zip(lines, g.prompt[1:], strict=True))]
