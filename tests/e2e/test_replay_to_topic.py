"""Dead letters go back into the topic of a stream that runs: it writes each once, whatever is killed or sent twice."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from local.services import Endpoints
from tests import launching
from tests.e2e.proxies import HoldingProxy
from tests.e2e.reconciled import reconciled
from tests.e2e.streams import StreamSite
from tests.e2e.tickets import FEW, MANY, RECORDS, contract
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
MARK = r"INSERT INTO .{1,80}replayed_dead_letters"


class TicketStream(StreamSite):
    """A stream of tickets."""

    def names(self) -> list[str]:
        return [f"--topic={self.topic}=tickets", f"--group_id={self.name}", *self.datasets]

    @property
    def datasets(self) -> list[str]:
        """The options that name its datasets and contracts."""
        contracts = f"--contracts={self.directory / self.name}"
        return [f"--dataset={self.name}", f"--operations_dataset={self.name}_operations", contracts]

    def replay(self, *arguments: str, code: int = 0) -> str:
        """What a replay prints."""
        place = ("--local", f"--local_dir={self.directory}", "--table=tickets")
        done = launching.run(["replay", *place, *self.datasets, *arguments])
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def tickets(self) -> dict[str, str]:
        """The texts by id; each id is there once."""
        rows = self.rows("SELECT ticket_id, text FROM {data}.tickets")
        assert len({row["ticket_id"] for row in rows}) == len(rows)
        return {row["ticket_id"]: row["text"] for row in rows}

    def states(self) -> list[str]:
        """The states of the dead letters of the first six offsets; what is refused again has one of its own."""
        rows = self.rows("SELECT state FROM {operations}.dead_letters_current WHERE position < 6")
        return sorted(row["state"] for row in rows)

    def records(self, first: int) -> Iterator[Any]:
        """The records of the topic from an offset on."""
        place = TopicPartition(self.topic, 0)
        with KafkaConsumer(bootstrap_servers=self.servers) as consumer:
            consumer.assign([place])
            consumer.seek(place, first)
            end = consumer.end_offsets([place])[place]
            while consumer.position(place) < end:
                for records in consumer.poll(1000).values():
                    yield from records


def test_a_stream_writes_what_is_sent_to_its_topic_again(kafka_cloud: tuple[Path, Endpoints]) -> None:
    site = TicketStream(*kafka_cloud, "resent")
    contract(site.directory / site.name, FEW)
    with KafkaAdminClient(bootstrap_servers=site.servers) as admin:
        admin.create_topics([NewTopic(site.topic, 1, 1), NewTopic("another", 1, 1)])
    with KafkaProducer(bootstrap_servers=site.servers) as producer:
        for number, record in enumerate(RECORDS):
            headers = [("trace", b"\xff%d" % number), ("retry_count", b"7")]
            producer.send(site.topic, json.dumps(record).encode(), key=b"\xfe%d" % number, headers=headers).get(30)
        producer.send(site.topic, None, key=b"gone").get(30)
    counts = site.start("--stop_when_idle=1").finish()["tables"]["tickets"]
    assert (counts["written"], counts["dead_letter"]) == (1, 5)
    for arguments, why in (
        (("--to_topic=none",), "--to_topic: there is no topic none at "),
        (("--to_topic=another",), "--to_topic: no stream has read topic another into resent.tickets"),
        ((f"--to_topic={site.topic}", "--patch=level = 'low'"), "so it takes no --patch"),
    ):
        assert why in site.replay(*arguments, code=2)
    contract(site.directory / site.name, MANY)
    live = site.start()
    held = "SELECT 1 FROM {operations}.leases WHERE `table` = 'resent.tickets' AND run_id = 'resent'"
    wait_until(lambda: site.rows(held), 60, live.process)
    assert "is being written by run resent" in site.replay(code=2)
    urgent = (f"--to_topic={site.topic}", "--where=error_code = 'invalid_value'")
    assert "tickets: 2 of 3 pass" in site.replay(*urgent, "--dry_run")
    # Killed when the broker has the records and before they are marked: they are sent a second time.
    with HoldingProxy(site.endpoints.environment()["BIGQUERY_EMULATOR_HOST"]) as proxy:
        proxy.hold(MARK, after=False)
        options = ["replay", "--project=local-project", "--location=US", f"--bootstrap_servers={site.servers}"]
        killed = launching.start(
            [*options, *site.datasets, "--table=tickets", *urgent, "--run_id=once"],
            {**os.environ, "BIGQUERY_EMULATOR_HOST": proxy.address},
        )
        assert proxy.held.wait(60), killed.communicate()
        killed.kill_group()
    assert "run once: 3 dead letters of tickets are in topic resent" in site.replay(*urgent, "--run_id=once")
    assert site.states() == ["open", "open", "sent", "sent", "sent"]
    assert "other dead letters" in site.replay(f"--to_topic={site.topic}", "--run_id=once", code=2)
    said = site.replay(f"--to_topic={site.topic}", "--where=error_code = 'malformed_json'")
    assert "1 are left open: it has no value" in said
    sent = list(site.records(6))
    assert len(sent) == 6
    assert {record.key for record in sent} == {b"\xfe1", b"\xfe2", b"\xfe3"}
    for record in sent:
        assert record.headers == [("trace", b"\xff" + record.key[1:]), ("retry_count", b"1")]
    wait_until(lambda: len(site.tickets()) == 3, 60, live.process)
    live.process.send_signal(signal.SIGTERM)
    live.finish(60)
    counts = site.start("--stop_when_idle=1").finish()["tables"]["tickets"]
    assert (counts["read"], counts["written"], counts["duplicate"], counts["dead_letter"]) == (12, 3, 2, 7)
    assert site.tickets() == {"1": "one", "2": "two", "3": "three"}
    reconciled(site.directory, site.name, f"--contracts={site.directory / site.name}")
