"""A model asked over HTTP, by lm-eval's rules: `/v1/completions` with `echo` tells the prompt's log-probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from lm_eval.api.model import TemplateLM
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs, postprocess_generated_text
from transformers import AutoTokenizer

from functions.benchmark_model.harness.fast_path import Answer, Kept, Request

SECONDS = 600.0
"""That one batch may take."""
_STOPS = 4
"""Stop sequences that OpenAI's API takes."""


class ServedOverHttp(Kept, TemplateLM):  # type: ignore[misc]
    """A model behind an OpenAI-compatible endpoint, with its tokenizer at hand."""

    def __init__(
        self, url: str, headers: Mapping[str, str], name: str, tokenizer: Path, context: int, batch_size: int
    ) -> None:
        """`context` is the model's, in tokens; raises OSError where the tokenizer does not load."""
        super().__init__()
        self._client = httpx.Client(
            base_url=url, headers=dict(headers), timeout=SECONDS, transport=httpx.HTTPTransport(retries=3)
        )
        self._name = name
        self.tokenizer = AutoTokenizer.from_pretrained(tokenizer, local_files_only=True, trust_remote_code=False)
        self.max_length, self.batch_size = context, batch_size
        self.add_bos_token = None
        self._rank, self._world_size = 0, 1

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """The token that stands before a text without context."""
        begin = self.tokenizer.bos_token_id
        return int(begin if begin is not None else self.tokenizer.eos_token_id)

    @property
    def tokenizer_name(self) -> str:
        """Name of the tokenizer."""
        return str(self.tokenizer.name_or_path)

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """Score whole texts, window by window."""
        told: list[float] = HFLM.loglikelihood_rolling(self, requests, disable_tqdm=disable_tqdm)
        return told

    def _score(self, requests: list[Request]) -> list[Answer]:
        prompts = [[*context, *choice][-self.max_length :] for _, context, choice in requests]
        choices = self._complete({"prompt": prompts, "max_tokens": 0, "echo": True, "logprobs": 1, "temperature": 0})
        return [_told(said["logprobs"], len(choice)) for said, (_, _, choice) in zip(choices, requests, strict=True)]

    def _generate(self, requests: list[Any]) -> list[str]:
        settings = normalize_gen_kwargs(requests[0].args[1], 256)
        stops = handle_stop_sequences(settings.get("until"), eos=self.tokenizer.decode([self.eot_token_id]))
        room = settings["max_gen_toks"]
        prompts = [self.tok_encode(request.args[0])[-(self.max_length - room) :] for request in requests]
        temperature = settings.get("temperature", 0.0)
        body = {"prompt": prompts, "max_tokens": room, "temperature": temperature, "stop": stops[:_STOPS], "seed": 0}
        said = [choice["text"] for choice in self._complete(body)]
        return [postprocess_generated_text(generation=text, stop=stops, think_end_token=None) for text in said]

    def _complete(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        reply = self._client.post("/v1/completions", json={"model": self._name, **body})
        if reply.is_error:
            raise RuntimeError(f"{self._client.base_url} answered {reply.status_code}: {reply.text[:500]}")
        return sorted(reply.json()["choices"], key=lambda choice: choice["index"])


def _told(logprobs: Mapping[str, Any], tokens: int) -> Answer:
    """The log-likelihood of the last `tokens` tokens, and whether each was the likeliest."""
    values = logprobs["token_logprobs"][-tokens:]
    best = logprobs["top_logprobs"][-tokens:]
    greedy = all(value == max(top.values()) for value, top in zip(values, best, strict=True))
    return sum(values), greedy, 0.0
