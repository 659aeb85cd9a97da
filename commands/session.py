"""What every command shares: where it prints, the services on this machine, how it is interrupted."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from contracts.errors import Misuse

__all__ = [
    "SERVICES",
    "STREAM_SERVICES",
    "cloud",
    "engines",
    "failures_explained",
    "interruptible",
    "local_cluster",
    "log",
    "output",
    "progress",
    "quiet",
]

SERVICES = ("gcs", "bigquery")
STREAM_SERVICES = (*SERVICES, "kafka")

output = Console()
progress = Console(stderr=True)


def log(message: str) -> None:
    """One line of progress, to stderr."""
    progress.print(message, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def cloud(local: bool, directory: Path, names: Sequence[str] = SERVICES) -> Iterator[None]:
    """With `local`, the services on this machine while the block lasts, and the environment that names them."""
    if not local:
        yield
        return
    from local import services

    with failures_explained(), services.running(directory, names) as endpoints:
        os.environ.update(endpoints.environment())
        yield


@contextmanager
def engines(local: bool, runner: str | None, directory: Path) -> Iterator[list[str]]:
    """With `local`, the options by which Beam finds its Java programs and Prism on this machine, and the Flink cluster
    that `local up --flink` has started, if it has."""
    if not local or runner not in ("PrismRunner", "FlinkRunner"):
        yield []
        return
    from local import engines as of_this_machine

    with failures_explained(), of_this_machine.engines(runner, cluster=local_cluster(directory)) as added:
        yield added


def local_cluster(directory: Path) -> list[str]:
    """Beam's options for the Flink cluster that runs on this machine, none if there is none."""
    from local import flink_cluster, services

    running = {name: found.ports for name, found in services.status(directory).services.items()}
    return flink_cluster.options(running) if flink_cluster.JOB_MANAGER.name in running else []


@contextmanager
def failures_explained() -> Iterator[None]:
    """A service that could not be started is Misuse, in one line."""
    from local.processes import ServiceFailed

    try:
        yield
    except ServiceFailed as error:
        raise Misuse(str(error)) from None


def quiet() -> None:
    """Say nothing of what runners log: a failure is told in one line, from the ledger."""
    for handler in logging.getLogger().handlers:
        handler.setLevel(logging.CRITICAL)
    logging.getLogger("root").setLevel(logging.CRITICAL)  # Beam's workers log here, not to the root logger
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    # A worker's threads end with an exception when a job is cancelled.
    threading.excepthook = lambda args: logging.getLogger(__name__).debug("a thread ended", exc_info=args.exc_value)


def interruptible() -> None:
    """Ctrl-C interrupts a call that waits again, once polars is imported: its handler has them resumed
    (pola-rs/polars#21739)."""
    signal.siginterrupt(signal.SIGINT, True)
