"""Runs launcher.py in the process of the tests. tests/launching.py runs it in a separate process."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass

import pytest

import launcher

__all__ = ["Launch", "launch"]


@dataclass(frozen=True)
class Launch:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


def launch(argv: Sequence[str], environment: Mapping[str, str] | None = None) -> Launch:
    """Run `launcher.py ARGV` to its end in this process, `environment` added to its variables.

    Call it in the main thread. What the launcher does not report in one line is raised.
    """
    stdout, stderr = _stream(), _stream()
    with (
        pytest.MonkeyPatch.context() as patch,
        _without_log_handlers(),
        redirect_stdout(stdout),
        redirect_stderr(stderr),
    ):
        for name, value in (environment or {}).items():
            patch.setenv(name, value)
        try:
            code = launcher.main(argv)
        except SystemExit as exit:  # argparse's --help
            code = int(exit.code or 0)
    return Launch(code, _text(stdout), _text(stderr))


@contextmanager
def _without_log_handlers() -> Iterator[None]:
    """Take pytest's log handlers away while the block lasts: a separate process has none."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    root.handlers.clear()
    try:
        yield
    finally:
        root.handlers[:] = handlers


def _stream() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()
