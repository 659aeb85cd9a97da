"""A process that forks workers: `python -m tests.pipelines.forking alone|threads` prints what it sees, as JSON."""

from __future__ import annotations

import json
import os
import sys
import threading
from multiprocessing.connection import Connection

from pipelines.engines.fork_server import fork_server

__all__ = ["echo"]


def echo(pipe: Connection) -> None:
    """Send back what comes, with the worker's pid; end at an exit code."""
    while True:
        message = pipe.recv()
        if isinstance(message, int):
            os._exit(message)
        pipe.send((os.getpid(), message))


def main() -> None:
    """Start two of three workers, and let one end."""
    if sys.argv[1] == "threads":
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    with fork_server(3, echo) as server:
        first, second = server.start(2)
        for number, pipe in enumerate((first, second)):
            pipe.send(f"message {number}")
        answers = [first.recv(), second.recv()]
        first.send(7)
        try:
            first.recv()
        except EOFError:
            why = server.why_ended(0)
        second.send("still there")
        answers.append(second.recv())
    print(json.dumps({"answers": answers, "why": why}))


if __name__ == "__main__":
    main()
