"""P5: jobs that cannot succeed say why, in one coded state, and nothing else suffers."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from tests.e2e import support
from tests.e2e.support import User
from tests.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]
ROW = {"messages": [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "That."}]}


def lines(*rows: object) -> bytes:
    """Rows as JSON lines."""
    return "\n".join(json.dumps(row) for row in rows).encode()


def test_seven_rows_fail_with_openais_words(user: User, stack: Stack) -> None:
    job = user.job(user.upload(support.rows(7)))
    error = user.wait(job, "failed").error
    assert error is not None
    assert (error.code, error.param) == ("invalid_n_examples", "training_file")
    assert error.message == "Training file has 7 example(s), but must have at least 10 examples"
    assert support.endings(support.log_of(stack), job) == ["job.failed"]
    (newest, *_) = user.client.fine_tuning.jobs.list_events(job).data
    assert newest.level == "error"
    assert error.message in newest.message


def test_a_file_that_turns_out_to_be_wrong_fails_the_job_that_waits_for_it(user: User, stack: Stack) -> None:
    wrong = {"messages": [{"role": "user", "content": "What?"}]}
    file = user.upload(lines(*[ROW] * 11, wrong))
    job = _outcome(lambda: user.job(file))
    if job.startswith("ftjob-"):  # else the file was checked before the job was created
        error = user.wait(job, "failed").error
        assert error is not None
        assert (error.code, error.param) == ("invalid_training_file", "training_file")
        assert "Example 12" in error.message
    found = user.client.files.wait_for_processing(file, poll_interval=0.1)
    assert found.status == "error"
    with pytest.raises(openai.BadRequestError) as known:
        user.job(file)
    assert known.value.param == "training_file"
    assert "Example 12" in known.value.body["message"]


def test_a_row_that_the_model_cannot_be_shown_fails_the_job(user: User, stack: Stack) -> None:
    long = {"messages": [ROW["messages"][0], {"role": "assistant", "content": "very long " * 3000}]}
    job = user.job(user.upload(lines(*[ROW] * 11, long)))
    error = user.wait(job, "failed").error
    assert error is not None
    assert (error.code, error.param) == ("row_too_long", "training_file")
    assert "12" in error.message
    assert user.retrieve(job).model_extra["temper"]["attempts"] == 0


def test_files_in_use_stay_and_deleted_files_are_refused(user: User, stack: Stack) -> None:
    file = user.upload(support.rows(12))
    job = user.job(file)
    with pytest.raises(openai.BadRequestError) as kept:
        user.client.files.delete(file)
    assert (kept.value.code, kept.value.param) == ("file_in_use", "id")
    assert job in kept.value.body["message"]
    user.client.fine_tuning.jobs.cancel(job)
    assert user.client.files.delete(file).deleted
    with pytest.raises(openai.BadRequestError) as refused:
        user.job(file)
    assert (refused.value.code, refused.value.param) == ("file_deleted", "training_file")
    assert user.client.fine_tuning.jobs.retrieve(job).status == "cancelled"


def test_a_delete_that_races_a_create_leaves_no_job_in_silence(user: User, stack: Stack) -> None:
    rounds = 8
    files = [user.upload(support.rows(10, words=2)) for _ in range(rounds)]
    outcomes = []
    with ThreadPoolExecutor(2) as threads:
        for file in files:
            deleting = threads.submit(_outcome, lambda file=file: user.client.files.delete(file).id)
            creating = threads.submit(_outcome, lambda file=file: user.job(file))
            outcomes.append((creating.result(), deleting.result()))
    for created, deleted in outcomes:
        assert created in ("file_deleted", "file_not_found") or created.startswith("ftjob-"), created
        assert deleted == "file_in_use" or deleted.startswith("file-"), deleted
        if created.startswith("ftjob-") and deleted == "file_in_use":
            user.client.fine_tuning.jobs.cancel(created)
        elif created.startswith("ftjob-"):  # both were told yes: the job must say that its file is gone
            error = user.wait(created, "failed").error
            assert error is not None
            assert (error.code, error.param) == ("file_deleted", "training_file")
        else:
            assert deleted.startswith("file-"), "one of the two must be told yes"


def _outcome(call: Callable[[], str]) -> str:
    """The id that a call returns, or the code of its refusal."""
    try:
        return call()
    except openai.BadRequestError as refused:
        return str(refused.code)
