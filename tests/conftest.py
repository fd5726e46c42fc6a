"""What all tests share."""

import gc

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = ["tests.stack"]

# How fast a machine is at the moment is no property of the code.
settings.register_profile("temper", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("temper")

# What the tests import stays: looking for cycles in it takes a fifth of the collection, and later of each search.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # libraries complain of what is still there at the end


WITH_DOCUMENTS = "benchmark clients documents documents_replay generator hostile legacy outside recurate"
SHARED = {
    "documents": tuple(f"tests/e2e/test_{name}.py" for name in WITH_DOCUMENTS.split()),
    "apart": tuple(f"tests/e2e/test_{name}.py" for name in ("real_documents", "tracking", "secrets")),
    "jobs": ("tests/e2e/", "tests/docs/test_readme_e2e.py"),
    "servers": ("tests/connected/", "tests/conformance/"),
}
"""Tests that one worker runs, for they share what takes long to start: a stack with documents, stacks of their own one
after the other, a stack with jobs, bare servers. A test belongs to the first that names it."""


class StacksFirst(LoadScopeScheduling):  # type: ignore[misc]
    """One worker for each of SHARED; all else goes file by file to whoever is free.

    Much of it is waiting (leases, restarts): four at once keep two processors busy. The stacks come first, or they
    would be waited for: `--no-loadscope-reorder`.
    """

    def _split_scope(self, nodeid: str) -> str:
        shared = (scope for scope, paths in SHARED.items() if nodeid.startswith(paths))
        return next(shared, nodeid.partition("::")[0])


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object | None:
    """With `--dist loadgroup`: xdist 3.8 cannot tell groups by marks under pytest 9.2, so they go by path."""
    return StacksFirst(config, log) if config.getvalue("dist") == "loadgroup" else None
