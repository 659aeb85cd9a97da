"""Sample data for a local cloud that has none yet: raw files in the bucket, events in the topic."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from google.api_core.exceptions import NotFound

from connectors.files.storage import Storage, join, split_uri
from connectors.kafka.client import NEW_PARTITIONS, admin, create_topics, producer, refusals
from connectors.kafka.config import KafkaConfig
from sample_data.dirty_stream import DirtyStream
from sample_data.generate import generate
from sample_data.keys import keyed
from sample_data.produce import produce

__all__ = ["ensure_sample_events", "ensure_sample_files"]

DIRTY = 0.03
SEED = 1
STREAM_EVENTS = 10_000


def ensure_sample_files(storage: Storage, folder: str, log: Callable[[str], None]) -> None:
    """Put sample files into the gs:// folder, and make its bucket, if no file is below it yet: all or none."""
    if storage.bucket_exists(folder):
        try:
            if next(storage.list(folder), None) is not None:
                return
        except NotFound:
            pass
    else:
        storage.client.create_bucket(split_uri(folder)[0])
    files: dict[str, bytes] = {}
    generate(
        write=files.__setitem__,
        customers=SIZES["customers"],
        products=SIZES["products"],
        transactions=SIZES["transactions"],
        events=SIZES["events"],
        dirty=DIRTY,
        seed=SEED,
    )
    try:
        for name, data in files.items():
            storage.write(join(folder, name), data)
    except BaseException:  # an interrupt above all: the next start would take a part for the whole
        for name in files:
            storage.delete(join(folder, name))
        raise
    log(f"no raw files in {folder} yet: made sample data there, {len(files)} files, dirty on purpose")


def ensure_sample_events(config: KafkaConfig, topic: str, log: Callable[[str], None]) -> None:
    """Create the topic with sample events if it does not exist. Raises UsageError as Kafka's client does.

    The same records each time: user_events, a few of them duplicates or defective; all or none.
    """
    with admin(config) as client:
        if not create_topics(client, config, {topic: NEW_PARTITIONS}):
            return
        try:
            sent = _send_sample_events(config, topic)
        except BaseException:
            client.delete_topics([topic])
            raise
    log(f"no topic {topic} yet: made it, with {sent:,} sample events, dirty on purpose")


def _send_sample_events(config: KafkaConfig, topic: str) -> int:
    """How many were sent. Raises KeyboardInterrupt where not all were."""
    files: dict[str, bytes] = {}
    # A tenth of the events goes to a second file.
    generate(
        write=files.__setitem__,
        customers=0,
        products=0,
        transactions=0,
        events=STREAM_EVENTS * 10 // 9 + 1,
        dirty=0,
        seed=SEED,
    )
    events = islice((line for line in files["user_events.json"].splitlines() if line), STREAM_EVENTS)
    with producer(config) as kafka, refusals(config):
        done = produce(kafka, topic, DirtyStream(DIRTY, SEED).records(keyed(events)), None, lambda _: None)
    if done.interrupted:
        raise KeyboardInterrupt
    return done.sent


SIZES = {"customers": 1_000, "products": 500, "transactions": 10_000, "events": 15_000}
"""What the replaced system's generator made."""
