"""LLMHub's objects, made of the same views as OpenAI's."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from contracts.blobs import BlobRef
from contracts.documents import READ_MODELS, fold, touched
from contracts.envelope import make
from contracts.events import Payload
from contracts.events.corpus import DatasetAssembled, DatasetFailed, ZipUploaded
from contracts.events.files import FileRejected, FileUploaded, FileValidated, RowError
from contracts.events.jobs import (
    JobCancelled,
    JobCreated,
    JobDelayed,
    JobFailed,
    JobPaused,
    JobPauseRequested,
    JobProgressed,
    JobQueued,
    JobResumeRequested,
    JobStarted,
)
from contracts.events.models import ModelRegistered
from contracts.wire import legacy, openai
from tests.functional.edge import REF, metrics, plan

AT = 1_719_480_273_443
BLOB = BlobRef(key="local/file-1/content", sha256="0" * 64, bytes=7)
JOB = JobCreated(model="base", training_file="file-1", suffix="ft")
MODEL = ModelRegistered(
    kind="adapter", manifest=REF, template_sha256="1" * 64, context=8, owned_by="local", job="x-1", step=3
)


def views(model: str, *said: Payload | tuple[Payload, int], subject: str = "x-1") -> dict[str, Any]:
    """Fold what was said, an attempt beside it where that matters, and return the documents' views by id."""
    stored: dict[str, Any] = {}
    for number, each in enumerate(said):
        data, attempt = each if isinstance(each, tuple) else (each, 0)
        event = make(data, subject=subject, tenant="local", id=f"e{number}", epoch=attempt and 1, attempt=attempt)
        event = replace(event, at=AT)
        for touching, id in touched(event):
            if touching.name == model:
                stored[id] = fold(READ_MODELS[model], id, stored.get(id), event) or stored[id]
    return {id: each.view for id, each in stored.items()}


def file(*said: Payload, purpose: str = "fine-tune") -> dict[str, Any]:
    born = FileUploaded(blob=BLOB, filename="a", purpose=purpose)
    found: dict[str, Any] = views("files", born, *said)["x-1"]
    return found


def job(*said: Payload) -> dict[str, Any]:
    found: dict[str, Any] = views("jobs", JOB, *said)["x-1"]
    return found


def lines(*said: Payload | tuple[Payload, int]) -> list[dict[str, Any]]:
    found = views("job_events", *said).values()
    return [legacy.job_event(view) for view in sorted(found, key=lambda view: str(view["sort"]))]


def test_a_job_has_llmhubs_words_and_times() -> None:
    shown = legacy.job(job())
    assert shown["created_at"] == "2024-06-27T09:24:33.443000+00:00"
    assert (shown["object"], shown["status"], shown["suffix"]) == ("fine-tune", "queued", "ft")
    assert {name for name, value in shown.items() if value is None} == {
        "fine_tuned_model",
        "validation_file",
        "trained_tokens",
        "error",
        "finished_at",
        "estimated_finish",
        "validation_ratio",
        "message",
    }
    assert shown["hyperparameters"]["eval_batch_size"] is None


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ((), "queued"),
        ((JobQueued(plan=plan()),), "queued"),
        ((JobCancelled(reason="requested"),), "stopped"),
        ((JobFailed(code="c", message="Why."),), "failed"),
    ],
)
def test_states_have_llmhubs_names(said: tuple[Payload, ...], status: str) -> None:
    assert legacy.job(job(*said))["status"] == status


def test_a_running_job_shows_when_it_will_end() -> None:
    view = job(JobQueued(plan=plan(seconds=60.0)), JobStarted(from_step=0, total_steps=30, holder="me"))
    ends = datetime.fromisoformat(legacy.job(view)["estimated_finish"])
    assert ends.timestamp() == openai.job(view)["estimated_finish"] == AT // 1000 + 60


def test_a_job_says_what_it_waits_for_and_why_it_failed() -> None:
    assert legacy.job(job(JobDelayed(code="c", message="It waits.")))["message"] == "It waits."
    failed = legacy.job(job(JobFailed(code="c", message="Why.")))
    assert (failed["message"], failed["error"]["code"]) == ("Why.", "c")


def test_the_events_of_a_run_have_llmhubs_types() -> None:
    started = JobStarted(from_step=0, total_steps=30, holder="me")
    resumed = JobStarted(from_step=3, total_steps=30, holder="me")
    shown = lines(
        JOB,
        JobQueued(plan=plan()),
        (JobDelayed(code="c", message="It waits."), 1),
        (started, 1),
        (JobProgressed(steps=(metrics(1),), total_steps=30), 1),
        JobPauseRequested(),  # from outside: without an epoch
        (JobPauseRequested(), 1),
        (JobPaused(step=1), 1),
        (JobResumeRequested(), 2),
        (resumed, 2),
    )
    assert {line["message"]: line["type"] for line in shown if line["type"] not in ("message", "metrics")} == {
        "Created fine-tuning job: x-1": "submitted",
        "Fine-tuning job started": "start",
        "Fine-tuning job resumed from step 3": "start",
    }
    assert {line["level"] for line in shown} == {"info", "warning"}
    assert {line["created_at"] for line in shown} == {"2024-06-27T09:24:33"}
    assert [line["type"] for line in shown].count("metrics") == 1


@pytest.mark.parametrize(
    ("ending", "type"), [(JobFailed(code="c", message="Why."), "failed"), (JobCancelled(reason="requested"), "stopped")]
)
def test_an_ending_has_llmhubs_type(ending: Payload, type: str) -> None:
    assert lines(JOB, ending)[-1]["type"] == type


def test_what_a_job_leaves_behind_is_no_turn_of_it() -> None:
    kept, final = "ft:base:local::x:ckpt-step-3", "ft:base:local::x"
    shown = [view for name in (kept, final) for view in views("job_events", MODEL, subject=name).values()]
    assert len(shown) == 2
    assert {openai.milestone(view) for view in shown} == {None}


def test_openais_events_say_the_turn_beside_their_type() -> None:
    shown = [openai.job_event(view) for view in views("job_events", JOB).values()]
    assert {(line["type"], line["event"]) for line in shown} == {("message", "submitted"), ("message", None)}


def test_a_verdict_lists_sentences() -> None:
    valid = FileValidated(format="jsonl", shape="chat", rows=3, blob=BLOB)
    assert legacy.verdict(file(valid)) == {"id": "x-1", "errors": ["No errors found"], "object": "file"}
    errors = tuple(RowError(line=i, code="c", message=f"Example {i} is odd.") for i in (1, 2))
    rejected = FileRejected(code="c", message="Example 1 is odd.", param="file", rows=9, n_errors=5, errors=errors)
    assert legacy.verdict(file(rejected))["errors"] == [
        "Example 1 is odd.",
        "Example 2 is odd.",
        "3 more errors are not listed here; correct these first.",
    ]
    whole = FileRejected(code="c", message="The file is no file of rows.", param="file")
    assert legacy.verdict(file(whole))["errors"] == ["The file is no file of rows."]


def test_a_request_to_validate_says_whether_it_goes_on() -> None:
    waiting = legacy.validation(file())
    assert (waiting["file_id"], waiting["object"]) == ("x-1", "validation")
    assert "in progress" in waiting["message"]
    assert "complete" in legacy.validation(file(FileRejected(code="c", message="No.", param="file")))["message"]


def test_an_unchecked_file_shows_llmhubs_validation() -> None:
    shown = openai.file(file())
    assert shown["validation"] == {
        "object": "validation",
        "is_checked": False,
        "is_valid": False,
        "message": "File is not yet validated.",
        "errors": {},
        "is_generated_dataset": False,
    }
    assert shown["created_at_iso"] == "2024-06-27T09:24:33.443000+00:00"


def test_errors_are_listed_by_their_line() -> None:
    errors = tuple(RowError(line=line, code=code, message="Odd.") for line, code in ((1, "a"), (1, "b"), (7, "c")))
    rejected = FileRejected(code="a", message="Odd.", param="file", rows=9, n_errors=3, errors=errors)
    shown = openai.file(file(rejected))["validation"]
    assert {line: [each["code"] for each in found] for line, found in shown["errors"].items()} == {
        "1": ["a", "b"],
        "7": ["c"],
    }
    assert (shown["is_checked"], shown["is_valid"], shown["n_errors"]) == (True, False, 3)


@pytest.mark.parametrize("purpose", ["embedding", "ingestion"])
def test_wrong_rows_are_nothing_to_a_file_that_is_not_for_training(purpose: str) -> None:
    of_rows = FileRejected(code="unexpected_format", message="No rows.", param="file")
    of_bytes = FileRejected(code="foreign_blob", message="Not yours.", param="blob.key")
    valid = FileValidated(format="jsonl", shape="chat", rows=3, blob=BLOB)
    for verdict in (of_rows, valid):
        shown = openai.file(file(verdict, purpose=purpose))
        assert (shown["status"], shown["status_details"]) == ("processed", None)
        assert shown["validation"]["is_checked"] is False
        assert purpose in shown["validation"]["message"]
    shown = openai.file(file(of_bytes, purpose=purpose))
    assert (shown["status"], shown["validation"]["code"]) == ("error", "foreign_blob")


def test_rows_made_of_documents_are_called_generated() -> None:
    born = ZipUploaded(blob=BLOB, filename="a.zip", purpose="fine-tune")
    made = DatasetAssembled(
        blob=BLOB, rows=40, version="v", lineage=BLOB, report=BLOB, coverage=0.9, generator="extractive"
    )
    shown = openai.file(views("files", born, made)["x-1"])["validation"]
    assert (shown["is_generated_dataset"], shown["generator"], shown["rows"]) == (True, "extractive", 40)
    failed = openai.file(views("files", born, DatasetFailed(code="c", message="Why."))["x-1"])
    assert (failed["status"], failed["validation"]["message"]) == ("error", "Why.")
    assert legacy.verdict(views("files", born, DatasetFailed(code="c", message="Why."))["x-1"])["errors"] == ["Why."]
