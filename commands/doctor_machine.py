"""Checks of this machine: its local cloud, Java, Prism. Only the commands import local."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from commands.session import SERVICES, STREAM_SERVICES, cloud
from contracts.errors import ReportedError
from local.processes import ServiceFailed
from local.programs.cache import cache_folder
from local.programs.go import compilers
from local.programs.java import java
from local.programs.prism import present
from operations.doctor.findings import Finding, Mark

__all__ = ["ThisMachine", "check_java", "check_prism"]


@dataclass(frozen=True)
class ThisMachine:
    """A Machine of operations.doctor.examination. With `local`, its cloud runs until `stack` is left."""

    local: bool
    directory: Path
    stack: ExitStack

    def services(self, kafka: bool) -> dict[str, Finding]:
        """Start the local cloud, if it is asked for; return a finding for each service by its name."""
        return started(STREAM_SERVICES if kafka else SERVICES, self.directory, self.stack) if self.local else {}

    def places(self) -> dict[str, Path]:
        """Return the folders that a run writes, by what it keeps there."""
        kept = {"the local cloud's data": self.directory, "jars and Prism": cache_folder()} if self.local else {}
        return {"temporary files": Path(tempfile.gettempdir()), **kept}

    def check_java(self, needed: bool) -> Iterator[Finding]:
        """Check that there is a Java; `needed`: something that needs it was asked for."""
        return check_java(self.local, needed)

    def check_prism(self, location: str | None) -> Iterator[Finding]:
        """Check that Prism is here, or can be had."""
        return check_prism(self.local, location)


def started(names: tuple[str, ...], directory: Path, stack: ExitStack) -> dict[str, Finding]:
    """Start the services of the local cloud, to run until `stack` is left; a finding for each by its name.

    All at once where that works; else one by one, so that one that does not start hides no other.
    """
    try:
        stack.enter_context(cloud(directory, names))
        return {name: _runs(name, directory) for name in names}
    except ReportedError:
        findings = {}
        for name in names:
            try:
                stack.enter_context(cloud(directory, (name,)))
                findings[name] = _runs(name, directory)
            except ReportedError as error:
                findings[name] = _does_not_run(name, error)
        return findings


def _runs(name: str, directory: Path) -> Finding:
    return Finding(f"local {name}", Mark.OK, f"it starts, and answers; its data is in {directory / name}")


def _does_not_run(name: str, error: ReportedError) -> Finding:
    failed = error.__cause__
    if isinstance(failed, ServiceFailed) and failed.log:
        message = f"{failed.what}; its log is {failed.log}"
        return Finding(f"local {name}", Mark.WRONG, message, f"read its log, {failed.log}")
    return Finding(f"local {name}", Mark.WRONG, " ".join(str(error).split()))


def check_java(local: bool, needed: bool) -> Iterator[Finding]:
    """A Java that Kafka and Beam's Kafka connector can run on. `needed`: something of that was asked for."""
    mark = Mark.WRONG if needed or local else Mark.WARNING
    try:
        program = java()
    except ServiceFailed as error:
        yield Finding("java", mark, str(error), "a batch needs none; a stream does")
        return
    home = os.environ.get("JAVA_HOME")
    taken = Path(home, "bin", "java") if home else Path(shutil.which("java") or "")
    if not local and taken != program:  # Beam looks no further
        problem = f"{taken} does not fit" if home or taken != Path() else "there is none in JAVA_HOME or on PATH"
        yield Finding(
            "java", mark, f"{problem}, and Beam looks nowhere else", f"export JAVA_HOME={program.parent.parent}"
        )
        return
    yield Finding("java", Mark.OK, str(program))


def check_prism(local: bool, location: str | None) -> Iterator[Finding]:
    """The Prism that fits this Beam is here, or can be had."""
    messages: list[str] = []
    if location:
        if "://" in location or os.access(location, os.X_OK):
            yield Finding("prism", Mark.OK, location)
        else:
            yield Finding("prism", Mark.WRONG, f"--prism_location: there is no program {location}", "leave it out")
        return
    program = present(messages.append)
    for line in messages:
        yield Finding("prism", Mark.WARNING, line, "take it off PATH, or install one of Beam's version")
    if program:
        yield Finding("prism", Mark.OK, str(program))
        return
    go = next(compilers(), None) if local else None
    how = f"{go} builds it in a minute or two" if go else "Beam fetches it"
    fix = "make engines does so now" if local else "it needs a way to the internet, or --prism_location"
    yield Finding("prism", Mark.WARNING, f"it is not on this machine yet; when a stream starts {how}", fix)
