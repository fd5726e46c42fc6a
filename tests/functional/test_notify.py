"""P2, P6: who is to be told of a job's end is told once, at an address that may be called, and no secret gets out."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from openai import OpenAI
from openai.types.webhooks import WebhookEndpoint, WebhookEndpointWithSecret
from pydantic import SecretStr

from contracts.envelope import Event, body
from contracts.events.benchmarks import BenchmarkCompleted, BenchmarkRequested
from contracts.events.jobs import JobCancelled, JobCreated, JobFailed, JobSucceeded
from contracts.events.keys import KeyCreated
from functions.notify import core, handler, work
from functions.notify.function import FUNCTION
from functions.notify.settings import NotifySettings
from infra.adapters.memory import MemoryControls
from infra.cli.webhooks import send_test
from infra.runtime.leases import Placed, Runner, WakeUps
from tests.functional.edge import BASE, REF, World
from tests.receivers import Endpoint, Post, endpoint, mail_server, wanted

JOB, KEY, ADA = "ftjob-1", "key-ada", "ada@example.com"
MODEL = f"ft:{BASE}:acme::x"
SUCCEEDED = JobSucceeded(
    fine_tuned_model=MODEL, manifest=REF, result_files=(), trained_tokens=9, step=3, prompt_sha256="3" * 64
)


@dataclass
class Notifying:
    """The function `notify` on memory, and a clock that stands until it is moved."""

    settings: NotifySettings = field(default_factory=lambda: NotifySettings(webhook_private="allow"))
    world: World = field(default_factory=World)
    ahead: float = 0.0
    """Seconds by which the clock was moved."""

    def __post_init__(self) -> None:
        self.controls = MemoryControls(lambda: self.ahead)

    def now(self) -> int:
        last = self.world.emit.events[-1].at if self.world.emit.events else 0
        return last + int(self.ahead * 1000)

    async def born(self, tenant: str = "acme", email: str | None = ADA, **more: Any) -> None:
        """A key with an address, and a job that was created with it."""
        await self.world.say(KeyCreated(sha256="1" * 64, hint="h", email=email), KEY, "acme")
        created = {"model": BASE, "training_file": "file-1", "creator_id": KEY, "benchmarks": "none", **more}
        await self.world.say(JobCreated(**created), JOB, tenant)

    async def end(self, data: Any = SUCCEEDED, tenant: str = "acme") -> Event:
        """Let the job end, and the function hear of it."""
        event = await self.world.say(data, JOB, tenant, id="the end")
        await self.hear(event)
        return event

    async def hear(self, event: Event) -> None:
        """Let the function hear of an event, and of whatever it says of that."""
        world = self.world
        deps = handler.NotifyPorts(world.documents, self.controls, world.emit, WakeUps(), self.settings)
        before = len(world.emit.events)
        await handler.on_job_ended(event, deps)
        for said in world.emit.events[before:]:
            await handler.on_notification_requested(said, deps)

    async def round(self) -> None:
        """Work on all that can be claimed now, once each."""
        world = self.world
        deps = work.DeliveryPorts(world.documents, world.secrets, self.settings, self.now)
        placed = Placed(FUNCTION.stages[0], partial(work.work, deps=deps))
        runner = Runner(placed, "me", self.controls, world.emit, world.documents, WakeUps())
        while (claim := await self.controls.claim(core.STAGE, "me")) is not None:
            await runner._hold(claim)

    async def after(self, seconds: float) -> None:
        """Let time pass, and work again."""
        self.ahead += seconds
        await self.round()

    async def endings(self) -> list[Any]:
        """What was said at last of each notification."""
        found = await self.world.documents.find("notifications", {"ended": True}, [("created_at", 1)])
        return [each["delivered"] or each["failed"] for each in found]


@pytest.fixture
def post() -> Iterator[Post]:
    with mail_server() as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[Endpoint]:
    with endpoint() as running:
        yield running


def by_mail(post: Post, **more: Any) -> Notifying:
    return Notifying(NotifySettings(smtp_url=SecretStr(f"smtp://127.0.0.1:{post.port}"), **more))


async def made(notifying: Notifying, url: str, *types: Any, tenant: str = "acme") -> dict[str, Any]:
    """Make an endpoint through the API."""
    async with notifying.world.client(await notifying.world.key(tenant, 7)) as api:
        answer = await api.post("/v1/webhook_endpoints", json=wanted(url, *types))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


# --- mail


async def test_a_creator_is_mailed_once_however_often_the_end_is_heard(post: Post) -> None:
    notifying = by_mail(post, public_url="https://temper.example.com/")
    await notifying.born()
    event = await notifying.end()
    await notifying.round()
    await notifying.hear(event)
    await notifying.after(10_000)
    (mail,) = post.mails
    assert (mail["To"], mail["Subject"]) == (ADA, f"Fine-tuning succeeded: {MODEL}")
    text = mail.get_content()
    assert f"Base model: {BASE}" in text
    assert "Training file: file-1" in text
    assert f"Job: https://temper.example.com/v1/fine_tuning/jobs/{JOB}" in text
    assert "Benchmark" not in text
    assert await notifying.endings() == [{"answer": "250"}]


async def test_a_failed_job_says_why_and_a_cancelled_one_is_not_mailed(post: Post) -> None:
    notifying = by_mail(post)
    await notifying.born()
    await notifying.end(JobFailed(code="invalid_training_file", message="Row 3 has\nno messages."))
    await notifying.round()
    assert "Reason: Row 3 has no messages. (invalid_training_file)" in post.mails[0].get_content()
    other = by_mail(post)
    await other.born()
    await other.end(JobCancelled())
    await other.round()
    assert len(post.mails) == 1


async def test_a_mail_waits_for_the_benchmark_that_follows_the_job_and_tells_its_verdict(post: Post) -> None:
    notifying = by_mail(post, mail_wait_seconds=600)
    await notifying.born(benchmarks="default")
    await notifying.end()
    await notifying.round()
    world = notifying.world
    asked = BenchmarkRequested(models={"tuned": {"name": MODEL}}, base_name=BASE, job=JOB)  # type: ignore[dict-item]
    await world.say(asked, "bench-1", "acme")
    await notifying.after(60)
    assert post.tried == []
    blob = {"key": "acme/bench-1/x", "sha256": "1" * 64, "bytes": 1}
    found: Any = {**dict.fromkeys(("result", "items", "report"), blob), "verdict": "better", "scores": ()}
    await world.say(BenchmarkCompleted(**found, sentence="It gained."), "bench-1", "acme")
    await notifying.after(60)
    assert "Benchmark: better. It gained." in post.mails[0].get_content()


@pytest.mark.parametrize("requested", [False, True])
async def test_a_benchmark_that_does_not_come_is_waited_for_no_longer_than_the_setting_says(
    post: Post, requested: bool
) -> None:
    notifying = by_mail(post, mail_wait_seconds=600)
    await notifying.born(benchmarks="default")
    await notifying.end()
    if requested:
        asked = BenchmarkRequested(models={"tuned": {"name": MODEL}}, base_name=BASE, job=JOB)  # type: ignore[dict-item]
        await notifying.world.say(asked, "bench-1", "acme")
    await notifying.round()
    assert post.mails == []
    await notifying.after(700 if requested else 40)
    assert ("is not done yet" in post.mails[0].get_content()) == requested


async def test_a_job_of_another_tenant_mails_nobody_whomever_it_names(post: Post) -> None:
    notifying = by_mail(post)
    await notifying.born(tenant="mallory")
    await notifying.end(tenant="mallory")
    await notifying.round()
    assert post.tried == []


async def test_a_server_that_is_busy_is_asked_again_with_the_same_message_id_and_one_that_refuses_is_not(
    post: Post,
) -> None:
    notifying = by_mail(post)
    post.answer = "451 later"
    await notifying.born()
    await notifying.end()
    await notifying.round()
    await notifying.after(6)
    post.answer = "250 OK"
    await notifying.after(10)
    assert len(post.mails) == 1
    assert len(post.tried) == 3
    assert len(set(post.tried)) == 1
    other = by_mail(post)
    post.answer = "554 no"
    await other.born()
    await other.end()
    await other.round()
    await other.after(10_000)
    assert await other.endings() == [{"code": "refused", "message": "the mail server answered 554"}]


def certificate(folder: Path, name: str) -> Path:
    """A certificate for a name that signs itself, with its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    said = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    address: x509.GeneralName = x509.IPAddress(ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
    made = (
        x509.CertificateBuilder(said, said, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path = folder / "tls.pem"
    path.write_bytes(made.public_bytes(encoding) + key.private_bytes(encoding, plain, serialization.NoEncryption()))
    return path


async def test_a_password_goes_over_tls_alone(
    post: Post, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pem = certificate(tmp_path, "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    known: list[Any] = []

    def authenticator(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        known.append((data.login, data.password))
        return AuthResult(success=data.password == b"s3cr@t")

    caplog.set_level(logging.DEBUG, "temper")
    with mail_server(tls_context=context, authenticator=authenticator, auth_required=True) as secure:
        for port in (secure.port, post.port):
            url = SecretStr(f"smtp://ada:s3cr%40t@127.0.0.1:{port}")
            notifying = Notifying(NotifySettings(smtp_url=url))
            await notifying.born()
            await notifying.end()
            await notifying.round()
    assert known == [(b"ada", b"s3cr@t")]
    assert len(secure.mails) == 1
    assert post.tried == []
    (control,) = notifying.controls.controls.values()
    assert "offers no TLS" in control.why
    assert "s3cr" not in caplog.text


# --- webhooks


@pytest.mark.parametrize(
    ("data", "type"),
    [
        (SUCCEEDED, "fine_tuning.job.succeeded"),
        (JobFailed(code="c", message="m"), "fine_tuning.job.failed"),
        (JobCancelled(), "fine_tuning.job.cancelled"),
    ],
)
async def test_openais_client_accepts_what_an_endpoint_is_sent(receiver: Endpoint, data: Any, type: Any) -> None:
    notifying = Notifying()
    await notifying.born()
    told = await made(notifying, receiver.url, type)
    await notifying.end(data)
    await notifying.round()
    ((headers, content),) = receiver.taken()
    with OpenAI(api_key="k", webhook_secret=told["signing_secret"]) as client:
        event = client.webhooks.unwrap(content, headers)
    assert (event.type, event.object) == (type, "event")
    assert event.data.id == JOB  # type: ignore[union-attr]
    assert headers["host"] == f"127.0.0.1:{receiver.port}"


async def test_an_endpoint_that_fails_is_called_again_ever_more_seldom_under_one_id_and_after_72_hours_not_any_more(
    receiver: Endpoint,
) -> None:
    notifying = Notifying()
    await notifying.born()
    await made(notifying, receiver.url)
    await notifying.end()
    receiver.status = 500
    await notifying.round()
    while not await notifying.endings():
        calls, before = len(receiver.calls), notifying.ahead
        while len(receiver.calls) == calls:
            await notifying.after(5)
        assert notifying.ahead - before <= core.SELDOMEST + 5
    assert 80 < len(receiver.calls) < 110
    assert 72 <= notifying.ahead / 3600 < 74
    assert len({headers["webhook-id"] for _, headers, _ in receiver.calls}) == 1
    assert len({content for _, _, content in receiver.calls}) == 1
    (ending,) = await notifying.endings()
    assert ending["code"] == "undeliverable"
    assert "72 hours" in ending["message"]
    assert "answered 500" in ending["message"]
    async with notifying.world.client(await notifying.world.key("acme", 7)) as api:
        (shown,) = (await api.get("/v1/notifications")).json()["data"]
        assert (await api.get(f"/v1/notifications/{shown['id']}")).json() == shown
    assert (shown["status"], shown["error"]) == ("failed", ending)
    async with notifying.world.client(await notifying.world.key("other", 8)) as other:
        assert (await other.get("/v1/notifications")).json()["data"] == []
        assert (await other.get(f"/v1/notifications/{shown['id']}")).status_code == 404


async def test_a_redirection_is_not_followed(receiver: Endpoint) -> None:
    notifying = Notifying()
    await notifying.born()
    await made(notifying, receiver.url)
    await notifying.end()
    receiver.status = 307
    await notifying.round()
    assert len(receiver.calls) == 1
    assert await notifying.endings() == []


async def test_a_private_address_is_not_called_unless_settings_allow_it(receiver: Endpoint) -> None:
    notifying = Notifying(NotifySettings())
    await notifying.born()
    await made(notifying, receiver.url.replace("http:", "https:"))
    await notifying.end()
    await notifying.round()
    (ending,) = await notifying.endings()
    assert ending["code"] == "refused"
    assert "TEMPER_WEBHOOK_PRIVATE=allow" in ending["message"]
    assert receiver.calls == []


async def test_a_name_is_resolved_once_and_the_address_that_was_looked_at_is_the_one_called(
    receiver: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, names = asyncio.get_running_loop(), list[str]()

    async def resolved(host: str, port: int, **_: Any) -> list[Any]:
        names.append(host)  # the next answer would be another address
        return [(2, 1, 6, "", ("127.0.0.1" if len(names) == 1 else "192.0.2.1", port))]

    notifying = Notifying()
    await notifying.born()
    await made(notifying, receiver.url.replace("127.0.0.1", "hooks.test"))
    await notifying.end()
    real = loop.getaddrinfo

    async def getaddrinfo(host: Any, port: Any, **more: Any) -> Any:
        return await (resolved if host == "hooks.test" else real)(host, port, **more)

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    await notifying.round()
    ((headers, _),) = receiver.taken()
    assert headers["host"] == f"hooks.test:{receiver.port}"
    assert names == ["hooks.test"]


@pytest.mark.parametrize(
    ("address", "denied", "allowed"),
    [
        ("93.184.215.14", False, False),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", False, False),
        ("127.0.0.1", True, False),
        ("10.1.2.3", True, False),
        ("100.100.100.200", True, False),
        ("::1", True, False),
        ("fd00:ec2::254", True, False),
        ("::ffff:10.0.0.1", True, False),
        ("64:ff9b::a00:1", True, False),
        ("2002:a00:1::", True, False),
        ("169.254.169.254", True, True),
        ("::ffff:169.254.169.254", True, True),
        ("64:ff9b::a9fe:a9fe", True, True),
        ("fe80::1", True, True),
        ("0.0.0.0", True, True),
        ("224.0.0.1", True, True),
    ],
)
def test_which_addresses_may_be_called(address: str, denied: bool, allowed: bool) -> None:
    assert (core.refused([address], "https", private=False) is not None) == denied
    assert (core.refused([address], "https", private=True) is not None) == allowed
    assert (core.refused(["93.184.215.14", address], "https", private=False) is not None) == denied
    assert core.refused(["93.184.215.14"], "http", private=False) is not None


async def test_an_endpoint_is_told_only_of_its_tenants_jobs_that_ended_after_it_was_made(receiver: Endpoint) -> None:
    notifying = Notifying()
    await notifying.born()
    await made(notifying, receiver.url, tenant="mallory")
    event = await notifying.end()
    await made(notifying, receiver.url)
    await notifying.hear(event)
    await notifying.round()
    assert receiver.calls == []


async def test_a_deleted_endpoint_is_not_called_any_more_and_its_secret_is_forgotten(receiver: Endpoint) -> None:
    notifying = Notifying()
    await notifying.born()
    told = await made(notifying, receiver.url)
    await notifying.end()
    async with notifying.world.client(await notifying.world.key("acme", 7)) as api:
        gone = await api.delete(f"/v1/webhook_endpoints/{told['id']}")
        assert gone.json() == {"id": told["id"], "object": "webhook_endpoint.deleted", "deleted": True}
        assert (await api.get(f"/v1/webhook_endpoints/{told['id']}")).status_code == 404
    await notifying.round()
    assert receiver.calls == []
    assert await notifying.endings() == [{"code": "refused", "message": "The endpoint was deleted."}]
    assert notifying.world.secrets.kept == {}


async def test_endpoints_are_made_listed_changed_and_their_secret_is_shown_when_it_is_new_alone(
    receiver: Endpoint,
) -> None:
    notifying = Notifying()
    await notifying.born()
    world = notifying.world
    async with world.client(await world.key("acme", 7)) as api, world.client(await world.key("other", 8)) as other:
        answer = await api.post("/v1/webhook_endpoints", json=wanted(receiver.url), headers={"idempotency-key": "1"})
        first = WebhookEndpointWithSecret.model_validate(answer.json())
        again = await api.post("/v1/webhook_endpoints", json=wanted(receiver.url), headers={"idempotency-key": "1"})
        assert again.json() == answer.json()
        path = f"/v1/webhook_endpoints/{first.id}"
        changed = await api.post(path, json={"name": "other"})
        assert WebhookEndpoint.model_validate(changed.json()).name == "other"
        rotated = WebhookEndpointWithSecret.model_validate((await api.post(f"{path}/rotate_secret", json={})).json())
        assert rotated.signing_secret != first.signing_secret
        listed = (await api.get("/v1/webhook_endpoints")).json()
        assert [each["id"] for each in listed["data"]] == [first.id]
        assert (await other.get("/v1/webhook_endpoints")).json()["data"] == []
        assert [(await other.get(path)).status_code, (await other.delete(path)).status_code] == [404, 404]
        shown = str([listed, changed.json(), (await api.get(path)).json()])
    await notifying.end()
    await notifying.round()
    ((headers, content),) = receiver.taken()
    with OpenAI(api_key="k") as client:
        client.webhooks.unwrap(content, headers, secret=rotated.signing_secret)
    said = shown + str([body(event) for event in world.emit.events]) + str(world.documents.stored)
    for secret in (first.signing_secret, rotated.signing_secret):
        assert secret.removeprefix("whsec_") not in said + str(notifying.controls.controls)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"url": "ftp://example.com"}, "url"),
        ({"url": "https://user:password@example.com"}, "url"),
        ({"url": "https://example.com:99999"}, "url"),
        ({"event_types": []}, "event_types"),
        ({"event_types": ["batch.completed"]}, "event_types[0]"),
        ({"nam": "x"}, "nam"),
        ({"name": "a\nb"}, "name"),
    ],
)
async def test_what_cannot_be_an_endpoint_is_refused(change: dict[str, Any], param: str) -> None:
    world = World()
    async with world.client(await world.key("acme")) as api:
        answer = await api.post("/v1/webhook_endpoints", json={**wanted("https://example.com"), **change})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert world.topics() == []


async def test_a_test_of_an_endpoint_is_signed_as_an_event_is_and_its_answer_is_shown(
    receiver: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPER_WEBHOOK_PRIVATE", "allow")
    notifying = Notifying()
    told = await made(notifying, receiver.url)
    here: Any = notifying.world
    answer = await send_test(here, told["id"])
    assert (answer.status, answer.body) == (200, b"thanks")
    ((headers, content),) = receiver.taken()
    with OpenAI(api_key="k") as client:
        event = client.webhooks.unwrap(content, headers, secret=told["signing_secret"])
    assert event.data.id == "ftjob-test"  # type: ignore[union-attr]
