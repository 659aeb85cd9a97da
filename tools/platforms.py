"""Check that every locked package has a wheel for the platforms on which no test runs: `make platforms`.

pip resolves the lock file for each platform and each version of Python, and installs nothing. It asks the package index
for every package, so it is run by hand, after a change of the lock file. Exit code 1 if a package has no wheel.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

__all__ = ["PLATFORMS", "PYTHONS", "SOURCE_ONLY", "Platform", "command", "wanted"]

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
SOURCE_ONLY = ("google-apitools",)
"""Packages that have a wheel for no platform. They are Python alone, and `make install` builds them."""


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform as pip and environment markers name it."""

    name: str
    tags: tuple[str, ...]
    """Tags of the wheels that fit, the best first."""
    system: str
    """Marker `platform_system`."""
    machine: str
    """Marker `platform_machine`."""

    def markers(self, python: str) -> dict[str, str]:
        """Return the variables of environment markers under this version of Python, `3.12`."""
        return {
            "platform_system": self.system,
            "platform_machine": self.machine,
            "sys_platform": self.system.lower(),
            "os_name": "posix",
            "python_version": python,
            "python_full_version": f"{python}.0",
            "platform_python_implementation": "CPython",
            "implementation_name": "cpython",
        }


PLATFORMS = (
    Platform(
        "Linux on arm64",
        ("manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"),
        "Linux",
        "aarch64",
    ),
    Platform("macOS on arm64", ("macosx_14_0_arm64",), "Darwin", "arm64"),
)


def wanted(lock: str, platform: Platform, python: str) -> str:
    """Return the part of a lock file that this platform installs, hashes included, without markers.

    pip itself would take the markers of the interpreter that runs it.
    """
    parts = re.split(r"^(?=[A-Za-z0-9])", re.sub(r"^\s*#.*\n?", "", lock, flags=re.MULTILINE), flags=re.MULTILINE)
    kept = []
    for part in filter(str.strip, parts):
        pinned, _, hashes = part.partition("--hash=")
        requirement = Requirement(pinned.rstrip("\\\n "))
        if requirement.marker is None or requirement.marker.evaluate(platform.markers(python)):
            kept.append(f"{requirement.name}{requirement.specifier} --hash={hashes}")
    return "".join(kept)


def command(platform: Platform, python: str, requirements: Path, target: str) -> list[str]:
    """Return pip's command that resolves `requirements` with wheels alone, except SOURCE_ONLY, and installs nothing."""
    fixed = ["--dry-run", "--ignore-installed", "--no-deps", "--no-build-isolation", "--quiet", f"--target={target}"]
    forms = ["--only-binary=:all:", f"--no-binary={','.join(SOURCE_ONLY)}"]
    version = [f"--python-version={python}", "--implementation=cp"]
    tags = [f"--platform={tag}" for tag in platform.tags]
    return [sys.executable, "-m", "pip", "install", *fixed, *forms, *version, *tags, f"--requirement={requirements}"]


def main(argv: Sequence[str]) -> int:
    """Check the lock file, or the requirements file that is given."""
    lock = (Path(argv[0]) if argv else ROOT / "requirements.lock").read_text()
    missing = 0
    for platform in PLATFORMS:
        for python in PYTHONS:
            with tempfile.TemporaryDirectory() as folder:
                requirements = Path(folder, "requirements.txt")
                requirements.write_text(wanted(lock, platform, python))
                ended = subprocess.run(command(platform, python, requirements, f"{folder}/target"), check=False)
            missing += ended.returncode != 0
            result = "a package has no wheel, see above" if ended.returncode else "every package has a wheel"
            print(f"{platform.name}, Python {python}: {result}", flush=True)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
