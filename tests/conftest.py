"""What all tests share."""

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = ["tests.stack"]

# How fast a machine is at the moment is no property of the code.
settings.register_profile("temper", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("temper")


ON_THE_STACK = ("tests/e2e/", "tests/docs/test_readme_e2e.py")
OWN_STACK = "tests/e2e/test_real_documents.py"


class TwoWorkers(LoadScopeScheduling):  # type: ignore[misc]
    """One worker has the whole stack, the other the bare servers and whatever starts its own, so each starts once."""

    def _split_scope(self, nodeid: str) -> str:
        return "stack" if nodeid.startswith(ON_THE_STACK) and not nodeid.startswith(OWN_STACK) else "servers"


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object | None:
    """With `--dist loadgroup`: xdist 3.8 cannot tell groups by marks under pytest 9.2, so they go by path."""
    return TwoWorkers(config, log) if config.getvalue("dist") == "loadgroup" else None
