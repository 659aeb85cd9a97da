"""A local cloud, named in this process's environment as it is in a launcher's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local import services

__all__ = ["cloud_in"]


@contextmanager
def cloud_in(directory: Path) -> Iterator[services.Endpoints]:
    """GCS and BigQuery with their data in `directory`, while the block lasts."""
    endpoints = services.up(directory, ("gcs", "bigquery"))
    try:
        with pytest.MonkeyPatch.context() as environment:
            for name, value in endpoints.environment().items():
                environment.setenv(name, value)
            yield endpoints
    finally:
        services.down(directory)
