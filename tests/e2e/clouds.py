"""A local cloud, named in this process's environment as it is in a launcher's, and the launcher on it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from connectors.warehouse import Warehouse
from local import services

__all__ = ["ROOT", "Cloud", "cloud_in"]

ROOT = Path(__file__).parents[2]


class Cloud:
    """A local cloud that stays up for a test module, and the launcher on it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def launch(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run launcher.py and hold it to its exit code. The demo may build Prism first, which takes minutes."""
        done = subprocess.run(
            [sys.executable, "launcher.py", *arguments, "--local_dir", str(self.directory)],
            cwd=ROOT,
            text=True,
            capture_output=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def batch(self, source: Path | str, *arguments: str, code: int = 0) -> dict[str, Any]:
        """Run a batch over a folder; its summary."""
        summary = self.directory / "summary.json"
        summary.unlink(missing_ok=True)
        self.launch(
            "batch",
            "--runner=DirectRunner",
            "--local",
            f"--input={source}",
            f"--summary={summary}",
            *arguments,
            code=code,
        )
        found = json.loads(summary.read_text())
        assert isinstance(found, dict)
        return found

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Ask the warehouse."""
        return Warehouse("local-project", "US").query(sql)


@contextmanager
def cloud_in(directory: Path, names: Sequence[str] = ("gcs", "bigquery")) -> Iterator[services.Endpoints]:
    """Services with their data in `directory`, while the block lasts."""
    endpoints = services.up(directory, names)
    try:
        with pytest.MonkeyPatch.context() as environment:
            for name, value in endpoints.environment().items():
                environment.setenv(name, value)
            yield endpoints
    finally:
        services.down(directory)
