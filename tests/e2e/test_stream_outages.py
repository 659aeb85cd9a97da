"""A stream goes on, exact, while BigQuery fails."""

from __future__ import annotations

import itertools
import json
import re
import time
from collections import Counter
from pathlib import Path

import grpc
import pyarrow as pa
import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from connectors.kafka.config import KafkaConfig
from connectors.kafka.group_offsets import GroupOffsets
from connectors.kafka.partitions import uri
from local.engines import engines
from local.services import Endpoints
from tests.e2e.append_proxy import AppendProxy, Fail, Request
from tests.e2e.proxies import FailingProxy
from tests.e2e.streams import Feed, StreamSite

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
OUTAGE_SECONDS = 30
EVENTS = 5_000
REFUSED = "refused-by-the-warehouse"


class Outage:
    """What the gRPC side meets while it lasts: three statuses in turn, appends every second time once applied."""

    STATUSES = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL)

    def __init__(self) -> None:
        self.lasts = False
        self.failed: Counter[bool] = Counter()
        self._numbers = itertools.count()

    def on_append(self, request: Request) -> Fail | None:
        """An append."""
        return self.on_call(request.write_stream)

    def on_call(self, _: str) -> Fail | None:
        """Another call."""
        if not self.lasts:
            return None
        number = next(self._numbers)
        self.failed[number % 2 == 1] += 1
        return Fail(number % 2 == 1, self.STATUSES[number % 3])


def send_refused(feed: Feed) -> bytes:
    """Send the one record that is clean and that the warehouse refuses; its value."""
    value = json.dumps(
        {
            "event_id": REFUSED,
            "customer_id": "c1",
            "event_type": "page_view",
            "event_timestamp": "2026-03-01T12:34:56.789Z",
            "page_url": "https://shop.example/p/1",
        },
        indent=1,
    ).encode()
    producer = KafkaProducer(bootstrap_servers=feed.servers, acks="all")
    try:
        sent = producer.send(
            feed.topic,
            value,
            key=b"\xff\x00key",
            timestamp_ms=1_772_000_000_123,
            headers=[("trace", b"\x80"), ("a", b"b")],
        ).get(30)
    finally:
        producer.close()
    feed.refused[f"kafka://{sent.topic}/{sent.partition}", sent.offset] = "warehouse_rejected"
    feed.sent += 1
    return value


def test_bigquery_fails_for_half_a_minute_and_refuses_a_row(kafka_cloud: tuple[Path, Endpoints]) -> None:
    found = kafka_cloud[1].environment()
    outage = Outage()
    with (
        engines("PrismRunner") as options,
        AppendProxy(found["BIGQUERY_STORAGE_EMULATOR_HOST"]) as storage,
        FailingProxy(found["BIGQUERY_EMULATOR_HOST"]) as rest,
    ):
        storage.on_append, storage.on_call = outage.on_append, outage.on_call
        storage.refused = refused_rows
        proxied = {"BIGQUERY_STORAGE_EMULATOR_HOST": storage.address, "BIGQUERY_EMULATOR_HOST": rest.address}
        stream = StreamSite(*kafka_cloud, "outages", environment=proxied, engines=options)
        feed = stream.feed(rate=EVENTS / 60)
        value = send_refused(feed)
        with feed.sending(EVENTS):
            start = stream.start("--stop_when_idle=3")
            assert stream.written_by(start) > 0
            outage.lasts = True
            rest.failing.set()
            time.sleep(2)
            appends, sent = storage.appends, feed.sent
            time.sleep(OUTAGE_SECONDS - 2)
            assert storage.appends > appends  # they were tried again
            assert sent < feed.sent < EVENTS  # events flowed all the time
            outage.lasts = False
            rest.failing.clear()
            assert start.process.poll() is None
        summary = start.finish()
    stream.check(feed)
    assert summary["state"] == "done"
    refusals = re.findall(
        r"BigQuery refuses (the appends to [\w.]+|GET \S+|POST \S+) \((\d+) tries in (\d+) s\): ", start.said
    )
    assert {what.startswith("the appends") for what, _, _ in refusals} == {True, False}
    assert min(int(seconds) for _, _, seconds in refusals) < 10
    assert min(outage.failed[True], outage.failed[False], *rest.failed.values()) > 0
    (letter,) = stream.rows("SELECT * FROM {operations}.dead_letters WHERE error_code = 'warehouse_rejected'")
    assert letter["raw"] == value
    assert (letter["stage"], letter["error_message"], letter["recoverable"]) == ("write", "no such thing", True)
    attributes = json.loads(letter["attributes"]) if isinstance(letter["attributes"], str) else letter["attributes"]
    assert attributes["key"] == {"base64": "/wBrZXk="}
    assert attributes["timestamp"] == 1_772_000_000_123
    assert attributes["headers"] == [["trace", {"base64": "gA=="}], ["a", "b"]]


def refused_rows(rows: pa.RecordBatch) -> dict[int, str]:
    """The rows that the warehouse refuses."""
    if "event_id" not in rows.schema.names:
        return {}
    return {n: "no such thing" for n, key in enumerate(rows.column("event_id").to_pylist()) if key == REFUSED}


def test_records_that_the_broker_removes_while_they_wait_are_not_passed_over(
    kafka_cloud: tuple[Path, Endpoints],
) -> None:
    """They are in blocks that BigQuery does not take yet: to commit past them would lose them with the process."""
    with (
        engines("PrismRunner") as options,
        AppendProxy(kafka_cloud[1].environment()["BIGQUERY_STORAGE_EMULATOR_HOST"]) as storage,
    ):
        storage.on_append = lambda _: Fail(False, grpc.StatusCode.UNAVAILABLE)
        proxied = {"BIGQUERY_STORAGE_EMULATOR_HOST": storage.address}
        stream = StreamSite(*kafka_cloud, "removed", environment=proxied, engines=options)
        feed = stream.feed(partitions=1, dirty=0)
        feed.send(100)
        start = stream.start("--stop_when_idle=1")
        deadline = time.monotonic() + 120
        while not storage.appends:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        client = KafkaAdminClient(bootstrap_servers=feed.servers)
        client.delete_records({TopicPartition(feed.topic, 0): 100})
        client.close()
        time.sleep(10)
        assert committed(stream) == 0
        assert start.process.poll() is None
        storage.on_append = lambda _: None
        start.finish()
    stream.check(feed)


def committed(stream: StreamSite) -> int | None:
    """The committed offset of the first partition."""
    offsets = GroupOffsets(KafkaConfig(stream.servers), stream.name)
    try:
        return next(iter(offsets.committed([uri(stream.name, 0)]).values()))
    finally:
        offsets.close()
