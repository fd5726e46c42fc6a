"""P2, P6: whoever created a job is told of its end once by mail, and no password goes where it may be read."""

from __future__ import annotations

import logging
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from contracts.events.benchmarks import BenchmarkCompleted, BenchmarkedModel, BenchmarkRequested
from contracts.events.jobs import JobCancelled, JobFailed
from functions.notify.settings import NotifySettings
from tests.functional.edge import BASE
from tests.functional.notifying import ADA, JOB, MODEL, Notifying, by_mail
from tests.receivers import Post, mail_server


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
    asked = BenchmarkRequested(models={"tuned": BenchmarkedModel(name=MODEL)}, base_name=BASE, job=JOB)
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
        asked = BenchmarkRequested(models={"tuned": BenchmarkedModel(name=MODEL)}, base_name=BASE, job=JOB)
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
