"""What the end-to-end tests share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openai import OpenAI

from tests.e2e import support
from tests.e2e.support import Unbroken, User
from tests.judge import judging
from tests.quoting import Quoting, quoting_keys
from tests.receivers import Post, mail_server
from tests.stack import COMPARABLE, Stack, running_stack

LAST = ("test_documents_replay.py", "test_replay.py", "test_secrets.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What looks at the log of the whole run comes last."""
    items.sort(key=lambda item: item.path.name in LAST and item.path.parent.name == "e2e")


@pytest.fixture(scope="session")
def user(stack: Stack) -> Iterator[User]:
    """Somebody with the first API key; waits through restarts of the edge."""
    to: dict[str, Any] = {"base_url": stack.base_url, "api_key": stack.api_key, "max_retries": 6}
    with OpenAI(**to, _strict_response_validation=True) as client, OpenAI(**to) as lenient:
        yield User(stack, client, lenient)


@pytest.fixture(scope="session")
def quoting() -> Iterator[Quoting]:
    """An endpoint of generator and judge that says in its refusals which key it was given."""
    with judging(faulty=False) as judge, quoting_keys(judge) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def post() -> Iterator[Post]:
    """The mail server of the stack below."""
    with mail_server() as running:
        yield running


@pytest.fixture(scope="session")
def tracked(tmp_path_factory: pytest.TempPathFactory, quoting: Quoting, post: Post) -> Iterator[User]:
    """Somebody on a stack that mails, whose runs are tracked, and whose generator and judge want keys."""
    generators = tmp_path_factory.mktemp("generators") / "generators.json"
    generators.write_text(json.dumps(quoting.generators()))
    env = {
        **COMPARABLE,
        "TEMPER_TRACKING": "mlflow",
        "TEMPER_BENCHMARKS": "default",
        "TEMPER_BENCHMARK_ITEMS": "8",
        "TEMPER_WANDB": "offline",
        "TEMPER_GENERATORS_FILE": str(generators),
        "TEMPER_JUDGE_URL": quoting.url("judge"),
        "TEMPER_JUDGE_MODEL": "strict-1",
        "TEMPER_JUDGE_KEY": quoting.judge_key,
        "TEMPER_SMTP_URL": f"smtp://127.0.0.1:{post.port}",
        "TEMPER_WEBHOOK_PRIVATE": "allow",
    }
    with running_stack(tmp_path_factory.mktemp("tracked"), env=env) as stack:
        to: dict[str, Any] = {"base_url": stack.base_url, "api_key": stack.api_key, "max_retries": 6}
        with OpenAI(**to, _strict_response_validation=True) as client, OpenAI(**to) as lenient:
            yield User(stack, client, lenient)


@pytest.fixture(scope="session")
def unbroken(user: User) -> Unbroken:
    """A job with the same data, seed and hyperparameters as those that are hit."""
    file = user.upload(support.rows(support.ROWS))
    job = user.job(file, support.EPOCHS, support.BATCH)
    user.wait(job, "succeeded")
    return Unbroken(file, job, support.final_tensors(user.stack, job))
