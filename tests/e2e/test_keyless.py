"""A table without a key: a batch and a stream that read the same records again add nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient

from local.services import Endpoints
from tests import launching
from tests.engines import expansion_options
from tests.local.clients import bigquery_client
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: visits
version: 1.0.0
schema:
  - name: visits
    properties:
      - {name: n, logicalType: integer}
      - {name: details, logicalType: object, physicalType: JSON}
"""


def test_records_that_are_read_again_add_no_rows(kafka_cloud: tuple[Path, Endpoints], tmp_path: Path) -> None:
    """Equal records are two rows. A rerun and a replay add none; an overwritten file and a recreated topic do."""
    endpoints = kafka_cloud[1]
    servers = endpoints.environment()["KAFKA_BOOTSTRAP_SERVERS"]
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "visits.odcs.yaml").write_text(CONTRACT)
    source = tmp_path / "raw" / "visits.ndjson"
    source.parent.mkdir()
    source.write_text('{"n": 1}\n{"n": 1}\n')

    def launch(*words: str) -> None:
        local = ("--local", f"--local_dir={kafka_cloud[0]}", f"--contracts={tmp_path / 'contracts'}")
        ended = launching.run([*words, "--dataset=keyless", *local], dict(os.environ), timeout=120)
        assert ended.returncode == 0, ended.stdout + ended.stderr

    def batch() -> None:
        launch("batch", "--runner=DirectRunner", f"--input={source.parent}")

    def stream(group: str) -> None:
        names = (f"--group_id={group}", "--topic=visits=visits")
        launch("stream", "--runner=PrismRunner", "--stop_when_idle=1", *names, *expansion_options())

    def send(records: int) -> None:
        with KafkaAdminClient(bootstrap_servers=servers) as client:
            if "visits" in client.list_topics():
                client.delete_topics(["visits"])
                wait_until(lambda: "visits" not in client.list_topics(), 30)
            client.create_topics({"visits": {"num_partitions": 1}}, wait_for_metadata=True)
        with KafkaProducer(bootstrap_servers=servers) as producer:
            for _ in range(records):
                producer.send("visits", b'{"n": 1}', key=b"same")

    def count() -> int:
        (row,) = bigquery_client(endpoints).query("SELECT COUNT(*) AS n FROM keyless.visits").result()
        return int(row["n"])

    batch()
    batch()
    assert count() == 2
    source.write_text('{"n": 1}\n{"n": 1}\n{"n": 2}\n')
    batch()
    assert count() == 5
    send(3)
    stream("visits-1")
    stream("visits-1")
    assert count() == 8
    stream("visits-2")  # reads from the beginning
    assert count() == 8
    send(2)
    stream("visits-3")
    assert count() == 10
