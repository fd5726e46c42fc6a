"""The edge process: OpenAI's API over events and read models."""

from __future__ import annotations

from collections.abc import Collection

from functions._shared.grading.code import Coders
from functions.edge.app import create_app
from functions.edge.context import EdgeDeps
from functions.edge.settings import EdgeSettings
from infra.adapters.http.serving import HttpComplete, Serving
from infra.children.child import ProcessChild
from infra.runtime.listening import listen
from infra.runtime.probes import probing, read_models
from infra.runtime.process import scratch_folder, server
from infra.runtime.trackers import wandb_mode
from infra.runtime.world import needed, new_id, now_ms, world
from infra.settings import Settings, of_function


async def run(settings: Settings, only: Collection[str] = ()) -> None:
    """Serve the API until told to stop."""
    listener = listen(settings.bind, settings.edge_port or 8000, "edge_port")
    decided = of_function(EdgeSettings)
    child = ProcessChild()
    serving = Serving(needed(settings.inference_url, "inference_url"))
    async with world(settings, lasting=True) as here, probing(settings) as (own, others):
        app = create_app(
            EdgeDeps(
                blobs=here.blobs,
                emit=here.emit,
                documents=here.documents,
                controls=here.controls,
                requests=here.requests,
                secrets=here.secrets,
                wandb=wandb_mode(settings),
                complete=HttpComplete(serving),
                new_id=new_id,
                coders=Coders(child, scratch_folder(settings, f"edge-{settings.edge_port or 8000}")),
                now=now_ms,
                upload_seconds=decided.upload_seconds,
                stored_days=decided.stored_days,
                probes=own | {"read_models": read_models(here.documents)},
                others=others,
            ),
            decided.origins,
        )
        try:
            await server(app).serve([listener])
        finally:
            await serving.close()
            await child.close()
