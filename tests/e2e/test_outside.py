"""P2, P5: other systems publish straight to Kafka; whatever else lies there ends in `dead.letter` and stops nothing."""

from __future__ import annotations

import asyncio
import hashlib
import io
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from cloudevents.core.bindings.kafka import to_binary
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from minio import Minio

from contracts.envelope import outside_subject
from contracts.topics import TOPICS
from infra.runtime.functions import consumers as declared_consumers
from tests.e2e import support
from tests.e2e.support import User
from tests.e2e.test_documents import archive, checked, validation
from tests.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]
SOURCE = "/crm"
Place = tuple[str, int, int]


async def send(stack: Stack, *messages: tuple[str, bytes | None, bytes | None, dict[str, bytes]]) -> list[Place]:
    """Publish (topic, key, value, headers) with a plain Kafka client; returns where they lie."""
    async with AIOKafkaProducer(bootstrap_servers=stack.settings.kafka_bootstrap, acks="all") as producer:
        places = []
        for topic, key, value, headers in messages:
            put = await producer.send_and_wait(topic, value, key=key, headers=list(headers.items()))
            places.append((topic, put.partition, put.offset))
        return places


def cloud_event(topic: str, data: dict[str, Any], prefix: str, subject: str | None = None) -> tuple[str, Any]:
    """An event as a stock CloudEvents library makes it; returns (its subject, the Kafka message)."""
    id = str(uuid4())
    subject = subject or outside_subject(prefix, "local", SOURCE, id)
    said = {
        "id": id, "source": SOURCE, "type": topic, "specversion": "1.0", "subject": subject, "tenant": "local",
        "datacontenttype": "application/json",
    }  # fmt: skip
    made = to_binary(CloudEvent(said, data), JSONFormat(), key_mapper=lambda event: event.get_subject())
    key = made.key.encode() if isinstance(made.key, str) else made.key
    return subject, (topic, key, made.value, made.headers)


def dead_letters(stack: Stack) -> dict[Place, dict[str, str]]:
    """place of a record → function → code of its dead letter; each function says it once."""
    found: dict[Place, dict[str, str]] = {}
    ids = set()
    for event in support.log_of(stack, "dead.letter"):
        data: Any = event.data
        functions = found.setdefault((data.topic, data.partition, data.offset), {})
        if event.id not in ids:
            assert data.function not in functions, "one dead letter a function"
            assert len(data.message) > 10
            functions[data.function] = data.code
        ids.add(event.id)
    return found


def consumers(topic: str) -> set[str]:
    """The functions that read a topic; this stack has no tracker."""
    return {"project_documents", *declared_consumers(topic)} - {"track_runs"}


def test_garbage_on_every_topic_ends_in_one_dead_letter_a_function(stack: Stack) -> None:
    topics = [topic.name for topic in TOPICS]
    good = cloud_event("job.created", {"model": support.BASE, "training_file": "file-1"}, "ftjob-")[1]
    _, key, value, headers = good
    messages = [
        *((topic, b"\xff", b"\x00 no JSON", {"ce_type": b"\xff"}) for topic in topics),
        ("job.created", key, b'{"model": 7}', headers),
        ("job.created", key, value, {**headers, "ce_sig": b"0" * 64}),
        ("job.created", key, value, {**headers, "ce_tenant": b"somebody-else"}),
    ]
    *garbage, body, signature, tenant = asyncio.run(send(stack, *messages))
    expected = {
        place: consumers(place[0]) for place in [*garbage, body, signature, tenant] if place[0] != "dead.letter"
    }

    def all_there() -> dict[Place, dict[str, str]] | None:
        found = dead_letters(stack)
        return found if all(set(found.get(place, ())) == who for place, who in expected.items()) else None

    found = support.until(all_there, "every dead letter", every=0.5)
    assert all(found[place] == dict.fromkeys(expected[place], "bad_header") for place in garbage if place in expected)
    assert set(found[body].values()) == {"bad_schema"}
    assert set(found[signature].values()) == {"bad_signature"}
    assert set(found[tenant].values()) == {"unsigned"}
    for place in garbage:
        assert place in expected or place not in found, "no dead letter about dead.letter"
    for role in ("worker", "trainer"):
        support.until(lambda role=role: support.health(stack, role)["status"] == "ok", f"a well {role}")


def s3(stack: Stack) -> Minio:
    """A stock client of the blob store."""
    settings = stack.settings
    assert settings.s3_access_key
    assert settings.s3_secret_key
    return Minio(
        str(settings.s3_url).removeprefix("http://"),
        settings.s3_access_key.get_secret_value(),
        settings.s3_secret_key.get_secret_value(),
        secure=False,
    )


def test_another_tenants_bytes_cannot_be_had_by_naming_them(user: User, stack: Stack) -> None:
    secret, key = support.rows(10), f"somebody-else/file-{uuid4().hex}/content"
    s3(stack).put_object(stack.settings.s3_bucket, key, io.BytesIO(secret), len(secret))
    blob = {"key": key, "sha256": hashlib.sha256(secret).hexdigest(), "bytes": len(secret)}
    file, uploaded = cloud_event("file.uploaded", {"blob": blob, "filename": "a", "purpose": "fine-tune"}, "file-")
    asyncio.run(send(stack, uploaded))

    def refused() -> Any:
        answer = user.get(f"/files/{file}")
        return answer.json() if answer.status_code == 200 and answer.json()["status"] == "error" else None

    assert support.until(refused, "the refusal")["validation"]["code"] == "foreign_blob"
    assert user.get(f"/files/{file}/content").status_code == 404


def test_a_stock_cloudevents_client_gets_its_job_done(user: User, stack: Stack) -> None:
    settings = stack.settings
    content = support.rows(12)
    store = s3(stack)
    key = f"local/ingest/{uuid4().hex}/rows.jsonl"
    store.put_object(settings.s3_bucket, key, io.BytesIO(content), len(content))
    blob = {"key": key, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    file, uploaded = cloud_event(
        "file.uploaded", {"blob": blob, "filename": "rows.jsonl", "purpose": "fine-tune"}, "file-"
    )
    few = {"n_epochs": 2, "batch_size": 4}
    job, created = cloud_event(
        "job.created",
        {"model": support.BASE, "training_file": file, "suffix": "outside", "hyperparameters": few},
        "ftjob-",
    )
    asyncio.run(send(stack, created, uploaded, uploaded, created))  # in any order, and more than once

    def shown() -> bool:
        return user.get(f"/fine_tuning/jobs/{job}").status_code == 200

    support.until(shown, "the job in the API")
    done = user.wait(job, "succeeded")
    assert done.training_file == file
    assert str(done.fine_tuned_model).split(":")[3] == "outside"
    assert user.client.files.retrieve(file).status == "processed"
    assert support.endings(support.log_of(stack), job) == ["job.succeeded"]
    assert user.client.files.content(file).read() == content
    store.remove_object(settings.s3_bucket, key)
    assert user.client.files.content(file).read() == content, "the bytes are the file's own by now"
    manifest = {"key": "somebody-else/model/manifest.json", "sha256": "0" * 64}
    models = {"tuned": {"name": done.fine_tuned_model, "manifest": manifest}, "base": {"name": support.BASE}}
    asked = {"models": models, "base_name": support.BASE, "file": file, "suite": {"tasks": ["trained"], "items": 4}}
    bench, wanted = cloud_event("benchmark.requested", asked, "bench-")
    foreign, refused = cloud_event("benchmark.requested", {**asked, "job": f"ftjob-{uuid4().hex}"}, "bench-")
    asyncio.run(send(stack, wanted, refused))

    def benchmarked(id: str) -> Any:
        answer = user.get(f"/benchmarks/{id}")
        shown = answer.json() if answer.status_code == 200 else {"status": "unknown"}
        return shown if shown["status"] not in ("unknown", "queued", "running") else None

    shown_bench = support.until(lambda: benchmarked(bench), "the end of the benchmark")
    assert shown_bench["status"] == "completed", shown_bench["error"]
    progress = shown_bench["progress"]
    assert progress["answered"] == progress["total"] > 0, "what is registered under the names was asked"
    assert support.until(lambda: benchmarked(foreign), "the refusal")["error"]["code"] == "job_not_found"


def test_documents_that_another_system_calls_rows_become_a_data_set(user: User, stack: Stack) -> None:
    content, key = archive(5), f"local/ingest/{uuid4().hex}/handbook"
    s3(stack).put_object(stack.settings.s3_bucket, key, io.BytesIO(content), len(content))
    blob = {"key": key, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    said = {"blob": blob, "filename": "handbook", "purpose": "fine-tune"}
    file, uploaded = cloud_event("file.uploaded", said, "file-")
    asyncio.run(send(stack, uploaded))
    support.until(lambda: user.get(f"/files/{file}").status_code == 200, "the file in the API")
    assert validation(checked(user, file))["is_generated_dataset"]
    assert user.client.files.content(file).read() == content


def test_a_job_for_an_unknown_file_waits_visibly_and_then_fails(user: User, stack: Stack) -> None:
    file = f"file-{uuid4().hex}"
    job, created = cloud_event("job.created", {"model": support.BASE, "training_file": file}, "ftjob-")
    asyncio.run(send(stack, created))

    def told() -> list[Any]:  # in the list of events, where it stays: the wait itself is over in seconds
        answer = user.get(f"/fine_tuning/jobs/{job}/events")
        lines = answer.json()["data"] if answer.status_code == 200 else []
        return [line for line in lines if line["data"] and line["data"].get("code") == "waiting_for_file"]

    (line,) = support.until(told, "the wait, told")
    assert line["level"] == "warn"
    assert file in line["message"]
    error = user.wait(job, "failed").error
    assert error is not None
    assert (error.code, error.param) == ("file_not_found", "training_file")
    assert file in error.message
    assert support.endings(support.log_of(stack), job) == ["job.failed"]


def test_requests_from_outside_pause_resume_and_cancel(user: User, stack: Stack) -> None:
    job = user.job(user.upload(support.rows(24)), 30)
    user.wait(job, "running")
    asyncio.run(send(stack, cloud_event("job.pause_requested", {}, "ftjob-", job)[1]))
    user.wait(job, "paused")
    asyncio.run(send(stack, cloud_event("job.resume_requested", {}, "ftjob-", job)[1]))
    user.wait(job, "running")
    asyncio.run(send(stack, cloud_event("job.cancel_requested", {}, "ftjob-", job)[1]))
    user.wait(job, "cancelled")
    assert support.endings(support.log_of(stack), job) == ["job.cancelled"]
