"""What a run's parameters may ask for: which options of the launcher, and which folders. Pure functions.

Anyone who may trigger the DAG sets these parameters, and that is not the person who installed it. An option of the
launcher can run a program, and a folder on a worker can hold files that the caller must not read.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["RUN_OPTIONS", "NotAllowed", "allowed_folder", "allowed_options", "files_below"]

RUN_OPTIONS = frozenset(
    {
        "allow_lost_offsets",
        "buckets",
        "dedup_horizon",
        "keep_duplicates",
        "max_record_bytes",
        "max_restarts",
        "only_new",
        "start_from",
        "tables",
    }
)
"""Options that only choose or tune. None of them names a place, a program or an identity."""


class NotAllowed(Exception):
    """A run's parameters ask for something that a run may not have."""


def allowed_options(given: Mapping[str, Any], more: Collection[str] = ()) -> dict[str, Any]:
    """Return `given` as a dict if every name is in RUN_OPTIONS or in `more`.

    Raises:
        NotAllowed: An option is in neither.
    """
    allowed = RUN_OPTIONS | set(more)
    if refused := sorted(set(given) - allowed):
        raise NotAllowed(
            f"options: a run may not set {', '.join(map(repr, refused))}; it may set"
            f" {', '.join(sorted(allowed))}; SHOP_RUN_OPTIONS adds more"
        )
    return dict(given)


def allowed_folder(folder: str, roots: Sequence[str]) -> str:
    """Return the first of `roots` that contains the folder, after following symbolic links.

    Raises:
        NotAllowed: The folder is below none of them.
    """
    for root in roots:
        if folder.startswith("gs://") or root.startswith("gs://"):
            if f"{folder.rstrip('/')}/".startswith(f"{root.rstrip('/')}/"):
                return root
        elif Path(folder).resolve().is_relative_to(Path(root).resolve()):
            return root
    raise NotAllowed(f"input: {folder} is not below {' or '.join(roots)}; SHOP_INPUT_ROOTS adds more")


def files_below(folder: str, root: str) -> list[Path]:
    """Return all files below a local folder, sorted; pipes and devices are not files.

    Links to files and folders are followed, each folder once.

    Raises:
        NotAllowed: A link leads out of `root`.
    """
    return sorted(_files(Path(folder), Path(root).resolve(), set()))


def _files(folder: Path, root: Path, seen: set[Path]) -> Iterator[Path]:
    real = folder.resolve()
    if real in seen:  # a link to a folder above
        return
    seen.add(real)
    with os.scandir(folder) as entries:
        for entry in entries:
            path = Path(entry.path)
            if not path.resolve().is_relative_to(root):
                raise NotAllowed(f"input: {path} is a link that leads out of {root}")
            if entry.is_dir():
                yield from _files(path, root, seen)
            elif entry.is_file():
                yield path
