"""Which tests one worker of xdist runs, and when the servers that they share end."""

from collections.abc import Generator

import pytest
from xdist.scheduler import LoadScopeScheduling

WITH_DOCUMENTS = "benchmark clients documents documents_replay generator hostile legacy outside recurate"
TRACKED = "notebook notify real_documents secrets tracking"
SHARED = {
    "documents": tuple(f"tests/e2e/test_{name}.py" for name in WITH_DOCUMENTS.split()),
    "tracked": tuple(f"tests/e2e/test_{name}.py" for name in TRACKED.split()),
    "jobs": ("tests/e2e/", "tests/docs/test_readme_e2e.py"),
    "servers": ("tests/connected/", "tests/conformance/"),
}
"""Tests that one worker runs, for they share what takes long to start: a stack with documents, one that is tracked, one
with jobs, bare servers; all take as long. A test belongs to the first that names it."""


WITH_THEIR_OWN = "elsewhere local_stack log_lost put_back"
ALONE = tuple(f"tests/connected/test_{name}.py" for name in WITH_THEIR_OWN.split())
"""Tests that start, break and end servers of their own, so that anybody may run them."""


class StacksFirst(LoadScopeScheduling):  # type: ignore[misc]
    """One worker for each of SHARED; all else goes file by file to whoever is free.

    Much of it is waiting (leases, restarts): three at once keep two processors busy, and one more stack would take a
    sixth of one. The stacks come first, or they would be waited for: `--no-loadscope-reorder`.
    """

    @staticmethod
    def group(nodeid: str) -> str | None:
        """Return which of SHARED a test belongs to."""
        if nodeid.startswith(ALONE):
            return None
        return next((scope for scope, paths in SHARED.items() if nodeid.startswith(paths)), None)

    def _split_scope(self, nodeid: str) -> str:
        return self.group(nodeid) or nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object | None:
    """With `--dist loadgroup`: xdist 3.8 cannot tell groups by marks under pytest 9.2, so they go by path."""
    return StacksFirst(config, log) if config.getvalue("dist") == "loadgroup" else None


SERVERS = {"stack", "tracked", "servers"}
"""Fixtures that start servers."""
STARTED: list[tuple[pytest.FixtureDef[object], pytest.FixtureRequest]] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests with servers of their own behind those that share some, which would idle beside them."""
    items.sort(key=lambda item: StacksFirst.group(item.nodeid) is not None and not _shared(item))


def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest) -> None:
    """Note what is ended below; a conftest.py is not asked about fixtures of the session."""
    if fixturedef.argname in SERVERS:
        STARTED.append((fixturedef, request))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None]:
    """End servers with the last test of a group that shares them: those that nobody asks take a sixth of a processor.

    Whoever asks for them all the same starts them again.
    """
    yield
    group = StacksFirst.group(item.nodeid)
    if nextitem is None or group is None:
        return
    behind = item.session.items[item.session.items.index(item) + 1 :]
    needed = {name for each in behind if StacksFirst.group(each.nodeid) == group for name in _shared(each)}
    for started in [each for each in STARTED if each[0].argname not in needed]:
        STARTED.remove(started)
        started[0].finish(started[1])


def _shared(item: pytest.Item) -> set[str]:
    return SERVERS & set(getattr(item, "fixturenames", ()))
