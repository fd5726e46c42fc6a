"""lm-eval's own model with two differences: each batch is kept when it is answered, and letters take a short way.

A multiple-choice question whose choices are one token each needs the distribution at one position. lm-eval computes
logits and log-softmax at all of them, most of the work where the vocabulary is large; here the output layer sees that
position alone. Batches, padding and model are lm-eval's, so scores are too: a product of another shape may differ in
the last bits, and where that could change a decision the batch takes lm-eval's way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM

from functions.benchmark_model.harness.journal import Journal, key

Request = tuple[tuple[str, str] | None, list[int], list[int]]
"""Texts of context and continuation, and their tokens."""
Answer = tuple[float, bool]
"""Log-likelihood, and whether it is what the model would say."""
_RECENT = 4
"""Encoded texts that are remembered."""


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

    def _loglikelihood_tokens(self, requests: list[Request], **_options: Any) -> list[Answer]:
        answers: dict[int, Answer] = {}
        for indices in batches(requests, int(self.batch_size)):
            asked = [requests[index] for index in indices]
            self.cut += sum(len(context) + len(choice) > self.max_length + 1 for _, context, choice in asked)
            said = self._kept(asked, self._score)
            answers.update(zip(indices, [(float(value), bool(greedy)) for value, greedy in said], strict=True))
        return [answers[index] for index in range(len(requests))]

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

    def _kept(self, asked: list[Any], ask: Callable[[list[Any]], list[Any]]) -> list[Any]:
        batch = key(asked)
        said = self.journal.get(batch)
        if said is None:
            said = ask(asked)
            self.journal.add(batch, said)
        self.on_batch(len(asked))
        return said

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


class Direct(Kept, HFLM):  # type: ignore[misc]
    """A causal model in this process."""

    direct = True
    """Whether letters take the short way."""
    _last: torch.Tensor | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__(backend="causal", **options)
        self.model.get_output_embeddings().register_forward_pre_hook(self._only_last)

    def _only_last(self, _layer: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if self._last is None:
            return None
        hidden = args[0]
        return (hidden[torch.arange(len(hidden), device=hidden.device), self._last].unsqueeze(1), *args[1:])

    def _score(self, requests: list[Request]) -> list[Answer]:
        if self.direct and all(len(choice) == 1 for _, _, choice in requests):
            answers = self._letters(requests)
            if answers is not None:
                return answers
        said: list[Answer] = HFLM._loglikelihood_tokens(self, requests, disable_tqdm=True)  # noqa: SLF001  its own way
        return said

    def _generate(self, requests: list[Any]) -> list[str]:
        said: list[str] = HFLM.generate_until(self, requests, disable_tqdm=True)
        return said

    @torch.no_grad()
    def _letters(self, requests: list[Request]) -> list[Answer] | None:
        """Score one-token choices at the last position; None where that could decide otherwise than lm-eval."""
        contexts: dict[tuple[int, ...], list[int]] = {}
        for index, (_, context, _) in enumerate(requests):
            contexts.setdefault(tuple(context[-self.max_length :]), []).append(index)
        lengths = [len(context) for context in contexts]
        padded = [[*context, *[0] * (max(lengths) - len(context))] for context in contexts]
        self._last = torch.tensor(lengths, device=self.device) - 1
        try:
            logits = self._model_call(torch.tensor(padded, device=self.device))
        finally:
            self._last = None
        if logits.shape[:2] != (len(padded), 1):
            return None  # this model's output layer is called in another way
        logits = logits[:, 0]
        scores = torch.nn.functional.log_softmax(logits, dim=-1, dtype=self.softmax_dtype)
        doubt = 16 * torch.finfo(scores.dtype).eps * logits.abs().amax(dim=-1).clamp(min=1).float()
        answers: list[Answer] = [(0.0, False)] * len(requests)
        best = scores.topk(2, dim=-1)
        for row, indices in enumerate(contexts.values()):
            choices = [requests[index][2][0] for index in indices]
            found = scores[row, choices].float()
            ordered = torch.unique(scores[row, sorted(set(choices))].float())
            close = len(ordered) < len(set(choices)) or bool((ordered.diff() < doubt[row]).any())
            if close or best.values[row].float().diff().abs() < doubt[row]:
                return None
            told = int(best.indices[row, 0])
            for index, choice, value in zip(indices, choices, found.tolist(), strict=True):
                answers[index] = (value, choice == told)
        return answers
