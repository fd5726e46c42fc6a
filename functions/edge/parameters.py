"""Which parameters a request may have: each of OpenAI's is served, ignored or refused, and a typo is told. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

from contracts.events.benchmarks import Grid
from contracts.wire.errors import ApiError
from functions.edge.benchmarks import ROWS, SUITE

ALIKE = 0.6
"""From this likeness on a name is worth being proposed."""
TYPO = 0.8
"""From this likeness on a name is taken for a typo where unknown names are ignored."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


@dataclass(frozen=True, slots=True)
class Parameters:
    """The names that an object may have."""

    served: frozenset[str]
    ignored: frozenset[str] = frozenset()
    """OpenAI's, for its own housekeeping: the answer is the same without them."""
    refused: frozenset[str] = frozenset()
    """OpenAI's, and not served: an answer that leaves them out is not what was asked for."""
    within: Mapping[str, Parameters] = field(default_factory=dict)
    """Name → the parameters of the object, or of each object of the list, that it holds."""
    tolerant: bool = False
    """Whether names that nobody here knows are ignored: clients of other servers send theirs along."""

    def leaves(self, path: str = "") -> Iterator[str]:
        """Yield every served name with its path."""
        for name in sorted(self.served):
            yield path + name
            if name in self.within:
                yield from self.within[name].leaves(f"{path}{name}.")


FILE = Parameters(_names("file purpose expires_after[anchor] expires_after[seconds]"))
RECURATE = Parameters(_names("min_score max_score"))
_ASKED = {"grid": Parameters(frozenset(Grid.model_fields))}
JOB_BENCHMARK = Parameters(frozenset({*SUITE, *ROWS}), within=_ASKED)
BENCHMARK = Parameters(JOB_BENCHMARK.served | {"model", "file"}, within=_ASKED)
EVALUATE = Parameters((BENCHMARK.served | {"models"}) - {"tasks"}, within=_ASKED)
RESCORE = Parameters(_names("judge metric"))
CHAT = Parameters(
    served=_names(
        "model messages tools tool_choice response_format modalities n seed stop temperature top_p max_tokens "
        "max_completion_tokens presence_penalty frequency_penalty logit_bias logprobs top_logprobs stream "
        "stream_options"
    ),
    ignored=_names(
        "user safety_identifier store metadata service_tier prompt_cache_key prompt_cache_options "
        "prompt_cache_retention prediction parallel_tool_calls"
    ),
    refused=_names("audio function_call functions moderation reasoning_effort verbosity web_search_options"),
    tolerant=True,
)
COMPLETION = Parameters(
    served=_names(
        "model prompt echo best_of n seed stop temperature top_p max_tokens presence_penalty frequency_penalty "
        "logit_bias logprobs stream stream_options"
    ),
    ignored=_names("user"),
    refused=_names("suffix"),
    tolerant=True,
)


def check(body: Mapping[str, Any], known: Parameters) -> None:
    """Refuse names that would be dropped in silence; raises ApiError that names the nearest one."""
    _check(body, known, known, "", "")


def _check(given: Mapping[str, Any], known: Parameters, root: Parameters, path: str, shown: str) -> None:
    """Check the object at `path`, which errors show as `shown`: with the places in lists."""
    for name, value in given.items():
        if name in known.refused:
            if value is not None:
                raise _not_served(shown + name)
        elif name not in known.served | known.ignored:
            _unknown(name, known, root, path, shown)
        elif name in known.within:
            for place, each in _objects(value):
                _check(each, known.within[name], root, f"{path}{name}.", f"{shown}{name}{place}.")


def _objects(value: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield an object, or those in a list with their places; anything else is for its reader to refuse."""
    if isinstance(value, dict):
        yield "", value
    elif isinstance(value, list):
        yield from ((f"[{place}]", each) for place, each in enumerate(value) if isinstance(each, dict))


def _unknown(name: str, known: Parameters, root: Parameters, path: str, shown: str) -> None:
    likeness, nearest = max((_likeness(name, path, each), each) for each in root.leaves())
    if known.tolerant and likeness[0] < TYPO:
        return
    if likeness[0] >= ALIKE:
        hint = f"Did you mean '{nearest}'?"
    else:
        hint = f"Known here are: {', '.join(sorted(known.served))}."
    param = shown + name[:64]
    raise ApiError(f"Unknown parameter: '{param}'. {hint}", param=param, code="unknown_parameter")


def _likeness(name: str, path: str, candidate: str) -> tuple[float, bool, int]:
    """Return how near a known name is: by its letters, then in the same object, then the less deep the nearer."""
    parent, _, leaf = candidate.rpartition(".")
    written = name[:64].lower().removeprefix("lora_")  # as others call what stands in `tuning`
    return SequenceMatcher(None, written, leaf).ratio(), parent == path.rstrip("."), -candidate.count(".")


def _not_served(param: str) -> ApiError:
    sentence = f"The parameter '{param}' is part of OpenAI's API, but Temper does not serve it. Leave it out."
    return ApiError(sentence, param=param, code="unsupported")
