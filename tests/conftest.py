"""What all tests share."""

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.stack"]

# How fast a machine is at the moment is no property of the code.
settings.register_profile("temper", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("temper")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With two workers, one has the whole stack and the other the bare servers, so that each is started once."""
    for item in items:
        needs: list[str] = getattr(item, "fixturenames", [])
        item.add_marker(pytest.mark.xdist_group("stack" if "stack" in needs else "servers"))
