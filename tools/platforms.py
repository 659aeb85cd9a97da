"""Check that every locked package has a wheel for the platforms on which no test runs: `make platforms`.

pip resolves the lock file for each platform, and installs nothing. It asks the package index for every package,
so it is run by hand, after a change of the lock file. Exit code 1 if a package has no wheel.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

__all__ = ["PLATFORMS", "command"]

ROOT = Path(__file__).resolve().parents[1]
PLATFORMS = {
    "Linux on arm64": ("manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"),
    "macOS on arm64": ("macosx_14_0_arm64",),
}
"""The platforms by name, and the tags of wheels that fit."""
PYTHON = "3.12"


def command(tags: Sequence[str], requirements: Path, target: str) -> list[str]:
    """Return pip's command that resolves `requirements` with wheels of these tags, for PYTHON."""
    platforms = [f"--platform={tag}" for tag in tags]
    fixed = ["--dry-run", "--ignore-installed", "--no-deps", "--only-binary=:all:", "--quiet", f"--target={target}"]
    version = [f"--python-version={PYTHON}", "--implementation=cp"]
    return [sys.executable, "-m", "pip", "install", *fixed, *version, *platforms, f"--requirement={requirements}"]


def main(argv: Sequence[str]) -> int:
    """Check the lock file, or the requirements file that is given."""
    requirements = Path(argv[0]) if argv else ROOT / "requirements.lock"
    missing = 0
    for name, tags in PLATFORMS.items():
        with tempfile.TemporaryDirectory() as target:
            ended = subprocess.run(command(tags, requirements, target), check=False)
        missing += ended.returncode != 0
        print(f"{name}: {'a package has no wheel, see above' if ended.returncode else 'every package has a wheel'}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
