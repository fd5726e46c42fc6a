"""Who may write questions, and the model that is asked without context."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from weakref import WeakValueDictionary

from pydantic import SecretStr

from contracts.events.corpus import Writer
from contracts.function import Places
from contracts.ports import BaseModels, Endpoints, Generate, Served
from functions.synthesize_examples.asking import Author
from functions.synthesize_examples.settings import PROBE_SECONDS, Endpoint, GeneratorSettings, endpoints
from functions.synthesize_examples.trial import Chain

USUAL: tuple[Writer, ...] = ("tenant_endpoint", "server_endpoint", "base", "extractive")
"""Who is tried where the request names nobody."""

DOCUMENTS_AT_ONCE = 2
"""Documents of one tenant that are asked about by rules at the same time by one worker."""
ANSWERS_AT_ONCE = 8
"""Documents asked about at the same time where endpoints answer."""


class Generators:
    """Who writes a tenant's questions: an endpoint of its own, everybody's, the target model, or rules."""

    def __init__(
        self, settings: GeneratorSettings, endpoints_at: Endpoints, served: Served | None, base_models: BaseModels
    ) -> None:
        def client(endpoint: Endpoint) -> Generate:
            return endpoints_at(endpoint.url, endpoint.model, endpoint.key.get_secret_value())

        self._settings, self._served, self._base_models = settings, served, base_models
        self._own = {tenant: client(endpoint) for tenant, endpoint in endpoints(settings.generators_file).items()}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._all: Generate | None = None
        if settings.generator_url is not None:
            key = settings.generator_key or SecretStr("")
            self._all = client(Endpoint(url=settings.generator_url, model=settings.generator_model, key=key))

    @property
    def places(self) -> Places:
        """How many documents are asked about at the same time: who waits for an endpoint needs no processor."""
        if self._all is not None or self._own:
            return Places(ANSWERS_AT_ONCE, ANSWERS_AT_ONCE // 2)
        return Places(DOCUMENTS_AT_ONCE + 1, DOCUMENTS_AT_ONCE)

    def chain(
        self, tenant: str, archive: str, target: Generate | None, asked: Writer | Sequence[Writer] | None = None
    ) -> Chain:
        """Return who may write an archive's questions: those that were asked for, or all, in order."""
        wanted: Sequence[Writer] = USUAL if asked is None else (asked,) if isinstance(asked, str) else asked
        rules = "extractive" in wanted
        authors = [
            author
            for writer in (wanted[: wanted.index("extractive")] if rules else wanted)
            if (author := self._author(writer, tenant, target)) is not None
        ]
        if target is not None and asked is None and not self._settings.base_probe_seconds:
            authors = [each for each in authors if each.writer != "base"]
        return Chain(
            tuple({each.writer: each for each in authors}.values()),
            rules,
            self._settings.base_generator_share,
            self._settings.base_probe_seconds or PROBE_SECONDS,
            self._settings.base_generator_seconds,
            self._locks.setdefault(archive, asyncio.Lock()),
        )

    def _author(self, writer: Writer, tenant: str, target: Generate | None) -> Author | None:
        own = self._own.get(tenant)
        if writer == "endpoint":
            writer = "tenant_endpoint" if own else "server_endpoint"
        known: dict[Writer, Generate | None] = {"tenant_endpoint": own, "server_endpoint": self._all, "base": target}
        generate = known.get(writer)
        return None if generate is None else Author(writer, generate)

    async def target(self, asked: str | None = None) -> Generate | None:
        """Return the target model as it is served, None where nothing is; raises UnavailableError without it."""
        if self._served is None:
            return None
        name = asked or self._settings.target_model
        return self._served(name, await self._base_models.manifest(name))

    def examined(self, target: Generate | None, asked: bool | None = None) -> Generate | None:
        """Return the model that is asked without context: the target, unless the request or the settings forbid it."""
        wanted = self._settings.closed_book if asked is None else asked
        return target if wanted else None
