"""Emulated services, started and stopped: for good by `up` and `down`, for as long as a block lasts by `running`.

State is under one directory: `<service>/` its data, `logs/<service>.log`, `services.json` what runs,
`ports.json` which ports each service had last. Data and ports outlive the processes, however they end.
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

from local import bigquery, flink_cluster, gcs, kafka
from local.processes import Command, Process, ServiceFailed, free_port, spawn, stop, tail
from local.service import PORTS, PROJECT, Service
from local.watcher import GRACE_SECONDS, Watcher

__all__ = ["SERVICES", "Endpoints", "Running", "down", "running", "status", "up"]

SERVICES: Mapping[str, Service] = {
    service.name: service for service in (gcs.SERVICE, bigquery.SERVICE, kafka.SERVICE, *flink_cluster.SERVICES)
}
"""Every service that there is, in the order in which they start."""
READY_SECONDS = 60.0
POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Running:
    """A service that runs: its process, its ports, and whose it is, if it ends with another process."""

    name: str
    process: Process
    ports: Mapping[str, int]
    owner: Process | None = None

    @property
    def usable(self) -> bool:
        """It runs and is not about to be stopped because its owner is gone."""
        return self.process.alive and (self.owner is None or self.owner.alive)

    def as_json(self) -> dict[str, object]:
        """The line of `services.json`."""
        owner = None if self.owner is None else [self.owner.pid, self.owner.started]
        return {"process": [self.process.pid, self.process.started], "ports": dict(self.ports), "owner": owner}


@dataclass(frozen=True, slots=True)
class Endpoints:
    """What runs, and where."""

    directory: Path
    services: Mapping[str, Running]

    def environment(self) -> dict[str, str]:
        """The variables by which clients find what runs."""
        variables = {"GOOGLE_CLOUD_PROJECT": PROJECT}
        for name, found in self.services.items():
            variables |= SERVICES[name].environment(found.ports)
        return variables

    def status(self) -> dict[str, dict[str, object]]:
        """For each service that runs: its addresses, pid and folder, as JSON values."""
        return {
            name: {
                **SERVICES[name].addresses(found.ports),
                "pid": found.process.pid,
                "folder": str(SERVICES[name].folder(self.directory)),
            }
            for name, found in self.services.items()
        }


def up(directory: Path, services: Sequence[str]) -> Endpoints:
    """Start what does not run yet, to run until `down`, and wait until it answers. Raises ServiceFailed."""
    directory = directory.resolve()
    with _locked(directory):
        _start(directory, services, spawn, None)
        return _alive(directory)


def down(directory: Path) -> list[str]:
    """Stop what `up` started; the names of what was stopped. What belongs to a live `running` is left alone."""
    directory = directory.resolve()
    if not (directory / "services.json").exists():
        return []
    with _locked(directory):
        known = _read(directory)
        ending = [one for one in known.values() if one.owner is None or not one.owner.alive]
        stopped = [one.name for one in ending if one.process.alive]
        stop([one.process for one in ending], GRACE_SECONDS)
        _write(directory, [one for one in known.values() if one not in ending])
        return stopped


def status(directory: Path) -> Endpoints:
    """What runs."""
    return _alive(directory.resolve())


@contextmanager
def running(directory: Path, services: Sequence[str]) -> Iterator[Endpoints]:
    """Use what runs, start the rest, and stop that on leaving. It ends too if this process is killed.

    Another process may use meanwhile what this one started, and loses it when this one ends; `up` is for that.
    Raises ServiceFailed.
    """
    directory = directory.resolve()
    with Watcher() as watcher:
        with _locked(directory):
            mine = _start(directory, services, watcher.spawn, Process.current())
            endpoints = _alive(directory)
        try:
            yield endpoints
        finally:
            watcher.close()
            stop([one.process for one in mine], GRACE_SECONDS)  # if the watcher itself was killed
            with _locked(directory):
                _write(directory, [one for one in _read(directory).values() if one not in mine])


def _start(
    directory: Path, services: Sequence[str], start: Callable[[Command], Process], owner: Process | None
) -> list[Running]:
    """Start those of `services` that do not run, all at once; all or none of them. Under the lock."""
    known = _read(directory)
    stop([one.process for one in known.values() if not one.usable], GRACE_SECONDS)
    usable = {name: one for name, one in known.items() if one.usable}
    started: list[Running] = []
    try:
        for service in SERVICES.values():
            if service.name in services and service.name not in usable:
                ports = _ports(directory, service)
                service.folder(directory).mkdir(parents=True, exist_ok=True)
                service.log(directory).parent.mkdir(parents=True, exist_ok=True)
                started.append(Running(service.name, start(service.command(directory, ports)), ports, owner))
                _write(directory, [*usable.values(), *started])
        for one in started:
            _wait(directory, one)
    except BaseException:
        stop([one.process for one in started], GRACE_SECONDS)
        _write(directory, list(usable.values()))
        raise
    return started


def _wait(directory: Path, found: Running) -> None:
    service, deadline = SERVICES[found.name], time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if not found.process.alive:
            raise _failed(directory, service, "ended before it was ready")
        try:
            if service.ready(found.ports):
                return
        except (OSError, HTTPException):
            pass
        time.sleep(POLL_SECONDS)
    raise _failed(directory, service, f"was not ready after {READY_SECONDS:g} s")


def _failed(directory: Path, service: Service, what: str) -> ServiceFailed:
    log = service.log(directory)
    return ServiceFailed(f"{service.name} {what}; its log is {log}, and ends:\n{tail(log)}")


def _alive(directory: Path) -> Endpoints:
    return Endpoints(directory, {name: one for name, one in _read(directory).items() if one.usable})


def _ports(directory: Path, service: Service) -> dict[str, int]:
    """The service's ports of last time where they are free, else new ones; remembered."""
    file = directory / PORTS
    remembered: dict[str, dict[str, int]] = json.loads(file.read_text()) if file.exists() else {}
    before = remembered.pop(service.name, {})
    taken = {port for ports in remembered.values() for port in ports.values()}
    ports: dict[str, int] = {}
    for name in service.ports:
        ports[name] = free_port(before.get(name, 0), taken | set(ports.values()))
    _replace(file, json.dumps(remembered | {service.name: ports}))
    return ports


def _read(directory: Path) -> dict[str, Running]:
    file = directory / "services.json"
    try:
        entries = json.loads(file.read_text())
    except FileNotFoundError:
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
        _replace(file, json.dumps({one.name: one.as_json() for one in services}, indent=1))
    else:
        file.unlink(missing_ok=True)


def _replace(file: Path, text: str) -> None:
    """Write a file so that nobody ever reads half of it."""
    new = file.with_suffix(".new")
    new.write_text(text)
    os.replace(new, file)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """One caller at a time; a lock that a killed one held is free again."""
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
