"""P2, P6: a worker that is killed while nobody takes what it tells leaves one mail and one call, each told once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest
from openai import OpenAI

from contracts.envelope import body
from infra.cli.keys import NewKey, create_key
from tests.e2e import support
from tests.e2e.support import UNMEASURED, User
from tests.receivers import Endpoint, Post, endpoint, wanted

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]
ADA = "ada@example.com"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Endpoint]:
    with endpoint() as running:
        yield running


@pytest.fixture(scope="module")
def ada(tracked: User) -> Iterator[User]:
    """Somebody with an address, who shares a stack with others."""
    stack = tracked.stack
    made: NewKey = support.in_world(stack, lambda here: create_key(here.emit, here.documents, "ada", "ada", email=ADA))
    to: dict[str, Any] = {"base_url": stack.base_url, "api_key": made.secret, "max_retries": 6}
    with OpenAI(**to, _strict_response_validation=True) as client, OpenAI(**to) as lenient:
        yield User(stack, client, lenient)


def test_one_mail_and_one_call_although_the_worker_is_killed_between(ada: User, post: Post, receiver: Endpoint) -> None:
    stack = ada.stack
    post.answer, receiver.status = "451 not now", 503
    made = ada.client.webhooks.create(**wanted(receiver.url))
    assert [each.id for each in ada.client.webhooks.list()] == [made.id]
    job = ada.job(ada.upload(support.rows(12)), **UNMEASURED)
    done = ada.wait(job, "succeeded")
    support.until(lambda: post.tried and receiver.calls, "a first try of each")
    before = stack.process("worker").restarts
    stack.kill("worker", signal.SIGKILL)
    post.answer, receiver.status = "250 OK", 200
    support.restarted(stack, "worker", before)
    told = support.until(lambda: _told(ada, 2), "that both were told")
    assert [each.data.answer for each in told] in (["250", "200"], ["200", "250"])
    (mail,) = post.mails
    assert mail["To"] == ADA
    assert str(done.fine_tuned_model) in mail["Subject"]
    ((headers, content),) = receiver.taken()
    event = ada.client.webhooks.unwrap(content, headers, secret=made.signing_secret)
    assert event.type == "fine_tuning.job.succeeded"
    assert event.data.id == job
    assert len({headers["webhook-id"] for _, headers, _ in receiver.calls}) == 1
    assert len(set(post.tried)) == 1
    extra: Any = ada.retrieve(job).model_extra
    assert extra["temper"]["creator_id"].startswith("key-")
    secret = made.signing_secret.removeprefix("whsec_").encode()
    assert not [each.type for each in support.log_of(stack) if secret in body(each)]
    assert secret.decode() not in stack.log("worker") + stack.log("edge")


def _told(user: User, count: int) -> list[Any]:
    found = {each.id: each for each in support.log_of(user.stack, "notification.delivered")}
    return list(found.values()) if len(found) == count else []
