"""The serving process: the one that loads torch."""

from __future__ import annotations

from collections.abc import Collection

from functions._shared.settings import PrecisionSettings
from functions.generate_text.app import create_app
from functions.prepare_job.preview import examples
from infra.runtime.listening import listen
from infra.runtime.process import server
from infra.runtime.world import blob_store
from infra.settings import Settings, of_function


async def run(settings: Settings, only: Collection[str] = ()) -> None:
    """Serve base models and adapters until told to stop."""
    dtype = of_function(PrecisionSettings).dtype
    listener = listen(settings.bind, settings.serving_port or 8001, "serving_port")
    app = create_app(blob_store(settings), settings.cache, settings.device, dtype=dtype, examples=examples)
    await server(app).serve([listener])
