"""`contracts infer` and `contracts try` on a topic of a real Kafka."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from connectors.kafka.client import admin, clients_closed, create_topics, producer
from connectors.kafka.config import KafkaConfig
from contracts.odcs.tables import load
from local.services import Endpoints
from tests.in_process import launch

pytestmark = pytest.mark.e2e

TOPIC = "contract-rides"


@pytest.fixture(scope="module")
def servers(kafka_cloud: tuple[Path, Endpoints]) -> str:
    """A Kafka with a topic of rides: 300 clean ones, one of them twice, a tombstone, and a text that is not JSON."""
    address = kafka_cloud[1].environment()["KAFKA_BOOTSTRAP_SERVERS"]
    config = KafkaConfig(address)
    with clients_closed():
        with admin(config) as client:
            create_topics(client, config, {TOPIC: 3, "contract-empty": 1})
        sender = producer(config)
        for n in range(300):
            ride = {"rideId": f"r{n}", "bike": {"id": n % 7}, "begunAt": f"2026-05-01T10:00:{n % 60:02}Z"}
            sender.send(TOPIC, json.dumps(ride).encode(), key=str(n).encode())
        sender.send(TOPIC, json.dumps({**ride, "bike": {"id": 0}}).encode(), key=b"299")
        sender.send(TOPIC, None, key=b"299")
        sender.send(TOPIC, b"\x1b no JSON", key=b"299")
        sender.flush()
    return address


def test_a_draft_of_a_topic_is_tried_on_it(servers: str, tmp_path: Path) -> None:
    place = ["--topic", TOPIC, "--bootstrap_servers", servers]
    drafted = launch(["contracts", "infer", *place, "--output", str(tmp_path / "rides.odcs.yaml")])
    assert drafted.code == 0, drafted.stderr
    (table,) = load([("draft", (tmp_path / "rides.odcs.yaml").read_text())]).values()
    assert (table.name, table.primary_key, table.partition) == ("contract_rides", (), "begunAt")
    assert not table.files
    text = (
        (tmp_path / "rides.odcs.yaml").read_text().replace("- name: rideId", "- name: rideId\n        primaryKey: true")
    )
    (tmp_path / "rides.odcs.yaml").write_text(text)
    tried = launch(["contracts", "try", str(tmp_path / "rides.odcs.yaml"), *place])
    assert tried.code == 0, tried.stderr
    lines = [line.split() for line in tried.stdout.splitlines()]
    assert lines[0][:4] == ["contract_rides:", "303", "records", "read;"]
    assert lines[2:6] == [["table", "300"], ["duplicate", "1"], ["dead", "letter", "malformed_json", "2"], []]
    assert "\x1b" not in tried.stdout
    assert "\\x1b no JSON" in tried.stdout


def test_a_limit_ends_early(servers: str, tmp_path: Path) -> None:
    draft = launch(["contracts", "infer", "--topic", TOPIC, "--limit", "50", "--bootstrap_servers", servers])
    assert "50 of 50 records pass (a sample" in draft.stdout


@pytest.mark.parametrize(
    ("topic", "said"),
    [
        ("contract-empty", "contract-empty: no record can be read"),
        ("contract-missing", "there is no topic contract-missing at"),
    ],
)
def test_a_topic_without_records_is_refused(topic: str, said: str, servers: str) -> None:
    done = launch(["contracts", "infer", "--topic", topic, "--bootstrap_servers", servers])
    assert (done.code, done.stdout) == (2, "")
    assert said in done.stderr
