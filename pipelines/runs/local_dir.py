"""The folder of the local cloud."""

from __future__ import annotations

import argparse
import os

__all__ = ["LOCAL_DIR_HELP", "default_local_dir", "named_folder"]

LOCAL_DIR_VARIABLE = "CONTRACT_PIPELINE_LOCAL_DIR"
LOCAL_DIR_HELP = f"folder of the local cloud's data (default ${LOCAL_DIR_VARIABLE}, or .local)"


def default_local_dir() -> str:
    """Return the folder of the local cloud if --local_dir is not given."""
    return os.environ.get(LOCAL_DIR_VARIABLE) or ".local"


def named_folder(text: str) -> str:
    """Return a folder's name. An empty one, as of a script's unset variable, would mean the current folder: refused."""
    if not text:
        raise argparse.ArgumentTypeError("empty; give a folder")
    return text
