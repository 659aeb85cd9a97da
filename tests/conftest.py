"""Settings of all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests.leftovers import no_process_is_left

__all__ = ["no_process_is_left"]

# A busy machine is no defect: examples are not timed, and CI is not stopped by a slow one.
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")
