"""P7: what is deleted or has expired is gone from answers and stores, on the whole stack; nothing else is."""

from __future__ import annotations

import time

import openai
import pytest
from openai.types.chat import ChatCompletionUserMessageParam

from infra.runtime.sweeper import Sweeper
from infra.runtime.world import World
from tests.e2e import support
from tests.e2e.support import User
from tests.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]


def kept(stack: Stack, *subjects: str) -> list[str]:
    """The keys of all blobs of these subjects."""

    async def listed(here: World) -> list[str]:
        return [key for subject in subjects for key in await here.blobs.list(f"local/{subject}/")]

    found: list[str] = support.in_world(stack, listed)
    return found


def test_a_deleted_job_leaves_its_rows_and_nothing_else(user: User, stack: Stack) -> None:
    file = user.upload(support.rows(12))
    job = user.job(file)
    done = user.wait(job, "succeeded")
    model = str(done.fine_tuned_model)

    def answered_by() -> str:
        asked = [ChatCompletionUserMessageParam(role="user", content="q")]
        return user.client.chat.completions.create(model=model, messages=asked, max_tokens=2).model

    assert answered_by() == model
    before = user.get("/usage/storage").json()
    deleted = user.client.delete(f"/fine_tuning/jobs/{job}", cast_to=object)
    assert isinstance(deleted, dict)
    assert (deleted["deleted"], deleted["files"]) == (True, done.result_files)
    assert model in deleted["models"]
    with pytest.raises(openai.NotFoundError):
        user.client.fine_tuning.jobs.retrieve(job)
    with pytest.raises(openai.NotFoundError):
        answered_by()
    assert model not in {each.id for each in user.client.models.list()}
    support.until(lambda: not kept(stack, job, *done.result_files), "the end of the job's bytes")
    assert kept(stack, file), "the rows are the user's own"
    assert user.client.files.retrieve(file).status == "processed"
    after = user.get("/usage/storage").json()
    assert after["bytes"] < before["bytes"]
    user.client.files.delete(file)
    support.until(lambda: not kept(stack, file), "the end of the file's bytes")


def test_a_file_whose_time_has_come_is_gone_and_another_stays(user: User, stack: Stack) -> None:
    stays = user.upload(support.rows(10))
    goes = user.client.files.create(
        file=("rows.jsonl", support.rows(10)),
        purpose="fine-tune",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert goes.expires_at == goes.created_at + 3600
    user.client.files.wait_for_processing(goes.id, poll_interval=0.2)

    async def an_hour_later(here: World) -> int:
        def now() -> int:
            return (goes.expires_at or 0) * 1000 + 1000

        return await Sweeper(here.documents, here.blobs, here.emit, here.requests, here.controls, now).expire()

    assert time.time() < (goes.expires_at or 0)
    assert support.in_world(stack, an_hour_later) >= 1
    with pytest.raises(openai.NotFoundError):
        user.client.files.retrieve(goes.id)
    support.until(lambda: not kept(stack, goes.id), "the end of the file's bytes")
    assert user.client.files.retrieve(stays).id == stays
    assert kept(stack, stays)
