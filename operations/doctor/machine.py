"""The machine: Python and its packages, room on the disk."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from operations.doctor.findings import Finding, Mark

__all__ = ["check_disk", "check_python"]

PROJECT = "contract-pipeline"
LEAST_BYTES, ENOUGH_BYTES = 500 << 20, 3 << 30
"""Free space below which something will fail, and below which it may: Prism's build takes 1 GB, jars 350 MB."""


def check_python(
    extras: Collection[str], version: str | None = None, requirements: Sequence[str] | None = None
) -> Iterator[Finding]:
    """The interpreter and each package that the project and its `extras` need, as the project's metadata says."""
    version = version or platform.python_version()
    wanted = importlib.metadata.metadata(PROJECT)["Requires-Python"]
    if version not in SpecifierSet(wanted):
        yield Finding(
            "python",
            Mark.WRONG,
            f"Python {version} ({sys.executable}), the project needs {wanted}",
            "make install PYTHON=… with a Python that fits",
        )
    requirements = importlib.metadata.requires(PROJECT) or [] if requirements is None else requirements
    needed = [one for one in map(Requirement, requirements) if _applies(one, extras)]
    unfit = [finding for one in needed if (finding := _package(one))]
    yield from unfit
    if version in SpecifierSet(wanted) and not unfit:
        yield Finding("python", Mark.OK, f"Python {version}, and {len(needed)} packages that fit")


def _applies(requirement: Requirement, extras: Collection[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def _package(requirement: Requirement) -> Finding | None:
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        version = ""
    if version and requirement.specifier.contains(version, prereleases=True):
        return None
    has = f"version {version} is installed" if version else "it is not installed"
    needs = str(requirement.specifier) or "it"
    return Finding(
        f"package {requirement.name}",
        Mark.WRONG,
        f"{has}, the project needs {needs}",
        f"make install, or python -m pip install '{requirement.name}{requirement.specifier}'",
    )


def check_disk(places: Mapping[str, Path], least: int = LEAST_BYTES, enough: int = ENOUGH_BYTES) -> Iterator[Finding]:
    """Free bytes where each of `places` (by what is kept there) is, or will be."""
    for what, path in places.items():
        there = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
        free = shutil.disk_usage(there).free
        message, fix = f"{free / (1 << 30):,.1f} GB free at {path} ({what})", ""
        mark = Mark.WRONG if free < least else Mark.WARNING if free < enough else Mark.OK
        if mark is not Mark.OK:
            fix = f"make room; {(least if mark is Mark.WRONG else enough) / (1 << 30):,.1f} GB are asked for"
        yield Finding("disk", mark, message, fix)
