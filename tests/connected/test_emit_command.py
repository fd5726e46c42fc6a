"""`temper emit`: what it publishes is believed, and what would be refused is refused with a sentence."""

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from contracts import envelope
from contracts.envelope import outside_subject
from contracts.events.jobs import JobCreated
from infra.adapters.kafka import ensure_topics
from infra.cli.main import main
from infra.settings import Settings
from tests.connected.log import Tap

pytestmark = pytest.mark.connected

JOB = json.dumps({"model": "temper-demo-1m", "training_file": "file-1"})


@pytest.fixture
async def known(servers: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The command finds Kafka and the signing key; returns Kafka's address."""
    assert servers.kafka_bootstrap
    await ensure_topics(servers.kafka_bootstrap)
    monkeypatch.setenv("TEMPER_HOME", str(tmp_path))
    monkeypatch.setenv("TEMPER_KAFKA_BOOTSTRAP", servers.kafka_bootstrap)
    monkeypatch.setenv("TEMPER_SIGNING_KEY", "the signing key of the tests")
    return servers.kafka_bootstrap


def emit(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """Run the command; returns what it prints, or its error message."""
    with pytest.raises(SystemExit) as ended:
        main(["emit", *arguments])
    printed = capsys.readouterr()
    return json.loads(printed.out) if ended.value.code == 0 else printed.err


def test_an_outsiders_job_is_believed_under_its_derived_name(known: str, capsys: pytest.CaptureFixture[str]) -> None:
    said, again = (emit(capsys, "job.created", "--data", JOB, "--source", "crm", "--id", "42") for _ in range(2))
    assert said["subject"] == outside_subject("ftjob-", "local", "crm", "42")
    assert (said["id"], said["subject"]) == (again["id"], again["subject"])
    assert again["at"] >= said["at"] > 0


async def test_what_it_publishes_is_what_the_functions_read(
    known: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    tap = await Tap.open(known, "job.created")
    (tmp_path / "job.json").write_text(JOB)
    orders = [
        ["--tenant", "acme", "--key", "key-1"],
        ["--tenant", "acme", "--signed", "--subject", f"ftjob-{uuid4().hex}"],
        [],
    ]
    for order in orders:
        await asyncio.to_thread(emit, capsys, "job.created", "--data", f"@{tmp_path / 'job.json'}", *order)
    records = sorted(await tap.records(), key=lambda record: record.at)
    events = [envelope.read(record, b"the signing key of the tests", "local") for record in records]
    assert [event.tenant for event in events] == ["acme", "acme", "local"]
    assert [event.source for event in events] == ["temper-emit", "temper", "temper-emit"]
    assert [event.data for event in events] == [JobCreated(model="temper-demo-1m", training_file="file-1")] * 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["job.made", "--data", JOB], "There is no topic job.made. Known are file.uploaded"),
        (["job.created", "--data", "{"], "The data is not JSON"),
        (["job.created", "--data", "@no-such-file"], "no-such-file cannot be read: No such file"),
        (["job.created", "--data", "{}"], "(bad_schema): job.created: model: Field required"),
        (["job.created", "--data", "[]"], "(bad_json): the body is not a JSON object"),
        (["job.created", "--data", JOB, "--subject", "ftjob-1"], "(bad_subject): ce_subject must be ftjob-"),
        (["job.created", "--data", JOB, "--tenant", "acme"], "not accepted for tenant acme; sign with --key"),
        (["job.cancel_requested", "--data", "{}"], "job.cancel_requested needs a --subject: the ftjob-"),
        (
            ["job.cancel_requested", "--data", "{}", "--subject", "x"],
            "ce_subject must start with ftjob-",
        ),
        (["job.succeeded", "--data", "{}"], "job.succeeded may only be published by Temper itself; see --signed."),
        (["file.deleted", "--data", "{}", "--signed"], "needs a --subject"),
        (["job.created", "--data", "{}", "--signed", "--subject", "x"], "cannot say that: model: Field required"),
    ],
)
def test_what_would_be_refused_is_not_published(
    known: str, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert sentence in emit(capsys, *arguments)


def test_without_keys_it_says_which_one_it_needs(
    known: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEMPER_SIGNING_KEY")
    order = ["file.deleted", "--data", "{}", "--signed", "--subject", "file-1"]
    assert "--signed needs TEMPER_SIGNING_KEY" in emit(capsys, *order)
    order = ["job.created", "--data", JOB, "--tenant", "acme", "--key", "key-1"]
    assert "Set TEMPER_INGEST_SECRET" in emit(capsys, *order)
    monkeypatch.setenv("TEMPER_INGEST_SECRET", "secret")
    assert emit(capsys, *order)["tenant"] == "acme"


def test_without_kafka_it_says_so(
    known: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEMPER_KAFKA_BOOTSTRAP")
    assert "No Kafka is known. Start the stack with `temper up`" in emit(capsys, "job.created", "--data", JOB)
