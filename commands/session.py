"""The services and engines on this machine that a command uses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path

from commands.process_state import environment
from console.terminal import Terminal
from contracts.errors import Unavailable, UsageError

__all__ = ["SERVICES", "STREAM_SERVICES", "cloud", "engines", "failures_explained", "local_cluster", "running_services"]

SERVICES = ("gcs", "bigquery")
STREAM_SERVICES = (*SERVICES, "kafka")
LOCAL_PACKAGES = ("bqemulator", "duckdb")
"""Modules that show whether the extra `local` is installed."""
TITLES = {"gcs": "Cloud Storage", "bigquery": "BigQuery", "kafka": "Kafka"}
"""The services as messages name them."""


@contextmanager
def cloud(
    directory: Path, names: Sequence[str] = SERVICES, terminal: Terminal | None = None, *, local: bool = True
) -> Iterator[None]:
    """With `local`, run the services on this machine while the block lasts, and set the environment that names them.

    `terminal` shows that they start, and that the cloud is a new one. Raises UsageError if a package is missing, and
    as `failures_explained` does.
    """
    if not local:
        yield
        return
    if lacking := [name for name in LOCAL_PACKAGES if find_spec(name) is None]:
        raise UsageError(f"the local cloud needs {', '.join(lacking)}: pip install 'contract-pipeline[local]'")
    from local import services

    with failures_explained(), ExitStack() as stack:
        with _starting(directory, names, terminal):
            endpoints = stack.enter_context(services.running(directory, names))
        stack.enter_context(environment(endpoints.environment()))
        yield


@contextmanager
def _starting(directory: Path, names: Sequence[str], terminal: Terminal | None) -> Iterator[None]:
    """Show which services the block starts, and a cloud or a port that is new."""
    from local import services

    missing = [name for name in names if name not in running_services(directory)]
    if terminal is None or not missing:
        yield
        return
    before = services.remembered_ports(directory)
    with terminal.step(f"local cloud: {', '.join(TITLES[name] for name in missing)}"):
        yield
    if not before:
        terminal.log(f"new local cloud in {directory.resolve()}")
    for line in services.moved_ports(before, services.remembered_ports(directory)):
        terminal.log(line)


@contextmanager
def engines(
    runner: str | None, directory: Path, terminal: Terminal | None = None, *, local: bool = True
) -> Iterator[list[str]]:
    """Yield, with `local`, the options by which Beam finds its Java programs and Prism on this machine, and the Flink
    cluster that `local up --flink` has started, if it has. When the block ends, Beam's job servers are stopped.
    """
    from connectors.upstream.beam import job_servers_stopped

    with job_servers_stopped():
        if not local or runner not in ("PrismRunner", "FlinkRunner"):
            yield []
            return
        from local import engines as of_this_machine

        with failures_explained(), ExitStack() as stack:
            with terminal.step(f"programs of {runner}") if terminal else nullcontext():
                added = stack.enter_context(of_this_machine.engines(runner, cluster=local_cluster(directory)))
            yield added


def running_services(directory: Path) -> list[str]:
    """Return the names of the services that run in the folder of a local cloud."""
    from local import services

    return list(services.status(directory).services)


def local_cluster(directory: Path) -> list[str]:
    """Return Beam's options for the Flink cluster that runs on this machine, [] if none runs."""
    from local import flink_cluster, services

    running = {name: service.ports for name, service in services.status(directory).services.items()}
    return flink_cluster.options(running) if flink_cluster.JOB_MANAGER.name in running else []


@contextmanager
def failures_explained() -> Iterator[None]:
    """Raise Unavailable for a service of this machine that did not start, UsageError for one that cannot start here.

    The message is one line; the end of the service's log is a note.
    """
    from local.processes import ServiceFailed

    try:
        yield
    except ServiceFailed as error:
        what, _, log_end = str(error).partition("\n")
        refusal = (UsageError if error.log is None else Unavailable)(what)
        if log_end:
            refusal.add_note(log_end)
        raise refusal from None
