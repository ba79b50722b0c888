"""What holds for every test."""

from hypothesis import HealthCheck, settings

# No test asserts a speed, not even by way of a property: the machine may be busy.
settings.register_profile(
    "sidecar", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("sidecar")
