"""lm-eval's own model with two differences: each batch is kept when it is answered, and letters take a short way.

Choices of a few tokens need the distribution at as few positions. lm-eval computes logits and log-softmax at all of
them, and the whole context again for every question, though the examples before it are the same. Here the output layer
sees the wanted positions alone, and what all questions of a batch begin with is computed once. That changes the order
of sums, so the last bits; what such a difference could decide is asked again in lm-eval's own way and batches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any

import torch
from lm_eval import utils
from lm_eval.models.huggingface import HFLM
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from functions.benchmark_model.harness.journal import Journal, key

Request = tuple[tuple[str, str] | None, list[int], list[int]]
"""Texts of context and continuation, and their tokens."""
Answer = tuple[float, bool, float]
"""Log-likelihood, whether it is what the model would say, and by how much lm-eval's may differ."""
_RECENT = 4
"""Encoded texts that are remembered."""
_SHORT = 4
"""Tokens of a choice that is still short."""
_SIZES: tuple[Callable[[str], int], ...] = (
    lambda _: 1,
    lambda text: len(text.strip()),
    lambda text: len(text.strip().encode()),
)
_UNSURE = 1e9
_ROUNDING = 32 * torch.finfo(torch.float32).eps
"""How far logits may lie apart when sums are taken in another order, of the largest one."""
_TEMPLATES = 1024
_BEGINNING = 64
"""Tokens by which contexts are told to begin alike."""
_SHARED = 16
"""Tokens that are worth computing once."""


class Kept:
    """Mixed into a model of lm-eval's: asks batch by batch, and only what the journal has no answer to."""

    journal: Journal
    on_batch: Callable[[int], None] = staticmethod(lambda _asked: None)
    """Told how many requests have got an answer."""
    cut = 0
    """Requests that were longer than the model's context."""
    tokenizer: Any
    batch_size: Any
    max_length: int

    def __init__(self, **options: Any) -> None:
        self._recent: dict[Any, list[int]] = {}
        super().__init__(**options)

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **options: Any) -> list[int]:
        """Encode as lm-eval does; it asks for the same context once for each choice."""
        wanted = (string, add_special_tokens, *sorted(options.items()))
        if wanted not in self._recent:
            if len(self._recent) >= _RECENT:
                self._recent.pop(next(iter(self._recent)))
            self._recent[wanted] = HFLM.tok_encode(self, string, add_special_tokens, **options)
        return list(self._recent[wanted])

    def _loglikelihood_tokens(self, requests: list[Request], **_options: Any) -> list[tuple[float, bool]]:
        size = int(self.batch_size)
        self.cut += sum(len(context) + len(choice) > self.max_length + 1 for _, context, choice in requests)
        answers: dict[int, Answer] = {}
        parts = list(batches(requests, size))
        if self._all_short(requests):
            for indices in by_context(requests, size):
                answers.update(
                    zip(indices, self._kept([requests[i] for i in indices], self._last, "short"), strict=True)
                )
                self.on_batch(len(indices))
            unsure = doubtful(requests, answers)
            parts = [indices for indices in parts if unsure.intersection(indices)]
        for indices in parts:
            new = sum(index not in answers for index in indices)
            answers.update(zip(indices, self._kept([requests[i] for i in indices], self._score), strict=True))
            self.on_batch(new)
        return [(float(answers[index][0]), bool(answers[index][1])) for index in range(len(requests))]

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Answer in lm-eval's own batches, each kept."""
        answers: dict[int, str] = {}
        for indices in self._prompts(requests):
            asked = [requests[index] for index in indices]
            said = self._kept([request.args for request in asked], partial(self._generate_each, asked))
            answers.update(zip(indices, said, strict=True))
            self.on_batch(len(asked))
        return [answers[index] for index in range(len(requests))]

    def _generate_each(self, asked: list[Any], _: list[Any]) -> list[str]:
        return self._generate(asked)

    def _prompts(self, requests: list[Any]) -> Iterator[list[int]]:
        """Batches as HFLM makes them: of the same settings, the longest first."""
        groups: dict[str, list[int]] = {}
        for index, request in enumerate(requests):
            groups.setdefault(str(request.args[1]), []).append(index)
        for group in groups.values():
            ordered = sorted(group, key=lambda i: (-len(self.tok_encode(requests[i].args[0])), requests[i].args[0]))
            size = int(self.batch_size)
            yield from (ordered[at : at + size] for at in range(0, len(ordered), size))

    def _kept(self, asked: list[Any], ask: Callable[[list[Any]], list[Any]], way: str = "") -> list[Any]:
        batch = key([way, *asked])
        said = self.journal.get(batch)
        if said is None:
            said = ask(asked)
            self.journal.add(batch, said)
        return said

    def _all_short(self, _requests: list[Request]) -> bool:
        return False

    def _last(self, requests: list[Request]) -> list[Answer]:
        raise NotImplementedError

    def _score(self, requests: list[Request]) -> list[Answer]:
        raise NotImplementedError

    def _generate(self, requests: list[Any]) -> list[str]:
        raise NotImplementedError


def batches(requests: Sequence[Request], size: int) -> Iterator[list[int]]:
    """Yield the batches that lm-eval makes, as indices: requests of one context together, the longest first."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, (_, context, choice) in enumerate(requests):
        groups.setdefault(tuple(context + choice[:-1]), []).append(index)

    def first(group: list[int]) -> tuple[int, tuple[int, ...]]:
        longest = max(group, key=lambda index: len(requests[index][2]))
        tokens = requests[longest][1] + requests[longest][2]
        return -len(tokens), tuple(tokens)

    ordered = sorted(groups.values(), key=first)
    for at in range(0, len(ordered), size):
        yield [index for group in ordered[at : at + size] for index in group]


def by_context(requests: Sequence[Request], size: int) -> Iterator[list[int]]:
    """Yield batches of `size` contexts with all their choices, as indices: what begins alike together."""
    contexts: dict[tuple[int, ...], list[int]] = {}
    for index, (_, context, _) in enumerate(requests):
        contexts.setdefault(tuple(context), []).append(index)
    begun = Counter(context[:_BEGINNING] for context in contexts)

    def place(context: tuple[int, ...]) -> tuple[Any, ...]:
        beginning = context[:_BEGINNING]
        return beginning if begun[beginning] >= size else (), -len(context), context

    ordered = sorted(contexts, key=place)
    for at in range(0, len(ordered), size):
        yield [index for context in ordered[at : at + size] for index in contexts[context]]


def doubtful(requests: Sequence[Request], answers: Mapping[int, Answer]) -> set[int]:
    """Return the requests of every context whose choices lie so close that the difference could order them otherwise.

    lm-eval compares log-likelihoods as they are, for each character and for each byte.
    """
    contexts: dict[str, dict[str, int]] = {}
    for index, (texts, _, _) in enumerate(requests):
        if texts is not None:
            contexts.setdefault(texts[0], {})[texts[1]] = index
    found: set[int] = set()
    for choices in contexts.values():
        doubt = 2 * max(answers[index][2] for index in choices.values())
        for size in _SIZES:
            values = sorted(answers[index][0] / max(size(text), 1) for text, index in choices.items())
            if doubt and any(after - before < doubt for before, after in pairwise(values)):
                found.update(choices.values())
    return found


@contextmanager
def templates_remembered() -> Iterator[None]:
    """Let lm-eval compile a template once; else it does so again for every document and example."""
    utils.env.from_string = lru_cache(maxsize=_TEMPLATES)(utils.env.from_string)
    try:
        yield
    finally:
        del utils.env.from_string


class Direct(Kept, HFLM):  # type: ignore[misc]
    """A causal model in this process."""

    direct = True
    """Whether letters take the short way."""
    _wanted: torch.Tensor | None = None
    """Positions of each row that the output layer sees; None: all."""

    def __init__(self, **options: Any) -> None:
        super().__init__(backend="causal", **options)
        self.model.get_output_embeddings().register_forward_pre_hook(self._only_wanted)

    def _only_wanted(self, _layer: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if self._wanted is None:
            return None
        hidden = args[0]
        return (hidden[torch.arange(len(hidden), device=hidden.device).unsqueeze(1), self._wanted], *args[1:])

    def _all_short(self, requests: list[Request]) -> bool:
        """In half precision the last bits are worth too much."""
        learned = getattr(getattr(self.model, "active_peft_config", None), "is_prompt_learning", False)
        return (
            self.direct
            and not learned
            and self.model.dtype == torch.float32
            and all(texts and texts[0] and len(choice) <= _SHORT for texts, _, choice in requests)
        )

    def _score(self, requests: list[Request]) -> list[Answer]:
        said = HFLM._loglikelihood_tokens(self, requests, disable_tqdm=True)  # noqa: SLF001  its own way
        return [(value, greedy, 0.0) for value, greedy in said]

    def _generate(self, requests: list[Any]) -> list[str]:
        said: list[str] = HFLM.generate_until(self, requests, disable_tqdm=True)
        return said

    def _last(self, requests: list[Request]) -> list[Answer]:
        """Score short choices at their positions; what does not fit, or a model of another kind, is unsure."""
        answers: list[Answer] = [(0.0, False, _UNSURE)] * len(requests)
        inputs = {
            index: tuple((context + choice)[:-1])
            for index, (_, context, choice) in enumerate(requests)
            if len(context) + len(choice) <= self.max_length + 1
        }
        if not inputs:
            return answers
        rows = _rows(inputs.values())
        width = max(len(rows[row]) - len(row) + len(requests[index][2]) for index, row in inputs.items())
        distinct = list(dict.fromkeys(rows.values()))
        logits = self._at_end(distinct, width)
        if logits is None:
            return answers
        scores = torch.nn.functional.log_softmax(logits, dim=-1, dtype=self.softmax_dtype)
        best = scores.topk(2, dim=-1)
        doubts = (_ROUNDING * logits.abs().amax(dim=(1, 2)).clamp(min=1)).tolist()
        places = {row: place for place, row in enumerate(distinct)}
        for index, row in inputs.items():
            place, tokens = places[rows[row]], torch.tensor(requests[index][2], device=self.device)
            end = width - len(rows[row]) + len(row)
            at = slice(end - len(tokens), end)
            values = scores[place, at].gather(1, tokens.unsqueeze(1)).squeeze(1)
            first, second = best.values[place, at].unbind(1)
            margin = torch.where(first == values, first - second, first - values)  # to what decides greedy or not
            unsure = bool((margin < doubts[place]).any())
            greedy = bool((best.indices[place, at, 0] == tokens).all())
            answers[index] = (float(values.sum()), greedy, _UNSURE if unsure else doubts[place] * len(tokens))
        return answers

    @torch.no_grad()
    def _at_end(self, rows: Sequence[tuple[int, ...]], width: int) -> torch.Tensor | None:
        """Logits at the last `width` positions of each row; None where the output layer is called in another way."""
        lengths = torch.tensor([len(row) for row in rows], device=self.device)
        shared = min(_alike(min(rows), max(rows)), int(lengths.min()) - width)
        cache = self._cache(rows[0][:shared]) if shared >= _SHARED else None
        start = shared if cache is not None else 0
        longest = int(lengths.max())
        padded = torch.tensor([[*row[start:], *[0] * (longest - len(row))] for row in rows], device=self.device)
        self._wanted = (lengths.unsqueeze(1) - start - torch.arange(width, 0, -1, device=self.device)).clamp(min=0)
        try:
            if cache is not None:
                cache.batch_repeat_interleave(len(rows))
            logits: torch.Tensor = self.model(padded, past_key_values=cache, use_cache=cache is not None).logits
        finally:
            self._wanted = None
        return logits if logits.shape[:2] == (len(rows), width) else None

    def _cache(self, tokens: Sequence[int]) -> Any:
        """Keys and values of what all rows begin with; None for a model that keeps something else."""
        self._wanted = torch.zeros((1, 1), dtype=torch.long, device=self.device)
        try:
            cache = self.model(torch.tensor([tokens], device=self.device), use_cache=True).past_key_values
        finally:
            self._wanted = None
        plain = type(cache) is DynamicCache and all(type(layer) is DynamicLayer for layer in cache.layers)
        return cache if plain else None


def _rows(inputs: Iterable[tuple[int, ...]]) -> dict[tuple[int, ...], tuple[int, ...]]:
    """Return for each input the longest one that begins with it."""
    found: dict[tuple[int, ...], tuple[int, ...]] = {}
    ordered = sorted(set(inputs))
    for here, after in zip(reversed(ordered), [(), *reversed(ordered)], strict=False):
        longest = found[after] if after else here
        found[here] = longest if longest[: len(here)] == here else here
    return found


def _alike(first: Sequence[int], last: Sequence[int]) -> int:
    """Return how many tokens two rows begin with alike; of the first and last in order, that many all have."""
    same = (at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b)
    return next(same, min(len(first), len(last)))
