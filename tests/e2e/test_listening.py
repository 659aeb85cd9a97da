"""Nothing that runs on one machine can be reached from another: every socket of every process is checked.

The stream that is watched has a nested contract, with names that are reserved words. Flink is watched where it runs
anyway: in the launcher by test_stream_secrets.py, as a cluster by test_flink_cluster.py.
"""

from __future__ import annotations

import json
import socket
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from kafka import KafkaProducer

from local.services import Endpoints
from tests.e2e.clouds import Cloud
from tests.e2e.listening import hold, listeners, watching
from tests.e2e.streams import StreamSite

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
FIELDS = [
    {"name": "at", "logicalType": "timestamp"},
    {"name": "end", "logicalType": "date"},
    {"name": "group", "logicalType": "number"},
    {"name": "type", "logicalType": "string"},
    {"name": "order", "logicalType": "array", "items": {"logicalType": "integer"}},
]
CONTRACT = {
    "apiVersion": "v3.1.0",
    "kind": "DataContract",
    "id": "rides",
    "version": "1.0.0",
    "schema": [
        {
            "name": "rides",
            "properties": [
                {"name": "ride_id", "logicalType": "string", "primaryKey": True, "required": True},
                {
                    "name": "user",
                    "logicalType": "object",
                    "properties": [*FIELDS, {"name": "select", "logicalType": "object", "properties": FIELDS}],
                },
                {"name": "stops", "logicalType": "array", "items": {"logicalType": "object", "properties": FIELDS}},
            ],
        }
    ],
}
VALUES = {"at": "2026-01-02T03:04:05.006Z", "end": "2026-01-02", "group": 1.5, "type": "x", "order": [1, 2]}
STORED = {
    "at": datetime(2026, 1, 2, 3, 4, 5, 6000, UTC),
    "end": date(2026, 1, 2),
    "group": Decimal("1.5"),
    "type": "x",
    "order": [1, 2],
}
NOTHING: dict[str, object] = {"at": None, "end": None, "group": None, "type": None, "order": []}


class Rides(StreamSite):
    """A stream of rides."""

    def names(self) -> list[str]:
        topic = f"--topic={self.topic}=rides"
        return [topic, *super().names()[1:]]


@pytest.fixture(scope="module")
def contracts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the contract."""
    folder = tmp_path_factory.mktemp("contracts")
    (folder / "rides.odcs.yaml").write_text(yaml.safe_dump(CONTRACT))
    return folder


def send(site: StreamSite) -> None:
    """Records of every form that is nested."""
    records = [
        {"ride_id": "a", "user": {**VALUES, "select": VALUES}, "stops": [VALUES, {}]},
        {"ride_id": "b", "user": {"type": "y"}, "stops": []},
        {"ride_id": "c"},
        {"ride_id": "d", "user": {"at": "never"}},
    ]
    producer = KafkaProducer(bootstrap_servers=site.servers)
    site.feed(partitions=1)  # makes the topic
    for record in records:
        producer.send(site.topic, json.dumps(record).encode())
    producer.close()


def check(site: StreamSite) -> None:
    """They are in the table as they were sent, and the wrong one is a dead letter."""
    rows = site.rows("SELECT * FROM {data}.rides ORDER BY ride_id")
    assert [(row["ride_id"], row["user"], row["stops"]) for row in rows] == [
        ("a", {**STORED, "select": STORED}, [STORED, NOTHING]),
        ("b", {**NOTHING, "type": "y", "select": None}, []),
        ("c", None, []),
    ]
    assert site.rows("SELECT user.end AS a, user.`select`.group AS b FROM {data}.rides WHERE user.type = 'x'") == [
        {"a": STORED["end"], "b": STORED["group"]}
    ]
    letters = site.rows("SELECT error_code, COUNT(*) AS n FROM {operations}.dead_letters GROUP BY error_code")
    assert letters == [{"error_code": "wrong_type", "n": 1}]


@pytest.mark.parametrize("address", ["::", "0.0.0.0"])
def test_a_socket_on_every_interface_is_seen(address: str) -> None:
    with socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET) as wide:
        port = wide.getsockname()[1]
        assert [one.port for one in listeners() if not one.loopback] == [port]


def test_a_stream_in_its_launcher(kafka_cloud: tuple[Path, Endpoints], contracts: Path) -> None:
    stream = Rides(*kafka_cloud, "rides", expansion=(), arguments=(f"--contracts={contracts}",))
    send(stream)
    with watching() as seen:
        assert stream.start("--stop_when_idle=2").finish(300)["state"] == "done"
    hold(seen(), "prism", "kafka-io", "launcher.py", "kafka.Kafka")
    check(stream)


@pytest.mark.parametrize("runner", ["DirectRunner", "PrismRunner"])
def test_a_batch(kafka_cloud: tuple[Path, Endpoints], contracts: Path, tmp_path: Path, runner: str) -> None:
    (tmp_path / "rides.ndjson").write_text(json.dumps({"ride_id": "a", "user": VALUES}))
    cloud = Cloud(kafka_cloud[0])
    with watching() as seen:
        cloud.launch(
            "batch",
            f"--runner={runner}",
            "--local",
            f"--input={tmp_path}",
            f"--contracts={contracts}",
            f"--dataset=batch_{runner}",
            f"--operations_dataset=batch_{runner}_operations",
        )
    hold(
        seen(),
        "local.bigquery.server",
        "fake-gcs-server",
        *(["prism", "launcher.py"] if runner == "PrismRunner" else []),
    )
