"""What a command changes in its process, and its restoration.

A command may set environment variables, log levels and handlers of signals. All of it ends with the command, so that
one process can run many commands, one after the other.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

__all__ = ["environment", "interruptible", "owned_process", "quiet"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LOG_FORMAT = "%(levelname)s %(name)s: %(message)s"


@contextmanager
def owned_process() -> Iterator[None]:
    """Let a command configure the process while the block lasts, then restore what it has changed.

    Within the block warnings go to the stderr of this moment, unless logging is configured already, and SIGTERM raises
    KeyboardInterrupt. Call it in the main thread: signal handlers can be set only there.
    """
    with ExitStack() as restoration:
        restoration.callback(_restore_environment, dict(os.environ))
        restoration.callback(setattr, threading, "excepthook", threading.excepthook)
        restoration.enter_context(_logging())
        for number in SIGNALS:
            # None is a handler that was not installed from Python; it cannot be restored.
            if (handler := signal.getsignal(number)) is not None:
                # Also where the handler is the same: signal.signal resets what `interruptible` has set.
                restoration.callback(signal.signal, number, handler)
        signal.signal(signal.SIGTERM, _interrupt)
        yield


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables while the block lasts."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def quiet() -> None:
    """Silence the logs of runners and their workers for the rest of the command: failures are reported in one line."""
    root = logging.getLogger()
    for handler in root.handlers:
        handler.setLevel(logging.CRITICAL)
    root.setLevel(logging.CRITICAL)
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    # Threads of a worker end with an exception when a job is cancelled.
    threading.excepthook = lambda args: logging.getLogger(__name__).debug("a thread ended", exc_info=args.exc_value)


def interruptible() -> None:
    """Let Ctrl-C interrupt a blocking call again. Importing polars installs a handler that resumes the call
    (pola-rs/polars#21739).
    """
    signal.siginterrupt(signal.SIGINT, True)  # noqa: FBT003  # C takes no keyword


def _interrupt(_signum: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _restore_environment(before: Mapping[str, str]) -> None:
    if dict(os.environ) != before:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _logging() -> Iterator[None]:
    """Log warnings to stderr while the block lasts; then restore the handlers and the levels of all loggers."""
    root = logging.getLogger()
    handlers = [(handler, handler.level) for handler in root.handlers]
    levels = {logger: logger.level for logger in _loggers()}
    if not handlers:
        stderr = logging.StreamHandler(sys.stderr)
        stderr.setFormatter(logging.Formatter(LOG_FORMAT))
        root.addHandler(stderr)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # kafka-python repeats what is reported in one line
    try:
        yield
    finally:
        root.handlers[:] = [handler for handler, _ in handlers]
        for handler, level in handlers:
            handler.setLevel(level)
        for logger in _loggers():
            logger.setLevel(levels.get(logger, logging.NOTSET))


def _loggers() -> list[logging.Logger]:
    """Every logger that exists, the root logger among them."""
    named = list(logging.root.manager.loggerDict.values())
    return [logging.root, *(logger for logger in named if isinstance(logger, logging.Logger))]
