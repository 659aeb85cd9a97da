"""Start and stop emulated services: `up` and `down` for services that stay, `running` for the length of a block.

One directory holds the state: `<service>/` with data, `logs/<service>.log`, `services.json` with what runs, and
`ports.json` with the ports that each service had last. Data and ports outlive the processes, however these end.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from local import flink_cluster, gcs, kafka
from local.bigquery import service as bigquery
from local.processes import Command, Process, ServiceFailed, free_port, keep_private, spawn, stop
from local.service import PORTS, PROJECT, Service
from local.watcher import GRACE_SECONDS, Watcher

__all__ = ["SERVICES", "Endpoints", "Running", "down", "moved_ports", "remembered_ports", "running", "status", "up"]

SERVICES: Mapping[str, Service] = {
    service.name: service for service in (gcs.SERVICE, bigquery.SERVICE, kafka.SERVICE, *flink_cluster.SERVICES)
}
"""Every service, in the order in which they start."""
READY_SECONDS = 60.0
POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Running:
    """A service that runs: its process and ports, and the process that owns it, if it ends with that one."""

    name: str
    process: Process
    ports: Mapping[str, int]
    owner: Process | None = None

    @property
    def usable(self) -> bool:
        """Whether it runs and keeps running: a service whose owner has died is about to be stopped."""
        return self.process.alive and (self.owner is None or self.owner.alive)

    def as_json(self) -> dict[str, object]:
        """Return its entry in `services.json`."""
        owner = None if self.owner is None else [self.owner.pid, self.owner.started]
        return {"process": [self.process.pid, self.process.started], "ports": dict(self.ports), "owner": owner}


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The services that run, and where."""

    directory: Path
    services: Mapping[str, Running]

    def environment(self) -> dict[str, str]:
        """Return the environment variables that tell clients where the services are."""
        variables = {"GOOGLE_CLOUD_PROJECT": PROJECT}
        for name, service in self.services.items():
            variables |= SERVICES[name].environment(service.ports)
        return variables

    def status(self) -> dict[str, dict[str, object]]:
        """Return addresses, pid and folder of each service, as JSON values."""
        return {
            name: {
                **SERVICES[name].addresses(service.ports),
                "pid": service.process.pid,
                "folder": str(SERVICES[name].folder(self.directory)),
            }
            for name, service in self.services.items()
        }


def up(directory: Path, services: Sequence[str]) -> Endpoints:
    """Start those of `services` that do not run, and wait until they answer; they run until `down`.

    Returns all services that run in the directory. Raises ServiceFailed.
    """
    directory = directory.resolve()
    with _locked(directory):
        _start(directory, services, spawn, None)
        return _alive(directory)


def down(directory: Path) -> list[str]:
    """Stop the services that `up` started; return their names. Services of a live `running` block keep running."""
    directory = directory.resolve()
    if not (directory / "services.json").exists():
        return []
    with _locked(directory):
        known = _read(directory)
        ending = [service for service in known.values() if service.owner is None or not service.owner.alive]
        stopped = [service.name for service in ending if service.process.alive]
        stop([service.process for service in ending], GRACE_SECONDS)
        _write(directory, [service for service in known.values() if service not in ending])
        return stopped


def status(directory: Path) -> Endpoints:
    """Return the services that run in the directory."""
    return _alive(directory.resolve())


def remembered_ports(directory: Path) -> dict[str, dict[str, int]]:
    """Return the ports that each service of the directory had last; {} for a cloud that has never run."""
    file = directory / PORTS
    ports: dict[str, dict[str, int]] = json.loads(file.read_text()) if file.exists() else {}
    return ports


def moved_ports(before: Mapping[str, Mapping[str, int]], now: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return a line for each service's port that another program has taken."""
    return [
        f"{service}: another program uses port {port}; its {name} is now at port {now[service][name]}"
        for service, ports in before.items()
        for name, port in ports.items()
        if now.get(service, {}).get(name, port) != port
    ]


@contextmanager
def running(directory: Path, services: Sequence[str]) -> Iterator[Endpoints]:
    """Yield endpoints of services: those that run already, and those that this block starts and, at its end, stops.

    What the block started also ends if this process is killed. Another process can use it meanwhile, and loses it
    when this process ends: services for several processes are started by `up`. Raises ServiceFailed.
    """
    directory = directory.resolve()
    with Watcher() as watcher:
        with _locked(directory):
            started = _start(directory, services, watcher.spawn, Process.current())
            endpoints = _alive(directory)
        try:
            yield endpoints
        finally:
            watcher.close()
            stop([service.process for service in started], GRACE_SECONDS)  # in case the watcher was killed
            with _locked(directory):
                _write(directory, [service for service in _read(directory).values() if service not in started])


def _start(
    directory: Path, services: Sequence[str], start: Callable[[Command], Process], owner: Process | None
) -> list[Running]:
    """Start those of `services` that do not run, at the same time, and return them; if one fails, stop all of them.

    The caller holds the lock.
    """
    known = _read(directory)
    stop([service.process for service in known.values() if not service.usable], GRACE_SECONDS)
    usable = {name: service for name, service in known.items() if service.usable}
    started: list[Running] = []
    try:
        for service in SERVICES.values():
            if service.name in services and service.name not in usable:
                ports = _ports(directory, service)
                for folder in (service.folder(directory), service.log(directory).parent):
                    keep_private(folder)
                started.append(Running(service.name, start(service.command(directory, ports)), ports, owner))
                _write(directory, [*usable.values(), *started])
        for running_service in started:
            _wait(directory, running_service)
    except BaseException:
        stop([running_service.process for running_service in started], GRACE_SECONDS)
        _write(directory, list(usable.values()))
        raise
    return started


def _wait(directory: Path, running_service: Running) -> None:
    """Wait until the service answers. Raises ServiceFailed."""
    service, deadline = SERVICES[running_service.name], time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if not running_service.process.alive:
            raise _failed(directory, service, "ended before it was ready")
        try:
            if service.ready(running_service.ports):
                return
        except (OSError, HTTPException):
            pass
        time.sleep(POLL_SECONDS)
    raise _failed(directory, service, f"was not ready after {READY_SECONDS:g} s")


def _failed(directory: Path, service: Service, what: str) -> ServiceFailed:
    return ServiceFailed(f"{service.name} {what}", service.log(directory))


def _alive(directory: Path) -> Endpoints:
    return Endpoints(directory, {name: service for name, service in _read(directory).items() if service.usable})


def _ports(directory: Path, service: Service) -> dict[str, int]:
    """Return and keep the ports of the service: the ports of last time that are free, and new ones for the others."""
    remembered = remembered_ports(directory)
    before = remembered.pop(service.name, {})
    taken = {port for ports in remembered.values() for port in ports.values()}
    ports: dict[str, int] = {}
    for name in service.ports:
        ports[name] = free_port(before.get(name, 0), taken | set(ports.values()))
    _replace(directory / PORTS, json.dumps(remembered | {service.name: ports}))
    return ports


def _read(directory: Path) -> dict[str, Running]:
    file = directory / "services.json"
    try:
        entries = json.loads(file.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return {
        name: Running(
            name, Process(*entry["process"]), entry["ports"], Process(*entry["owner"]) if entry["owner"] else None
        )
        for name, entry in entries.items()
        if name in SERVICES
    }


def _write(directory: Path, services: Sequence[Running]) -> None:
    file = directory / "services.json"
    if services:
        _replace(file, json.dumps({service.name: service.as_json() for service in services}, indent=1))
    else:
        file.unlink(missing_ok=True)


def _replace(file: Path, text: str) -> None:
    """Replace the content of a file in one step: a reader sees the old or the new text, never a part."""
    new = file.with_suffix(".new")
    try:
        new.write_text(text)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file)) from None  # a full disk names no file
    os.replace(new, file)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Let one process at a time into the block. A process that is killed releases the lock. Raises ServiceFailed."""
    try:
        keep_private(directory)
        (directory / "lock").touch()
    except OSError as error:
        raise ServiceFailed(f"no local cloud can be in {directory}: {error.strerror}") from None
    with open(directory / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
