"""A base model's running batch: rows join, get one token per step, and leave.

Answers do not depend on the batch. Floating point sums depend on shapes, so a row's logits differ in the last digits
with its company; where that could change the chosen token, the choice is made on the logits of that row computed alone.
"""

import logging
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from functions.generate_text.generation import Generation, Token, wake
from functions.generate_text.kv_cache import BatchCache
from functions.generate_text.lora import LoraMixer
from functions.generate_text.sampling import choose

log = logging.getLogger(__name__)
# Error of a logit, relative to the row's largest, that a batch can cause (tests/functional measure it).
_NOISE = {torch.float32: 5e-5}


@dataclass(frozen=True)
class Limits:
    """Bounds of one base model's batch."""

    rows: int = 64
    """Rows that run together."""
    kv_tokens: int = 2**17
    """Rows times columns of the key-value buffer, padding included: bounds its memory."""
    prefill_tokens: int = 4096
    """Padded prompt tokens per prefill, so that running rows do not wait long."""
    queue: int = 2048
    """Requests that wait; one more is refused with OverloadedError."""


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
    decided_alone: int = 0
    """Choices too close to call in the batch, made on the row's own logits."""


class Base:
    """A base model in memory with its running batch; everything but `waiting` belongs to the engine's thread."""

    def __init__(self, model: PreTrainedModel, limits: Limits) -> None:
        self.model = model
        self.limits = limits
        self.device, self.dtype = model.device, model.dtype
        self.mixer = LoraMixer(model)
        self.waiting: deque[Generation] = deque()
        self.running: list[Generation] = []
        self.joining = 0
        """Rows in their prefill, neither waiting nor running yet."""
        self.cache = BatchCache()
        self.noise = _NOISE.get(self.dtype, 0.0)

    @property
    def bytes(self) -> int:
        """Memory of the weights in bytes."""
        return sum(p.numel() * p.element_size() for p in self.model.parameters())

    def step(self, statistics: Statistics) -> None:
        """One round: cancelled rows leave, waiting ones join, every running row gets one token."""
        self._leave([row for row, g in enumerate(self.running) if g.cancelled], statistics)
        group = self._admit(statistics)
        if group:
            self._prefill(group, statistics)
            self.joining = 0
        if self.running:
            self._decode(statistics)

    def fail(self, error: Exception) -> None:
        """End everything that runs, after a step that failed; what waits is tried again with an empty batch."""
        for generation in self.running:
            generation.fail(error)
        self.running, self.cache = [], BatchCache()

    def _admit(self, statistics: Statistics) -> list[Generation]:
        """The waiting generations that fit now, in order of arrival."""
        group: list[Generation] = []
        widest = max((len(g.prompt) + g.sampling.max_tokens for g in self.running), default=0)
        longest = 0
        while self.waiting and len(self.running) + len(group) < self.limits.rows:
            g = self.waiting[0]
            if g.cancelled:
                self.waiting.popleft()
                statistics.cancelled += 1
                continue
            widest = max(widest, len(g.prompt) + g.sampling.max_tokens)
            longest = max(longest, len(g.prompt))
            rows = len(self.running) + len(group) + 1
            if rows > 1 and rows * widest > self.limits.kv_tokens:
                break
            # A prompt whose logprobs are wanted needs logits at every position: it is prefilled alone.
            alone = g.sampling.prompt_logprobs or (group and group[0].sampling.prompt_logprobs)
            if group and (alone or (len(group) + 1) * longest > self.limits.prefill_tokens):
                break
            self.joining += 1
            group.append(self.waiting.popleft())
        return group

    def _prefill(self, group: list[Generation], statistics: Statistics) -> None:
        lengths = [len(g.prompt) for g in group]
        width = max(lengths)
        ids = torch.tensor([[0] * (width - n) + g.prompt for g, n in zip(group, lengths, strict=True)])
        mask = torch.arange(width) >= width - torch.tensor(lengths)[:, None]
        cache = DynamicCache()
        self.mixer.route([g.adapter for g in group])
        try:
            logits = self.forward(ids, mask, cache, keep=0 if group[0].sampling.prompt_logprobs else 1)
            if group[0].sampling.prompt_logprobs:
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
                g.fail(error)
            return
        staying = [row for row, g in enumerate(group) if g.finish is None]
        if staying:
            self.cache.join(cache, staying, max(lengths[row] for row in staying))
            self.running += [group[row] for row in staying]

    def _decode(self, statistics: Statistics) -> None:
        rows = self.running
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
        ids = torch.tensor([g.prompt + [t.id for t in g.tokens]])
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
