"""Which tests one worker of xdist runs, and when the servers that they share end."""

from collections.abc import Generator

import pytest
from xdist.scheduler import LoadScopeScheduling

WITH_DOCUMENTS = "benchmark clients documents documents_replay generator hostile legacy outside real_base recurate"
SHARED = {
    "documents": tuple(f"tests/e2e/test_{name}.py" for name in WITH_DOCUMENTS.split()),
    "apart": tuple(f"tests/e2e/test_{name}.py" for name in ("real_documents", "tracking", "secrets", "notebook")),
    "jobs": ("tests/e2e/", "tests/docs/test_readme_e2e.py"),
    "servers": ("tests/connected/", "tests/conformance/"),
}
"""Tests that one worker runs, for they share what takes long to start: a stack with documents, stacks of their own one
after the other, a stack with jobs, bare servers; all take as long. A test belongs to the first that names it."""


class StacksFirst(LoadScopeScheduling):  # type: ignore[misc]
    """One worker for each of SHARED; all else goes file by file to whoever is free.

    Much of it is waiting (leases, restarts): four at once keep two processors busy. The stacks come first, or they
    would be waited for: `--no-loadscope-reorder`.
    """

    @staticmethod
    def group(nodeid: str) -> str | None:
        """Return which of SHARED a test belongs to."""
        return next((scope for scope, paths in SHARED.items() if nodeid.startswith(paths)), None)

    def _split_scope(self, nodeid: str) -> str:
        return self.group(nodeid) or nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object | None:
    """With `--dist loadgroup`: xdist 3.8 cannot tell groups by marks under pytest 9.2, so they go by path."""
    return StacksFirst(config, log) if config.getvalue("dist") == "loadgroup" else None


STARTED: list[tuple[pytest.FixtureDef[object], pytest.FixtureRequest]] = []


def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest) -> None:
    """Note what is ended below; a conftest.py is not asked about fixtures of the session."""
    if fixturedef.argname in ("stack", "tracked", "servers"):
        STARTED.append((fixturedef, request))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None]:
    """End servers with the last test that shares them: those that nobody asks take a quarter of a processor.

    Whoever asks for them all the same starts them again.
    """
    yield
    if nextitem is not None and StacksFirst.group(item.nodeid) and not StacksFirst.group(nextitem.nodeid):
        while STARTED:
            fixture, request = STARTED.pop()
            fixture.finish(request)
