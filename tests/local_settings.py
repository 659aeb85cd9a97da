"""Settings of a batch on the local cloud, as `launcher.py batch --local` makes them."""

from __future__ import annotations

from commands.local_settings import create_local_buckets, with_local_folders
from pipelines.runs.command_line import CommandLine
from pipelines.runs.settings import BatchSettings

__all__ = ["local_batch_settings"]


def local_batch_settings(*arguments: str) -> BatchSettings:
    """Return the settings, and create the buckets that they name."""
    line = with_local_folders(CommandLine.parse(["--local", *arguments]))
    settings = BatchSettings.of(line)
    create_local_buckets(settings, line)
    return settings
