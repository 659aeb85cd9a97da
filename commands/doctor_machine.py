"""What doctor looks at on this machine alone: its local cloud, Java, Prism. Nothing but the commands imports local."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from commands.session import cloud
from contracts.errors import ReportedError
from local.processes import ServiceFailed
from local.programs.cache import cache_folder
from local.programs.go import compilers
from local.programs.java import java
from local.programs.prism import present
from operations.doctor.findings import Finding, Mark

__all__ = ["check_java", "check_prism", "places_on_disk", "started"]


def started(names: tuple[str, ...], directory: Path, stack: ExitStack) -> dict[str, Finding]:
    """Start the services of the local cloud, to run until `stack` is left; a finding for each by its name.

    All at once where that works; else one by one, so that one that does not start hides no other.
    """
    try:
        stack.enter_context(cloud(True, directory, names))
        return {name: _runs(name, directory) for name in names}
    except ReportedError:
        findings = {}
        for name in names:
            try:
                stack.enter_context(cloud(True, directory, (name,)))
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


def places_on_disk(local: bool, directory: Path, temporary: Path) -> dict[str, Path]:
    """Where a run on this machine writes, by what."""
    kept = {"the local cloud's data": directory, "jars and Prism": cache_folder()} if local else {}
    return {"temporary files": temporary, **kept}
