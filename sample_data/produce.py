"""`produce`: the records of a file into a topic, each once, keyed by customer, as fast as asked for."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

from google.api_core.exceptions import NotFound
from kafka import KafkaProducer
from kafka.errors import MessageSizeTooLargeError
from kafka.producer.future import FutureRecordMetadata
from rich import progress as rich_progress
from rich.console import Console

from connectors.files.names import InputFile, form_of
from connectors.files.storage import FileChanged, Storage
from connectors.kafka.client import admin, create_topics, partitions, producer, refusals
from connectors.kafka.config import KafkaConfig
from connectors.sources.files import FileRange, blocks_of
from contracts.errors import UsageError
from sample_data.dirty_stream import DirtyStream, Keyed
from sample_data.keys import with_keys

__all__ = ["FileToTopic", "Produced", "produce", "produce_file", "records_of"]

MAX_RECORD_BYTES = 100_000_000
"""Of one record in the file. What Kafka takes is far less, and is Kafka's to say."""
MOST_WAITING = 20_000
"""How many records may wait for the broker's word: kafka-python 3 bounds its buffer by nothing."""
SETTLE_SECONDS = 150.0
"""Longer than kafka-python itself tries to deliver a record."""
LINE_SECONDS = 10.0


@dataclass(slots=True)
class Produced:
    """How it went so far."""

    sent: int = 0
    """Records that all replicas have."""
    too_large: int = 0
    """Records that were not sent, since they are larger than a request may be."""
    interrupted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FileToTopic:
    """What to send, and how."""

    uri: str
    topic: str
    key: str | None
    """Path of the field that is the records' key."""
    create_partitions: int | None
    """Create the topic with this number of partitions if it does not exist. None: it must exist."""
    rate: float | None
    """Records per second at most."""
    limit: int | None
    """Records of the file at most."""
    loop: bool
    """Send the file again and again."""
    dirty: DirtyStream
    manifest: str | None
    """Where to write what was sent, once all records were sent."""


def produce_file(
    storage: Storage, config: KafkaConfig, what: FileToTopic, console: Console, log: Callable[[str], None]
) -> int:
    """Send a file's records to a topic and return the exit code. Raises UsageError."""
    with admin(config) as client:
        if what.create_partitions:
            create_topics(client, config, {what.topic: what.create_partitions})
        partitions(client, config, [what.topic])
    records = islice(records_of(storage, what.uri, what.loop), what.limit)
    with producer(config) as kafka, refusals(config), shown(console, log, what.limit) as report:
        done = produce(kafka, what.topic, what.dirty.records(with_keys(records, what.key, log)), what.rate, report)
    log(f"{'interrupted; ' if done.interrupted else ''}{done.sent:,} records sent to {what.topic}")
    if done.too_large:
        log(f"{done.too_large:,} records were not sent: they are larger than a request may be")
    whole = not done.too_large and not done.interrupted
    if what.manifest and whole:
        storage.write(what.manifest, json.dumps(what.dirty.manifest(), indent=2).encode())
    return 0 if whole or (what.loop and not done.too_large) else 1


def records_of(storage: Storage, uri: str, loop: bool) -> Iterator[bytes]:
    """The records of a JSON, NDJSON, Parquet, Avro or ORC file as they stand, with `loop` again and again.

    UsageError for a file that is not there, is CSV, is damaged or holds no record.
    """
    form = form_of(uri)
    if form is None or form.format in ("csv", "tsv"):
        raise UsageError(
            f"--input {uri}: records come from .json, .ndjson, .jsonl, .parquet, .avro or .orc, plain, .gz or .zst"
        )
    yield from _once(storage, uri)
    while loop:
        yield from _once(storage, uri)


def _once(storage: Storage, uri: str) -> Iterator[bytes]:
    try:
        with storage.open(uri) as stream:
            records = 0
            for block in blocks_of(stream, FileRange(InputFile("", uri, 0, 0)), None, MAX_RECORD_BYTES):
                yield from block.records
                records += len(block.records)
                if block.refusals:
                    raise UsageError(f"--input {uri}: {block.refusals[0].message}, after {records:,} records")
    except (FileChanged, NotFound):
        raise UsageError(f"--input {uri}: there is no such file") from None
    if not records:
        raise UsageError(f"--input {uri}: there is no record in it")


def produce(
    producer: KafkaProducer,
    topic: str,
    records: Iterable[Keyed],
    rate: float | None,
    report: Callable[[Produced], None],
) -> Produced:
    """Send the records, at most `rate` a second, and wait until the broker has them all. `report` hears of each.

    Ctrl-C ends it early: what was sent by then is waited for. Raises the KafkaError of a record that was refused.
    """
    produced, waiting, began = Produced(), deque[FutureRecordMetadata](), time.monotonic()

    def settle(most: int) -> None:
        while waiting and (len(waiting) > most or waiting[0].is_done):
            waiting.popleft().get(timeout=SETTLE_SECONDS)
            produced.sent += 1

    with _stop_asked() as stop:
        for number, (key, value) in enumerate(records):
            stop.wait(began + number / rate - time.monotonic() if rate else 0)
            if stop.is_set():
                produced.interrupted = True
                break
            try:
                waiting.append(producer.send(topic, value=value, key=key))
            except MessageSizeTooLargeError:
                produced.too_large += 1
            settle(MOST_WAITING)
            report(produced)
    producer.flush(timeout=SETTLE_SECONDS)
    settle(0)
    report(produced)
    return produced


@contextmanager
def _stop_asked() -> Iterator[threading.Event]:
    """Set by SIGINT and SIGTERM while the block lasts: an exception could come between a record and its count."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def shown(console: Console, log: Callable[[str], None], total: int | None) -> Iterator[Callable[[Produced], None]]:
    """A bar on a terminal (`total` records, None if nobody knows), elsewhere a line now and then."""
    began = logged = time.monotonic()
    if console.is_terminal:
        columns = (rich_progress.BarColumn(), rich_progress.TextColumn("{task.completed:,} records"))
        with rich_progress.Progress(
            *columns, rich_progress.TimeElapsedColumn(), console=console, transient=True
        ) as bar:
            task = bar.add_task("", total=total)
            yield lambda produced: bar.update(task, completed=produced.sent)
        return

    def line(produced: Produced) -> None:
        nonlocal logged
        if (now := time.monotonic()) - logged >= LINE_SECONDS:
            logged = now
            log(f"{produced.sent:,} records sent, {produced.sent / (now - began):,.0f} a second")

    yield line
