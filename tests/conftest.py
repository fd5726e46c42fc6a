"""What all tests share."""

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = ["tests.stack"]

# How fast a machine is at the moment is no property of the code.
settings.register_profile("temper", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("temper")


JOBS = ("tests/e2e/", "tests/docs/test_readme_e2e.py")
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


class TwoWorkers(LoadScopeScheduling):  # type: ignore[misc]
    """One worker has jobs on a whole stack; the other the bare servers, then documents and so on, on its own stack.

    Most of either is waiting (leases, restarts), so that two stacks at once take half the time of one.
    """

    def _split_scope(self, nodeid: str) -> str:
        return "jobs" if nodeid.startswith(JOBS) and not nodeid.startswith(DOCUMENTS) else "documents"


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object | None:
    """With `--dist loadgroup`: xdist 3.8 cannot tell groups by marks under pytest 9.2, so they go by path."""
    return TwoWorkers(config, log) if config.getvalue("dist") == "loadgroup" else None
