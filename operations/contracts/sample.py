"""The records of files or of a topic, for tools that look at data before it is loaded. Nothing is written."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.api_core.exceptions import NotFound

from connectors.files.names import RULE, InputFile, belonging, form_of
from connectors.files.readers import FileReader
from connectors.files.storage import FileChanged, Storage, StoredFile, Unlisted
from connectors.kafka.config import KafkaConfig
from connectors.kafka.partitions import uri
from connectors.sources.files import EXPANSION_FROM, MAX_EXPANSION, FileRange, blocks_of
from contracts.decoding.decoder import Block
from contracts.errors import Unavailable, UsageError
from contracts.table import Table
from transforms.source_order import natural_order

__all__ = ["MAX_RECORD_BYTES", "Topic", "blocks_of_files", "blocks_of_topic", "files_of_tables", "input_files"]

MAX_RECORD_BYTES = 10_000_000
POLL_MS = 500
GIVE_UP_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic and the Kafka that has it."""

    name: str
    config: KafkaConfig


def input_files(storage: Storage, paths: Sequence[str], table: str = "") -> list[InputFile]:
    """Return the files at these paths in natural order; a path is a file, or a folder with all files below it.

    Raises UsageError for a path that does not exist, and for one without a file in a supported format.
    """
    files = [file for path in paths for file in _files(storage, path, table)]
    return sorted(files, key=lambda file: natural_order(file.uri))


def files_of_tables(storage: Storage, paths: Sequence[str], tables: Mapping[str, Table]) -> dict[str, list[InputFile]]:
    """Return the files at these paths by table, as a run assigns them: by their names, or the globs of the contracts.

    Raises UsageError as `input_files` does, and if no file belongs to a table.
    """
    found: dict[str, list[InputFile]] = {}
    for path in paths:
        files = _files(storage, path, "")
        stored = [StoredFile(_plain(file.uri), file.size, file.generation, file.content_encoding) for file in files]
        folder = path if any(file.uri != path for file in files) else path.rpartition("/")[0]
        for file in belonging(stored, folder, tables).files:
            found.setdefault(file.table, []).append(file)
    if not found:
        raise UsageError(
            f"no file has the name of one of the tables {', '.join(tables)}; name one with --table; {RULE}"
        )
    return {name: found[name] for name in tables if name in found}


def _plain(uri: str) -> str:
    """Return the URI without `./`, as files of a folder have it."""
    return uri if uri.startswith("gs://") else str(Path(uri))


def _files(storage: Storage, path: str, table: str) -> list[InputFile]:
    try:
        entries = list(storage.scan(path))
    except NotFound:
        return [_file(storage, path, table)]
    files = [
        InputFile(table, entry.uri, entry.size, entry.generation, entry.content_encoding)
        for entry in entries
        if not isinstance(entry, Unlisted) and form_of(entry.uri) and not _is_hidden(entry.uri.removeprefix(path))
    ]
    if files:
        return files
    if entries:
        raise UsageError(f"{path}: has no file with a known extension; {RULE}")
    if path.startswith("gs://"):  # an object, or a bucket or folder without one
        return [_file(storage, path, table)]
    raise UsageError(f"{path}: there is no such file, and no file below it")


def _is_hidden(path: str) -> bool:
    """Return whether a file below a folder is not data, but that of a program: its name begins with . or _."""
    return any(part.startswith((".", "_")) and "=" not in part for part in path.strip("/").split("/"))


def _file(storage: Storage, path: str, table: str) -> InputFile:
    try:
        with storage.open(path) as stream:
            assert isinstance(stream, FileReader)
            size = stream.size
    except FileChanged:
        raise UsageError(f"{path}: there is no such file, and no file below it") from None
    if form_of(path) is None:
        raise UsageError(f"{path}: its extension is not one of a supported format; {RULE}")
    return InputFile(table, path, size, 0)


def blocks_of_files(storage: Storage, files: Sequence[InputFile], table: Table | None) -> Iterator[Block]:
    """Yield the blocks of the files, in order, as a run reads them."""
    for file in files:
        with storage.open(file.uri) as stream:
            largest = max(EXPANSION_FROM, MAX_EXPANSION * file.size)
            yield from blocks_of(stream, FileRange(file), table, MAX_RECORD_BYTES, largest)


def blocks_of_topic(topic: Topic, limit: int) -> Iterator[Block]:
    """Yield blocks of the topic's first `limit` records, those of all partitions, from what Kafka still has.

    Raises UsageError for a topic that does not exist, Unavailable if Kafka stops to answer.
    """
    from kafka import TopicPartition

    from connectors.kafka.client import admin, clients_closed, consumer, partitions, refusals
    from connectors.sources.kafka import Held, KafkaRecord  # imports Beam

    with clients_closed():
        count = partitions(admin(topic.config), topic.config, [topic.name])[topic.name]
        client = consumer(topic.config)
        places = [TopicPartition(topic.name, number) for number in range(count)]
        with refusals(topic.config):
            client.assign(places)
            ends = client.end_offsets(places)
            client.seek_to_beginning(*places)
            unread = {place for place in places if client.position(place) < ends[place]}
        held = {place: Held(MAX_RECORD_BYTES) for place in places}
        read, give_up = 0, time.monotonic() + GIVE_UP_SECONDS
        while unread and read < limit:
            with refusals(topic.config):
                polled = client.poll(timeout_ms=POLL_MS, max_records=limit - read)
                unread = {place for place in unread if client.position(place) < ends[place]}
            for place, records in polled.items():
                for record in records:
                    fields = (record.timestamp, record.key, record.value)
                    held[place].add(KafkaRecord(record.topic, record.partition, record.offset, *fields, None))
                    read += 1
            if polled:
                give_up = time.monotonic() + GIVE_UP_SECONDS
            elif time.monotonic() > give_up:
                raise Unavailable(f"Kafka at {topic.config.bootstrap_servers} returns no record of {topic.name}")
        for place, records_held in held.items():
            if len(records_held):
                yield records_held.block(uri(topic.name, place.partition))
