"""Fixtures for the tests of the containers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.containers.compose import TEXT, free_ports, resolved


@pytest.fixture(scope="session")
def ports() -> dict[str, str]:
    """A free port for each of the file's variables."""
    return free_ports()


@pytest.fixture(scope="session")
def model(ports: dict[str, str]) -> dict[str, Any]:
    """docker-compose.yml with those ports."""
    return resolved(TEXT, ports)
