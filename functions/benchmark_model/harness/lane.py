"""lm-eval's own model with two differences: each batch is kept when it is answered, and letters take a short way.

A multiple-choice question whose choices are a few tokens each needs the distribution at as many positions. lm-eval
computes logits and log-softmax at all of them, most of the work where the vocabulary is large; here the output layer
sees those positions alone. Batches, padding and model are lm-eval's, so scores are too: a product of another shape may
differ in the last bits, and what such a difference could decide is asked again in lm-eval's way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM

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
_ROUNDING = 64 * torch.finfo(torch.float32).eps
"""How far sums of products in another order may lie apart, of the largest one."""


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
        answers: dict[int, Answer] = {}
        parts = list(batches(requests, int(self.batch_size)))
        for indices in parts:
            asked = [requests[index] for index in indices]
            self.cut += sum(len(context) + len(choice) > self.max_length + 1 for _, context, choice in asked)
            answers.update(zip(indices, self._kept(asked, self._score), strict=True))
            self.on_batch(len(asked))
        unsure = doubtful(requests, answers)
        for indices in parts:
            if unsure.intersection(indices):
                asked = [requests[index] for index in indices]
                answers.update(zip(indices, self._kept(asked, self._surely, "surely"), strict=True))
        return [(float(answers[index][0]), bool(answers[index][1])) for index in range(len(requests))]

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Answer in lm-eval's own batches, each kept."""
        answers: dict[int, str] = {}
        for indices in self._prompts(requests):
            asked = [requests[index] for index in indices]
            said = self._kept(
                [request.args for request in asked],
                lambda _, asked=asked: self._generate(asked),  # type: ignore[misc]
            )
            answers.update(zip(indices, said, strict=True))
            self.on_batch(len(asked))
        return [answers[index] for index in range(len(requests))]

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

    def _score(self, requests: list[Request]) -> list[Answer]:
        raise NotImplementedError

    def _surely(self, requests: list[Request]) -> list[Answer]:
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
        doubt = sum(answers[index][2] for index in choices.values())
        for size in _SIZES:
            values = sorted(answers[index][0] / max(size(text), 1) for text, index in choices.items())
            if doubt and any(after - before < doubt for before, after in pairwise(values)):
                found.update(choices.values())
    return found


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

    def _score(self, requests: list[Request]) -> list[Answer]:
        short = all(texts and texts[0] and len(choice) <= _SHORT for texts, _, choice in requests)
        answers = self._last(requests) if self.direct and short else None
        return answers or self._surely(requests)

    def _surely(self, requests: list[Request]) -> list[Answer]:
        said = HFLM._loglikelihood_tokens(self, requests, disable_tqdm=True)  # noqa: SLF001  its own way
        return [(value, greedy, 0.0) for value, greedy in said]

    def _generate(self, requests: list[Any]) -> list[str]:
        said: list[str] = HFLM.generate_until(self, requests, disable_tqdm=True)
        return said

    @torch.no_grad()
    def _last(self, requests: list[Request]) -> list[Answer] | None:
        """Score short choices at their positions; None where this model's output layer is called in another way."""
        rows: dict[tuple[int, ...], list[int]] = {}
        for index, (_, context, choice) in enumerate(requests):
            rows.setdefault(tuple((context + choice)[-(self.max_length + 1) : -1]), []).append(index)
        lengths = torch.tensor([len(row) for row in rows], device=self.device)
        longest, width = int(lengths.max()), max(len(choice) for _, _, choice in requests)
        padded = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=self.device)
        self._wanted = (lengths.unsqueeze(1) - torch.arange(width, 0, -1, device=self.device)).clamp(min=0)
        try:
            logits = self._model_call(padded)
        finally:
            self._wanted = None
        if logits.shape[:2] != (len(rows), width):
            return None
        scores = torch.nn.functional.log_softmax(logits, dim=-1, dtype=self.softmax_dtype)
        best = scores.topk(2, dim=-1)
        doubts = (2 * torch.finfo(scores.dtype).eps * (scores.dtype != torch.float32) + _ROUNDING) * (
            logits.abs().amax(dim=(1, 2)).clamp(min=1).float()
        )
        answers: list[Answer] = [(0.0, False, 0.0)] * len(requests)
        for row, indices in enumerate(rows.values()):
            doubt = float(doubts[row])
            for index in indices:
                tokens = torch.tensor(requests[index][2], device=self.device)
                at = slice(width - len(tokens), width)
                values = scores[row, at].gather(1, tokens.unsqueeze(1)).squeeze(1)
                first, second = best.values[row, at].unbind(1)
                lead = torch.where(first == values, first - second, first - values)  # to what decides greedy or not
                unsure = bool((lead < doubt).any())
                greedy = bool((best.indices[row, at, 0] == tokens).all())
                answers[index] = (float(values.sum()), greedy, _UNSURE if unsure else doubt * len(tokens))
        return answers
