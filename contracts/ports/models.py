"""Models that answer: served ones, endpoints, files of base models."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from contracts.manifest import ManifestRef


@dataclass(frozen=True, slots=True)
class Proof:
    """What serving said of a model."""

    prompt_ids: tuple[int, ...]
    answer: str


class Prove(Protocol):
    """Asks the serving process whether a stored model loads and answers on the same token ids as in training."""

    async def __call__(
        self,
        manifest: ManifestRef,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None,
        expected_ids: Sequence[int],
    ) -> Proof:
        """Return the proof; raises ProofFailedError (the model is wrong) or UnavailableError (serving is away)."""
        ...


class Reply(Protocol):
    """An HTTP answer whose body is passed on unparsed."""

    status: int
    headers: Mapping[str, str]

    def chunks(self) -> AsyncIterator[bytes]: ...
    async def close(self) -> None: ...


class Complete(Protocol):
    """The serving process, spoken to in OpenAI's own shapes."""

    async def __call__(self, path: str, body: bytes, manifest: ManifestRef, request_id: str, tenant: str) -> Reply:
        """POST `body` to serving, where tenants take turns; raises UnavailableError."""
        ...


class Generate(Protocol):
    """A model behind an OpenAI-compatible endpoint, asked for one whole chat completion at a time."""

    @property
    def model(self) -> str:
        """The name that requests carry."""
        ...

    def another(self, model: str) -> Generate:
        """Return another model at the same endpoint, asked over the same connections."""
        ...

    async def __call__(self, body: Mapping[str, Any]) -> str:
        """POST a chat request and return the text of its first choice.

        Raises UnavailableError (nobody there, 503), SlowError (no answer in time), FaultyError (another 5xx, an answer
        of another shape), BusyError (429) or RefusedError.
        """
        ...


class Endpoints(Protocol):
    """Chat endpoints of other systems."""

    def __call__(self, base_url: str, model: str, api_key: str = "", seconds: float = 120.0) -> Generate:
        """Return a model at `base_url` (`…/v1`); a whole answer may take `seconds`."""
        ...


class Served(Protocol):
    """Models as the platform's own serving process has them."""

    def __call__(self, name: str, manifest: ManifestRef) -> Generate:
        """Return the model of that manifest."""
        ...


class BaseModels(Protocol):
    """Registered models and their files on this machine."""

    async def manifest(self, name: str) -> ManifestRef:
        """Return where a base model's manifest is; raises UnavailableError until it is registered."""
        ...

    def tokenizer(self, name: str) -> AbstractAsyncContextManager[Path]:
        """Lend the tokenizer.json of a base model; raises UnavailableError until it is registered."""
        ...

    def folders(self, ref: ManifestRef) -> AbstractAsyncContextManager[Mapping[str, str | None]]:
        """Lend a model's folders: `model`, its base or whole weights, and `adapter`, if it has one."""
        ...
