"""A process that starts services for its owner, and stops them when the owner ends, however the owner ends.

It reads one command a line from a pipe, starts it and answers with one line: `{"pid", "started"}` or `{"error"}`.
Only the owner holds the other end of the pipe. End of file means that the owner is done or dead, even by SIGKILL.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from types import TracebackType

from local.processes import Command, Process, ServiceFailed, module_command, spawn, stop

__all__ = ["Watcher"]

GRACE_SECONDS = 10.0


class Watcher:
    """The owner's side: starts processes that end when this object is closed or this process dies."""

    def __init__(self) -> None:
        arguments, environment = module_command(__name__)
        self._process = subprocess.Popen(
            arguments,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._commands, self._answers = self._process.stdin, self._process.stdout
        # A child by exec does not inherit the pipe (PEP 446). A child by fork must close it: it would keep the services
        # running.
        os.register_at_fork(after_in_child=self._commands.close)

    def spawn(self, command: Command) -> Process:
        """Start the command as a child of the watcher process. Raises ServiceFailed as processes.spawn does."""
        with suppress(BrokenPipeError):
            self._commands.write(json.dumps(command.as_json()).encode() + b"\n")
        answer = json.loads(self._answers.readline() or b'{"error": "the watcher process was killed"}')
        if "error" in answer:
            raise ServiceFailed(answer["error"])
        return Process(answer["pid"], answer["started"])

    def close(self) -> None:
        """Stop what was started. Return when it is gone."""
        self._commands.close()
        self._process.wait()
        self._answers.close()

    def __enter__(self) -> Watcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def main() -> None:
    """Start the commands that come until end of file, then stop all of them."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Only the pipe says when to stop. A handler does nothing here, and unlike SIG_IGN is not inherited by services.
        signal.signal(number, lambda *_: None)
    started: list[Process] = []
    try:
        for line in sys.stdin:
            try:
                process = spawn(Command(**json.loads(line)))
            except ServiceFailed as failure:
                print(json.dumps({"error": str(failure)}), flush=True)
                continue
            started.append(process)
            print(json.dumps({"pid": process.pid, "started": process.started}), flush=True)
    finally:
        stop(started, GRACE_SECONDS)


if __name__ == "__main__":
    main()
