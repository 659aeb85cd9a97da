"""What --local adds to a command line of a pipeline: the local cloud's project, location, folders and buckets."""

from __future__ import annotations

from commands.arguments import LOCAL_LOCATION, LOCAL_PROJECT
from connectors.files.storage import Storage, join, split_uri
from pipelines.runs.command_line import CommandLine
from pipelines.runs.options import LOCAL_BUCKET
from pipelines.runs.settings import BatchSettings

__all__ = ["LOCAL_FOLDERS", "create_local_buckets", "with_local_folders", "with_local_place"]

LOCAL_FOLDERS = {name: join(LOCAL_BUCKET, name) for name in ("processed", "dead_letters")} | {
    "input": join(LOCAL_BUCKET, "raw")
}
"""The folders of a batch in the local cloud, by option."""


def with_local_place(line: CommandLine) -> CommandLine:
    """Return the command line with the local cloud's project and location if it names none."""
    return line.with_defaults(project=LOCAL_PROJECT, location=LOCAL_LOCATION)


def with_local_folders(line: CommandLine) -> CommandLine:
    """Return a batch's command line with the local cloud's place and folders if it names none."""
    return with_local_place(line).with_defaults(**LOCAL_FOLDERS)


def create_local_buckets(settings: BatchSettings, line: CommandLine) -> None:
    """Create the buckets that the local cloud lacks: those of the output, and that of the input if none is given."""
    storage = Storage(settings.project)
    folders = [settings.processed, settings.dead_letters]
    if not line.given.get("input"):
        folders.append(settings.input)
    for folder in folders:
        if folder.startswith("gs://") and not storage.bucket_exists(folder):
            storage.client.create_bucket(split_uri(folder)[0])
