"""What all tests share."""

import gc

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.stack", "tests.groups"]

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
