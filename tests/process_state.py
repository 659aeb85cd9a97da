"""What a command may not leave behind in its process."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from typing import Any

from apache_beam.utils.subprocess_server import JavaJarServer, SubprocessServer

from transforms import run_state

__all__ = ["process_state"]


def process_state() -> dict[str, Any]:
    """The state of this process that commands change while they run, as values that can be compared."""
    root = logging.getLogger()
    loggers = [logger for logger in root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    return {
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "signal handlers": {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)},
        "end of a thread": threading.excepthook,
        "log handlers": [(handler, handler.level) for handler in root.handlers],
        "log levels": {logger.name: logger.level for logger in (root, *loggers) if logger.level != logging.NOTSET},
        "expansion services": dict(JavaJarServer._BEAM_SERVICES.replacements),
        "Kafka's threads": {thread for thread in threading.enumerate() if "kafka" in thread.name.lower()},
        "runs": set(run_state._states),
        "programs of Beam": dict(SubprocessServer._cache._cache),
    }
