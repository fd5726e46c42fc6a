"""Tells one creator by mail, or one endpoint by a call, of a job's end: under a lease, again for 72 hours, then not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from contracts.controls import Claim
from contracts.envelope import Event
from contracts.events.notifications import NotificationRequested, webhook_secret
from contracts.ports import Documents, Lease, PostponedError, RefusedError, Secrets, UnavailableError
from functions.notify import core, mail, webhook
from functions.notify.settings import NotifySettings


@dataclass(frozen=True, slots=True)
class DeliveryPorts:
    """The ports, and how mail goes out."""

    documents: Documents
    secrets: Secrets
    settings: NotifySettings
    now: Callable[[], int]


async def work(lease: Lease, deps: DeliveryPorts) -> Sequence[Event]:
    """Tell one of them once.

    Who is killed after the other side took it and before that is recorded tells it again, under the same id.
    """
    control = lease.claim.control
    said = NotificationRequested.model_validate(control.inputs["requested"])
    tell = _mail if said.channel == "email" else _call
    try:
        answer = await tell(control.subject, control.tenant, said, deps)
    except PostponedError:
        raise
    except RefusedError as error:
        return [core.failed(control.subject, control.tenant, "refused", str(error))]
    except UnavailableError as error:
        since = int(await lease.record("since", deps.now()))
        wait = core.next_try(since, deps.now())
        if wait is None:
            why = f"It was tried for 72 hours. At last {error}."
            return [core.failed(control.subject, control.tenant, "undeliverable", why)]
        raise PostponedError(error.dependency, str(error), wait) from error
    return [core.delivered(control.subject, control.tenant, answer)]


def exhausted(claim: Claim, why: str) -> Sequence[Event]:
    """Return the ending of a notification that could not be worked on."""
    return [core.failed(claim.subject, claim.control.tenant, "notify_failed", f"Nobody was told: {why}.")]


async def _mail(id: str, tenant: str, said: NotificationRequested, deps: DeliveryPorts) -> str:
    settings = deps.settings
    keys = await deps.documents.find("keys", {"id": said.to, "tenant": tenant}, limit=1)
    job = await deps.documents.get("jobs", said.job)
    if job is None or not job["ended"]:
        raise UnavailableError("mongo", f"the end of the job {said.job} is not known yet")
    if settings.smtp_url is None or not keys or not keys[0]["email"]:
        raise RefusedError(400, "There is no mail server any more (TEMPER_SMTP_URL), or no address.")
    mine = {"job": said.job, "tenant": tenant, "requested.rescores": None}
    benchmarks = await deps.documents.find("benchmarks", mine, [("created_at", 1)], 1)
    benchmark = benchmarks[0] if benchmarks else None
    wait = core.benchmark_wait(job, benchmark, said.at, deps.now(), settings.mail_wait_seconds)
    if wait is not None:
        raise PostponedError("benchmark", "the benchmark that follows the job is not done yet", wait)
    file = await deps.documents.get("files", job["created"]["training_file"])
    file = file if file is not None and file["tenant"] == tenant else None
    link = (settings.public_url or "").rstrip("/")
    letter = core.mail(id, job, file, benchmark, keys[0]["email"], settings.smtp_from, link)
    return await mail.send(letter, settings.smtp_url.get_secret_value(), settings.smtp_seconds)


async def _call(id: str, tenant: str, said: NotificationRequested, deps: DeliveryPorts) -> str:
    endpoint = await deps.documents.get("webhook_endpoints", said.to)
    if endpoint is None or endpoint["tenant"] != tenant:
        raise UnavailableError("mongo", f"the endpoint {said.to} is not known yet")
    if endpoint["deleted"]:
        raise RefusedError(410, "The endpoint was deleted.")
    secret = await deps.secrets.get(tenant, webhook_secret(said.to))
    if secret is None:
        raise UnavailableError("secrets", "the endpoint's signing secret is gone: rotate it")
    private, seconds = deps.settings.webhook_private == "allow", deps.settings.webhook_seconds
    answer = await webhook.call(endpoint["url"], secret, id, core.payload(said), private, seconds)
    if not 200 <= answer.status < 300:
        raise UnavailableError("webhook", f"the endpoint answered {answer.status}")
    return str(answer.status)
