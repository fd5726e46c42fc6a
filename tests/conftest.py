"""What all tests share."""

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = ["tests.stack"]

# How fast a machine is at the moment is no property of the code.
settings.register_profile("temper", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("temper")


STACK = ("tests/e2e/", "tests/docs/test_readme_e2e.py")
DOCUMENTS = tuple(
    f"tests/e2e/test_{name}.py"
    for name in (
        "benchmark",
        "documents",
        "documents_replay",
        "generator",
        "hostile",
        "legacy",
        "real_documents",
        "recurate",
        "tracking",
    )
)


class StacksFirst(LoadScopeScheduling):  # type: ignore[misc]
    """One worker has jobs on a whole stack, one documents and what follows on another; the others take file by file.

    Much of it is waiting (leases, restarts): four at once keep two processors busy. Whoever is done takes files too.
    The two stacks come first, or they would be waited for: `--no-loadscope-reorder`.
    """

    def _split_scope(self, nodeid: str) -> str:
        if not nodeid.startswith(STACK):
            return nodeid.partition("::")[0]
        return "documents" if nodeid.startswith(DOCUMENTS) else "jobs"


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object | None:
    """With `--dist loadgroup`: xdist 3.8 cannot tell groups by marks under pytest 9.2, so they go by path."""
    return StacksFirst(config, log) if config.getvalue("dist") == "loadgroup" else None
