"""What all tests share."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.stack"]

# How fast a machine is at the moment is no property of the code.
settings.register_profile("temper", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("temper")
