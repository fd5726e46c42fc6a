"""When a job waits, fails or is ready, given what is known of its files and its model."""

from typing import Any

import pytest

from contracts.envelope import derived_id
from functions.prepare_job.core import Fail, Ready, Wait, decide, delayed, failed

WAIT = 300_000
BASE = {"kind": "base", "context": 128, "manifest": {"key": "k", "sha256": "s"}, "deleted": False}


def job(validation: str | None = None) -> dict[str, Any]:
    created = {"training_file": "file-t", "validation_file": validation, "model": "tiny"}
    return {"id": "ftjob-1", "tenant": "acme", "at": 1000, "created": created}


def file(rows: int = 20, **more: Any) -> dict[str, Any]:
    return {
        "tenant": "acme",
        "purpose": "fine-tune",
        "archive": False,
        "validated": {"rows": rows, "blob": {"key": "b"}, "has_tools": False, "shape": "chat"},
        "rejected": None,
        "deleted": False,
        **more,
    }


REJECTED = {"code": "missing_role", "message": "Invalid file format. Example 3, message 2 Discriminator …"}


def test_a_job_with_all_it_needs_is_ready() -> None:
    found = decide(job("file-v"), {"file-t": file(), "file-v": file(3)}, BASE, 1000, WAIT)
    assert isinstance(found, Ready)
    assert found.inputs["training"] == {
        "id": "file-t",
        "blob": {"key": "b"},
        "rows": 20,
        "has_tools": False,
        "shape": "chat",
    }
    assert found.inputs["validation"]["rows"] == 3
    assert found.inputs["base"] == BASE


@pytest.mark.parametrize("unknown", [None, file(tenant="other")])
def test_an_unknown_or_foreign_file_is_waited_for_and_then_not_found(unknown: dict[str, Any] | None) -> None:
    early = decide(job(), {"file-t": unknown}, BASE, 1000 + WAIT - 1, WAIT)
    late = decide(job(), {"file-t": unknown}, BASE, 1000 + WAIT, WAIT)
    assert isinstance(early, Wait)
    assert early.code == "waiting_for_file"
    assert isinstance(late, Fail)
    assert (late.code, late.param) == ("file_not_found", "training_file")
    assert late.message.startswith("No such File object: file-t")


def test_an_unknown_model_is_waited_for_and_then_not_found() -> None:
    for base in (None, {**BASE, "deleted": True}):
        early, late = (decide(job(), {"file-t": file()}, base, now, WAIT) for now in (1000, 1000 + WAIT))
        assert isinstance(early, Wait)
        assert early.code == "waiting_for_model"
        assert isinstance(late, Fail)
        assert (late.code, late.param) == ("model_not_found", "model")


def test_a_file_being_validated_is_waited_for_without_a_word_and_without_an_end() -> None:
    found = decide(job(), {"file-t": file(validated=None)}, BASE, 10**12, WAIT)
    assert found == Wait()
    assert delayed("ftjob-1", "acme", "e", Wait()) is None


def test_documents_are_waited_for_until_their_data_set_is_whole_and_the_job_says_so() -> None:
    found = decide(job(), {"file-t": file(validated=None, archive=True)}, BASE, 10**12, WAIT)
    assert isinstance(found, Wait)
    assert found.code == "waiting_for_dataset"
    assert isinstance(decide(job(), {"file-t": file(archive=True)}, BASE, 10**12, WAIT), Ready)


@pytest.mark.parametrize(
    ("training", "code"),
    [
        (file(deleted=True), "file_deleted"),
        (file(purpose="fine-tune-results"), "invalid_file_purpose"),
        (file(rejected=REJECTED, validated=None), "invalid_training_file"),
        (file(7), "invalid_n_examples"),
    ],
)
def test_a_file_that_cannot_be_used_fails_the_job_at_once_even_if_the_model_is_unknown(
    training: dict[str, Any], code: str
) -> None:
    found = decide(job(), {"file-t": training}, None, 1000, WAIT)
    assert isinstance(found, Fail)
    assert (found.code, found.param) == (code, "training_file")


def test_failures_have_openais_wording() -> None:
    few = decide(job(), {"file-t": file(7)}, BASE, 0, WAIT)
    bad = decide(job("file-v"), {"file-t": file(), "file-v": file(rejected=REJECTED)}, BASE, 0, WAIT)
    assert isinstance(few, Fail)
    assert few.message == "Training file has 7 example(s), but must have at least 10 examples"
    assert isinstance(bad, Fail)
    assert (bad.code, bad.param) == ("invalid_validation_file", "validation_file")
    text = "The job failed due to an invalid validation file. Invalid file format. Example 3, message 2 Discriminator"
    assert bad.message.startswith(text)


def test_a_tuned_model_is_no_base() -> None:
    found = decide(job(), {"file-t": file()}, {**BASE, "kind": "adapter"}, 0, WAIT)
    assert isinstance(found, Fail)
    assert found.code == "unsupported_model"


def test_events_have_ids_of_their_natural_keys() -> None:
    ending = failed("ftjob-1", "acme", None, Fail("c", "m"))
    waiting = delayed("ftjob-1", "acme", "e", Wait("waiting_for_file", "text"))
    assert ending.id == derived_id("ftjob-1", "end")
    assert waiting is not None
    assert waiting.id == derived_id("ftjob-1", "job.delayed", "waiting_for_file")
