"""A real Kafka broker with listeners and settings of a test's own."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from local import kafka
from local.processes import free_port
from local.watcher import Watcher

__all__ = ["LOGIN", "broker", "sasl_broker"]

LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"
READY_SECONDS = 60


@contextmanager
def broker(directory: Path, listeners: Mapping[str, str], settings: Mapping[str, str]) -> Iterator[dict[str, int]]:
    """While the block lasts, a broker with `listeners`, port names by security protocol; yields ports by name.

    PLAINTEXT is `broker`, CONTROLLER `controller`. `settings` are properties of the server.
    """
    ports: dict[str, int] = {}
    for name in listeners.values():
        ports[name] = free_port(0, ports.values())
    addresses = ",".join(f"{kind}://127.0.0.1:{ports[name]}" for kind, name in listeners.items())
    kafka.SERVICE.folder(directory).mkdir(parents=True)
    kafka.SERVICE.log(directory).parent.mkdir()
    with Watcher() as watcher:
        watcher.spawn(kafka.command(directory, ports, {"listeners": addresses, **settings}))
        deadline = time.monotonic() + READY_SECONDS
        while not _ready(ports):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield ports


@contextmanager
def sasl_broker(directory: Path, user: str, password: str) -> Iterator[dict[str, int]]:
    """A broker where anybody comes in by the port `broker`, and `user` by `sasl` (SASL_PLAINTEXT, PLAIN)."""
    listeners = {"PLAINTEXT": "broker", "CONTROLLER": "controller", "SASL_PLAINTEXT": "sasl"}
    users = f'{LOGIN} user_{user}="{password}";'
    settings = {"sasl.enabled.mechanisms": "PLAIN", "listener.name.sasl_plaintext.plain.sasl.jaas.config": users}
    with broker(directory, listeners, settings) as ports:
        yield ports


def _ready(ports: Mapping[str, int]) -> bool:
    try:
        return kafka.SERVICE.ready(ports)
    except OSError:
        return False
