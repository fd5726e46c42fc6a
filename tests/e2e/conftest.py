"""What the end-to-end tests share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from openai import OpenAI

from tests.e2e import support
from tests.e2e.support import Unbroken, User
from tests.stack import Stack

LAST = ("test_documents_replay.py", "test_replay.py")


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
def unbroken(user: User) -> Unbroken:
    """A job with the same data, seed and hyperparameters as those that are hit."""
    file = user.upload(support.rows(support.ROWS))
    job = user.job(file, support.EPOCHS, support.BATCH)
    user.wait(job, "succeeded")
    return Unbroken(file, job, support.final_tensors(user.stack, job))
