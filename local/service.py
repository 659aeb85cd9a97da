"""The description of an emulated service: how to start it, when it is ready, how clients find it."""

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
"""The file in the state folder that keeps the ports of every service that was ever started there."""
Ports = Mapping[str, int]
"""TCP ports on HOST, by purpose."""


@dataclass(frozen=True, slots=True)
class Service:
    """One service. Its functions take the state folder, which all services share, and the ports of this service."""

    name: str
    ports: tuple[str, ...]
    """The purposes of its ports. Each purpose gets one port, the same one at every start."""
    command: Callable[[Path, Ports], Command]
    """Returns the command that runs it; may create folders. Raises ServiceFailed if a package is not installed."""
    ready: Callable[[Ports], bool]
    """Returns whether it answers a real request. It is polled; an OSError or HTTPException counts as False."""
    environment: Callable[[Ports], dict[str, str]]
    """Returns the environment variables that give clients its address."""
    addresses: Callable[[Ports], dict[str, str]]
    """Returns its addresses, as `local status` prints them."""

    def folder(self, directory: Path) -> Path:
        """Return the folder of its data."""
        return directory / self.name

    def known_ports(self, directory: Path) -> Ports:
        """Return its ports, for a service that starts later. Raises KeyError if it was never started there."""
        ports: Ports = json.loads((directory / PORTS).read_text())[self.name]
        return ports

    def log(self, directory: Path) -> Path:
        """Return the file of its output."""
        return directory / "logs" / f"{self.name}.log"
