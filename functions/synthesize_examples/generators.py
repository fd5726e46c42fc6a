"""The endpoints that write questions, and the model that is asked without context."""

from __future__ import annotations

from pydantic import SecretStr

from contracts.function import Places
from contracts.ports import BaseModels, Endpoints, Generate, Served
from functions.synthesize_examples.settings import Endpoint, GeneratorSettings, endpoints

DOCUMENTS_AT_ONCE = 2
"""Documents of one tenant that are asked about by rules at the same time by one worker."""
ANSWERS_AT_ONCE = 8
"""Documents asked about at the same time where endpoints answer."""


class Generators:
    """Who writes a tenant's questions: an endpoint of its own, everybody's, or rules."""

    def __init__(
        self, settings: GeneratorSettings, endpoints_at: Endpoints, served: Served | None, base_models: BaseModels
    ) -> None:
        def client(endpoint: Endpoint) -> Generate:
            return endpoints_at(endpoint.url, endpoint.model, endpoint.key.get_secret_value())

        self._settings, self._served, self._base_models = settings, served, base_models
        self._own = {tenant: client(endpoint) for tenant, endpoint in endpoints(settings.generators_file).items()}
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

    def of(self, tenant: str) -> Generate | None:
        """Return who writes a tenant's questions, None where rules do it."""
        return self._own.get(tenant, self._all)

    async def base(self, target: str | None = None, closed_book: bool | None = None) -> Generate | None:
        """Return the target model as it is served; None where it is not asked. Raises UnavailableError without it.

        What a request leaves open, None, is as the settings say.
        """
        wanted = self._settings.closed_book if closed_book is None else closed_book
        if self._served is None or not wanted:
            return None
        name = target or self._settings.target_model
        return self._served(name, await self._base_models.manifest(name))
