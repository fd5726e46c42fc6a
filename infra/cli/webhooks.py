"""`temper webhooks`."""

from __future__ import annotations

from typing import Any

import click

from contracts.events.notifications import NotificationRequested, webhook_secret
from contracts.ports import RefusedError, UnavailableError
from functions.notify import core, webhook
from functions.notify.settings import NotifySettings
from infra.cli.keys import in_world
from infra.local.errors import UserError
from infra.runtime.world import World, new_id, now_ms
from infra.settings import of_function


@click.group()
def webhooks() -> None:
    """Look after webhook endpoints, which are made with OpenAI's client: client.webhooks.create(…)."""


@webhooks.command()
@click.argument("endpoint_id")
def test(endpoint_id: str) -> None:
    """Send an endpoint a signed test event from here, and print what it answers."""
    answer = in_world(lambda here: send_test(here, endpoint_id))
    click.echo(f"{answer.status}")
    if answer.body:
        click.echo(answer.body.decode(errors="replace"))
    if not 200 <= answer.status < 300:
        raise UserError("The endpoint did not take it: only an answer from 200 to 299 counts.")


async def send_test(here: World, id: str) -> webhook.WebhookAnswer:
    """Call an endpoint as it would be called for a job `ftjob-test`; raises UserError."""
    endpoint = await here.documents.get("webhook_endpoints", id)
    if endpoint is None or endpoint["deleted"]:
        raise UserError(f"There is no webhook endpoint {id}. `GET /v1/webhook_endpoints` lists a tenant's own.")
    secret = await here.secrets.get(endpoint["tenant"], webhook_secret(id))
    if secret is None:
        raise UserError("Its signing secret is gone. Make a new one: client.webhooks.rotate_secret(…).")
    said: dict[str, Any] = {"what": endpoint["event_types"][0], "job": "ftjob-test", "channel": "webhook", "to": id}
    event = NotificationRequested(**said, event_id=new_id(), at=now_ms())
    settings = of_function(NotifySettings)
    private, seconds = settings.webhook_private == "allow", settings.webhook_seconds
    try:
        return await webhook.call(
            endpoint["url"], secret, f"note-{event.event_id}", core.payload(event), private, seconds
        )
    except (RefusedError, UnavailableError) as error:
        raise UserError(f"The endpoint was not reached: {error}") from error
