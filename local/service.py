"""What one emulated service is: how to start it, when it is ready, what its clients need to know."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from local.processes import Command

__all__ = ["HOST", "PORTS", "PROJECT", "Ports", "Service"]

HOST = "127.0.0.1"
PROJECT = "local-project"
PORTS = "ports.json"
"""The file, in the state folder, with the ports of every service that was ever started there."""
Ports = Mapping[str, int]
"""A service's TCP ports on HOST, by what they are for."""


@dataclass(frozen=True, slots=True)
class Service:
    """One service. Functions get the state folder (of all services) and the service's ports."""

    name: str
    ports: tuple[str, ...]
    """What it needs ports for; one port each is chosen and kept from start to start."""
    command: Callable[[Path, Ports], Command]
    """What to run; it may make folders. Raises ServiceFailed if something is not installed."""
    ready: Callable[[Ports], bool]
    """Whether it answers a real request. Called until it is True; an OSError or HTTPException counts as False."""
    environment: Callable[[Ports], dict[str, str]]
    """The variables by which clients find it."""
    addresses: Callable[[Ports], dict[str, str]]
    """What `local status` says of it."""

    def folder(self, directory: Path) -> Path:
        """Where its data is."""
        return directory / self.name

    def known_ports(self, directory: Path) -> Ports:
        """Its ports, for a service that starts after it."""
        found: Ports = json.loads((directory / PORTS).read_text())[self.name]
        return found

    def log(self, directory: Path) -> Path:
        """The file with its output."""
        return directory / "logs" / f"{self.name}.log"
