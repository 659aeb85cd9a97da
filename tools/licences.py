"""Write docs/reference/licences.md: each locked package, its version, and the licence that its metadata names.

  python -m tools.licences [FILE]

A package that is not installed here (because it is for another Python or system) keeps its previous line, if any.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["document", "licence", "locked"]

ROOT = Path(__file__).parents[1]
FILE = ROOT / "docs" / "reference" / "licences.md"
UNKNOWN = "not installed where this list was made"
HEAD = """# Licences

This project is licensed under Apache 2.0 (`LICENSE`, `NOTICE`). `make licences` writes this list of the packages in
`requirements.lock` from their own metadata, and a test compares it with the lock. None of these packages is part of
the source or of the wheel. If you pass on an image or an environment that contains them, you pass on their notices too:
each is in the package's `*.dist-info`. The jars of `local/programs/*.lock.toml` and Prism are not listed: they contain
their notices.

The last column marks licences that ask for more than a notice: copyleft for changed files (MPL), for the library
(LGPL), or for the program (GPL: OpenJDK, which runs as a separate program and is not linked).

| package | version | licence | |
| --- | --- | --- | --- |
"""


def locked(lock: str) -> Iterator[tuple[str, str]]:
    """Yield name and version of each entry of the lock. A package can have two entries."""
    yield from re.findall(r"^([a-z0-9-]+)(?:\[.*?\])?==([^ ;\\]+)", lock, re.MULTILINE)


def licence(name: str) -> str:
    """Return the licence that the metadata of an installed package names, on one line."""
    metadata = importlib.metadata.metadata(name)
    classified = [line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier") or [] if "License ::" in line]
    expressions, texts = metadata.get_all("License-Expression") or [], metadata.get_all("License") or []
    named = next((text for text in (*expressions, ", ".join(sorted(classified)), *texts) if text.strip()), "")
    lines = named.strip().splitlines() or ["none is named"]
    return lines[0].strip().replace("|", "/")[:80]


def document(lock: str, before: str) -> str:
    """Return the new text of the file; `before` is its present text."""
    old = {(name, version): text for name, version, text in re.findall(r"^\| (\S+) \| (\S+) \| (.*?) \|", before, re.M)}
    lines = []
    for name, version in locked(lock):
        try:
            installed = importlib.metadata.version(name) == version
        except importlib.metadata.PackageNotFoundError:
            installed = False
        text = licence(name) if installed else old.get((name, version), UNKNOWN)
        mark = next((kind for kind in ("MPL", "LGPL", "GPL") if re.search(rf"\b{kind}|{NAMES[kind]}", text)), "")
        lines.append(f"| {name} | {version} | {text} | {mark} |\n")
    return HEAD + "".join(lines)


NAMES = {"MPL": "Mozilla Public", "LGPL": "Lesser General Public", "GPL": "GNU General Public"}
"""The marks, and the names of these licences in classifiers."""


if __name__ == "__main__":
    file = Path(sys.argv[1]) if sys.argv[1:] else FILE
    before = file.read_text() if file.exists() else ""
    file.write_text(document((ROOT / "requirements.lock").read_text(), before))
