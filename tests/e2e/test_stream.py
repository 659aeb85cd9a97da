"""Kafka to BigQuery with the real servers: exact, also when the stream is killed, again and again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from kafka.admin import KafkaAdminClient

from connectors.kafka.config import KafkaConfig
from connectors.kafka.group_offsets import GroupOffsets
from local import services
from local.services import Endpoints
from tests import launching
from tests.e2e.reconciled import accepted, contradictions, reconciled
from tests.e2e.streams import StreamSite
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def site(kafka_cloud: tuple[Path, Endpoints], name: str, **settings: Any) -> StreamSite:
    """A separate stream in the cloud."""
    return StreamSite(*kafka_cloud, name, **settings)


def lag(stream: StreamSite) -> int:
    """Offsets that the stream's group has not committed."""
    offsets = GroupOffsets(KafkaConfig(stream.servers), stream.name)
    try:
        sources = offsets.sources([stream.name])
        committed, ends = offsets.committed(sources), offsets.ends(sources)
        return sum(ends[source] - (committed[source] or 0) for source in sources)
    finally:
        offsets.close()


def launcher(kafka_cloud: tuple[Path, Endpoints], arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Another command of the launcher, on the same cloud."""
    return launching.run([*arguments], {**os.environ, **kafka_cloud[1].environment()}, timeout=180)


def test_every_event_once(kafka_cloud: tuple[Path, Endpoints]) -> None:
    stream = site(kafka_cloud, "once")
    feed = stream.feed()
    feed.send(5_000)
    summary = stream.start("--stop_when_idle=1").finish()
    stream.check(feed)
    counts = summary["tables"]["user_events_streaming"]
    assert (summary["state"], counts["read"], counts["written"]) == ("done", 5_000, len(feed.clean))
    assert set(summary["lag"].values()) == {0}
    assert summary["latency_ms"]["p99"] >= summary["latency_ms"]["p50"] > 0
    # Sent again they are duplicates, also for the next start, which knows them from the table alone.
    again = stream.feed()
    again.send(5_000)
    total = stream.start("--stop_when_idle=1").finish()["tables"]["user_events_streaming"]
    assert (total["read"], total["written"]) == (10_000, len(feed.clean))
    # The topic itself proves the counts: a line that says more than it holds is found.
    reconciled(stream.directory, stream.name)
    (one,) = stream.rows("SELECT MIN(source) AS source FROM {operations}.ledger WHERE kind = 'offsets'")
    stream.warehouse.query(
        f"UPDATE {stream.name}_operations.ledger SET `read` = `read` + 1, duplicate = duplicate + 1 WHERE kind ="
        f" 'offsets' AND source = '{one['source']}' AND first_offset = 0"
    )
    assert contradictions(stream.directory, stream.name) == [("topic_differs", one["source"], 1)]
    with KafkaAdminClient(bootstrap_servers=stream.servers) as client:
        client.delete_topics([stream.topic])
        wait_until(lambda: stream.topic not in client.list_topics(), 30)
        gone = reconciled(stream.directory, stream.name)
        assert f"not counted again: {one['source']}, for the topic is gone" in gone
        client.create_topics({stream.topic: {"num_partitions": 1}}, wait_for_metadata=True)
    other = reconciled(stream.directory, stream.name)
    assert f"not counted again: kafka://{stream.topic}/0, for the broker has none of its records any more" in other
    assert f"not counted again: kafka://{stream.topic}/1, for the topic is gone" in other


def killed_while_events_flow(stream: StreamSite, events: int, kills: int) -> None:
    """This many kills, each behind the first row of its start and before the group has all, and yet all is exact."""
    feed = stream.feed()
    chance = random.Random()
    with feed.sending(events):
        for kill in range(kills):
            feed.rate = (events - feed.sent) / (60 * (kills - kill + 1))
            start = stream.start()
            assert stream.written_by(start) > 0
            time.sleep(chance.random() * 3)
            accepted(stream.directory, stream.name)  # while the stream writes, and while its lease lasts
            start.kill()
            accepted(stream.directory, stream.name)
            assert feed.sent < events
            assert lag(stream) > 0
    stream.start("--stop_when_idle=2").finish(600)
    stream.check(feed)
    reconciled(stream.directory, stream.name)
    assert lag(stream) == 0


def test_killed_four_times_while_events_flow(kafka_cloud: tuple[Path, Endpoints]) -> None:
    killed_while_events_flow(site(kafka_cloud, "killed", expansion=()), 20_000, 4)


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
def test_killed_fifty_times_while_events_flow(kafka_cloud: tuple[Path, Endpoints]) -> None:
    killed_while_events_flow(site(kafka_cloud, "soaked", expansion=()), 500_000, 50)


def test_a_signal_stops_it_cleanly(kafka_cloud: tuple[Path, Endpoints]) -> None:
    stream = site(kafka_cloud, "stopped", expansion=())
    feed = stream.feed()
    feed.send(2_000)
    start = stream.start()
    stream.written_by(start)
    start.process.send_signal(signal.SIGTERM)
    first = start.finish(60)
    for said in ("stopping; Ctrl-C again ends at once", "writing what is in flight, at most 30 s; Ctrl-C again ends"):
        assert said in start.said
    read = first["tables"]["user_events_streaming"]["read"]
    assert (first["state"], read + lag(stream)) == ("done", feed.sent)
    feed.send(1_000)
    # The run's ledger has each record once: none of the first start's was read again.
    assert stream.start("--stop_when_idle=1").finish()["tables"]["user_events_streaming"]["read"] == feed.sent
    stream.check(feed)


def test_downtime_longer_than_the_horizon(kafka_cloud: tuple[Path, Endpoints]) -> None:
    stream = site(kafka_cloud, "downtime", arguments=("--dedup_horizon=2s",))
    feed = stream.feed()
    feed.send(3_000)
    start = stream.start()
    written = stream.written_by(start)
    start.kill()
    assert written > 0
    assert lag(stream) > 0, "the rows are committed already: nothing is shown"
    time.sleep(4)
    stream.start("--stop_when_idle=1").finish()
    stream.check(feed)


def test_a_job_that_fails_is_submitted_again(kafka_cloud: tuple[Path, Endpoints]) -> None:
    stream = site(kafka_cloud, "restarted")
    feed = stream.feed()
    with feed.sending(4_000):
        feed.rate = 100
        start = stream.start("--stop_when_idle=2")
        stream.written_by(start)
        listed = subprocess.run(
            ["ps", "-o", "pid=,args=", "--ppid", str(start.process.pid)], capture_output=True, text=True, check=True
        )
        prism = [line.split()[0] for line in listed.stdout.splitlines() if "--job_port" in line]
        os.kill(int(prism[0]), signal.SIGKILL)
        feed.rate = None
    start.finish()
    stream.check(feed)


def test_a_partition_is_added(kafka_cloud: tuple[Path, Endpoints]) -> None:
    stream = site(kafka_cloud, "grown")
    feed = stream.feed(partitions=1)
    feed.send(500)
    start = stream.start()
    stream.written_by(start)
    client = KafkaAdminClient(bootstrap_servers=stream.servers)
    client.create_partitions({stream.name: 2})
    client.close()
    feed.send(500)
    deadline = time.monotonic() + 60
    while len(stream.rows("SELECT DISTINCT _source FROM {data}.user_events_streaming")) < 2:
        assert time.monotonic() < deadline, "the new partition is not read within 60 s"
        time.sleep(1)
    start.process.send_signal(signal.SIGINT)
    start.finish(60)
    stream.start("--stop_when_idle=1").finish()
    stream.check(feed)


def test_transactions_and_compaction_leave_holes(kafka_cloud: tuple[Path, Endpoints]) -> None:
    stream = site(kafka_cloud, "holes")
    compacted = {"cleanup.policy": "compact", "segment.ms": "500", "min.cleanable.dirty.ratio": "0.01"}
    feed = stream.feed(partitions=2, dirty=0.1, settings=compacted)
    for _ in range(3):
        feed.send(300)
        feed.send_aborted(50, "holes")
        feed.send(100, transaction="holes")
    sent = feed.sent
    deadline = time.monotonic() + 120
    while feed.visible() == sent:  # duplicates have one key: compaction leaves the last
        assert time.monotonic() < deadline, "the topic was not compacted"
        feed.send(1)  # a new segment, for the active one is never compacted
        sent += 1
        time.sleep(1)
    feed.send_aborted(50, "holes")
    start = stream.start("--stop_when_idle=2")
    start.finish()
    assert lag(stream) == 0
    read = stream.rows("SELECT SUM(`read`) AS n FROM {operations}.ledger_current WHERE kind = 'offsets'")[0]["n"]
    assert read < feed.sent
    feed.sent = read
    stream.check(feed)


def test_the_broker_is_away_for_half_a_minute(kafka_cloud: tuple[Path, Endpoints]) -> None:
    stream = site(kafka_cloud, "away")
    feed = stream.feed()
    feed.send(1_000)
    start = stream.start()
    stream.written_by(start)
    broker = services.status(kafka_cloud[0]).services["kafka"].process
    os.kill(broker.pid, signal.SIGTERM)
    time.sleep(30)
    services.up(kafka_cloud[0], ("kafka",))
    feed.send(1_000)
    deadline = time.monotonic() + 120
    while lag(stream):
        assert time.monotonic() < deadline
        assert start.process.poll() is None, start.process.communicate()[0]
        time.sleep(1)
    start.process.send_signal(signal.SIGTERM)
    start.finish(60)
    stream.check(feed)


def test_a_batch_and_a_stream_share_a_table_only_in_turn(kafka_cloud: tuple[Path, Endpoints], tmp_path: Path) -> None:
    stream = site(kafka_cloud, "shared")
    feed = stream.feed(dirty=0.0)
    feed.send(300)
    lines = [value.decode() for _, value, _ in stream.feed(dirty=0.0).records(100) if value]
    (tmp_path / "user_events_streaming.json").write_text("\n".join(lines))
    batch = [
        *("batch", "--runner=DirectRunner", "--local", f"--local_dir={kafka_cloud[0]}", f"--input={tmp_path}"),
        *(
            f"--dataset={stream.name}",
            f"--operations_dataset={stream.name}_operations",
            "--tables=user_events_streaming",
        ),
    ]
    assert launcher(kafka_cloud, batch).returncode == 0
    start = stream.start()
    assert stream.written_by(start) > 0
    refused = launcher(kafka_cloud, batch)
    assert refused.returncode == 2
    assert f"table shared.user_events_streaming is being written by run {stream.name}" in refused.stderr
    start.process.send_signal(signal.SIGTERM)
    start.finish(60)
    counts = stream.start("--stop_when_idle=1").finish()["tables"]["user_events_streaming"]
    assert (counts["read"], counts["written"], counts["duplicate"]) == (300, 200, 100)
