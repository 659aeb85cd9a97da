"""What one module has logged: a test's process may hold clients of other tests, which log too."""

from __future__ import annotations

import pytest

__all__ = ["logged_by"]


def logged_by(module: str, caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the messages of the module's logger, in their order."""
    return [record.getMessage() for record in caplog.records if record.name == module]
