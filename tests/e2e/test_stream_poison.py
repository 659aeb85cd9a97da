"""Nothing that lies in a topic stops a stream: each record leaves by one door, whatever it is and whatever it meets."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from kafka import KafkaProducer

from connectors.files.storage import Storage
from contracts.refusal import MAX_STORED_BYTES
from local.engines import engines
from local.services import Endpoints
from tests import launching
from tests.e2e.append_proxy import AppendProxy, Fail, Request, rows_of
from tests.e2e.streams import StreamSite

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: poison
version: 1.0.0
schema:
  - name: things
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: body, logicalType: string}
      - {name: copy, logicalType: string, customProperties: [{property: source, value: body}]}
"""
NAME = "odd.topic_NAME-1"
UNNAMED, UNWANTED = "refused whole, no row is named", "no dead letter, either"
TOPIC = {"max.message.bytes": str(20 << 20), "retention.ms": "-1", "message.timestamp.after.max.ms": str(2**63 - 1)}


@dataclass
class PoisonSite(StreamSite):
    """A stream of things."""

    def names(self) -> list[str]:
        return [
            f"--topic={NAME}=things",
            "--group_id=poison",
            "--dataset=poison",
            "--operations_dataset=poison_operations",
            f"--contracts={self.directory / 'poison'}",
        ]


@dataclass(frozen=True)
class Sent:
    """A record to send, and the code that it must be refused with (None: it is written or a duplicate)."""

    value: bytes | None
    code: str | None = None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes]] = ()
    timestamp: int | None = None


def thing(id: int, body: str = "") -> bytes:
    """A record; as a row it has its body twice."""
    return json.dumps({"id": id, "body": body}).encode()


HEADERS = [("h", b"v")] * 10_000
FIRST = [
    Sent(thing(1), timestamp=0),
    Sent(thing(1)),  # the same record once more
    Sent(thing(1, "an update")),
    Sent(thing(3), timestamp=-1),
    Sent(thing(3, "an update"), headers=[("h", b"")]),
    Sent(thing(2, "x" * 11_000_000), "record_too_large", b"2"),
    Sent(b"bad", "malformed_json", b"\x01" * 1_900_000),
    Sent(thing(5), headers=HEADERS),
    Sent(b"bad", "malformed_json", headers=HEADERS),
    Sent(thing(7), timestamp=-(2**62), key=b"\xff", headers=[("", b"")]),
    Sent(thing(8, "x" * 6_000_000), "record_too_large"),
    Sent(thing(9), timestamp=2**62),
    Sent(b"x" * 9_600_000, "malformed_json", b"\x01" * 300_000),
    Sent(thing(11)),
    Sent(b"{}", "record_too_large", b"\x01" * 10_000_001, [("h", b"v")]),
    Sent(thing(13)),
    Sent(None, "malformed_json", b"\x01" * 2_000_000, [("h", b"\xff" * 1_000)] * 1_000),
    Sent(thing(15)),
    Sent(thing(16, UNNAMED), "warehouse_rejected"),
    Sent(thing(17)),
    Sent(b"{" + UNWANTED.encode(), "malformed_json"),
    Sent(thing(19)),
    Sent(thing(22, "x" * 5_200_000)),  # a row of 10.4 million bytes, which is less than 10 MiB
]
SECOND = [Sent(thing(1, "an update")), Sent(thing(20)), Sent(thing(20, "an update")), Sent(thing(21))]


def refuse(request: Request) -> Fail | None:
    """BigQuery refuses any request with a certain row, and does not say which; and a dead letter with its record."""
    rows = rows_of(request)
    if "body" in rows.schema.names and UNNAMED in rows.column("body").to_pylist():
        return Fail(False, grpc.StatusCode.INVALID_ARGUMENT, message="a row is odd")
    if "raw" in rows.schema.names and any(UNWANTED.encode() in (raw or b"") for raw in rows.column("raw").to_pylist()):
        return Fail(False, grpc.StatusCode.INVALID_ARGUMENT, message="a dead letter is odd")
    return None


def send(site: StreamSite, records: Sequence[Sent]) -> None:
    producer = KafkaProducer(bootstrap_servers=site.servers, max_request_size=20 << 20)
    for one in records:
        headers: Any = list(one.headers)
        producer.send(NAME, one.value, key=one.key, headers=headers, timestamp_ms=one.timestamp).get(30)
    producer.close()


def test_every_record_of_a_poisoned_topic_leaves_by_one_door(kafka_cloud: tuple[Path, Endpoints]) -> None:
    found = kafka_cloud[1].environment()
    folder = kafka_cloud[0] / "poison"
    folder.mkdir()
    (folder / "things.odcs.yaml").write_text(CONTRACT)
    with engines("PrismRunner") as options, AppendProxy(found["BIGQUERY_STORAGE_EMULATOR_HOST"]) as storage:
        storage.on_append = refuse
        proxied = {"BIGQUERY_STORAGE_EMULATOR_HOST": storage.address}
        stream = PoisonSite(*kafka_cloud, "poison", environment=proxied, engines=options, topic=NAME)
        stream.feed(partitions=1, settings=TOPIC)
        send(stream, FIRST)
        summary = stream.start("--stop_when_idle=1").finish()
        table = summary["tables"]["things"]
        codes = Counter(one.code for one in FIRST if one.code)
        assert table["dead_letter_by_code"] == dict(codes)
        counts = ("read", "written", "duplicate", "duplicate_differs", "duplicate_unknown", "dead_letter")
        assert [table[name] for name in counts] == [23, 11, 3, 2, 0, 9]
        assert summary["lag"] == {f"kafka://{NAME}/0": 0}
        assert summary["latency_ms"]["p99"] < 1e6
        rows = stream.rows("SELECT id, body FROM {data}.things ORDER BY id")
        assert [row["id"] for row in rows] == [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 22]
        assert [len(row["body"]) for row in rows] == [0] * 10 + [5_200_000]
        check_dead_letters(stream)
        send(stream, SECOND)
        start = stream.start("--stop_when_idle=1")
        table = start.finish()["tables"]["things"]
        assert "things: 3 duplicates differ from the row that was written" in start.said
        # What the row with key 1 says was written by the start before: it is not known any more.
        assert [table[name] for name in counts] == [27, 13, 5, 3, 1, 9]
    check_replay(stream)


def check_replay(stream: PoisonSite) -> None:
    """A replay writes a record that is too large for a stream, and of which the topic alone has the end."""
    Storage("local-project").client.create_bucket("poison")
    folders = ("--processed=gs://poison/p", "--dead_letters=gs://poison/d")
    replay = ("replay", "--local", *folders, f"--local_dir={stream.directory}", *stream.names()[2:])
    done = launching.run([*replay, "--where=position = 5", "--max_record_bytes=15000000"])
    assert done.returncode == 0, done.stdout + done.stderr
    rows = stream.rows("SELECT id, body, _position AS at FROM {data}.things WHERE LENGTH(body) > 5500000 ORDER BY id")
    assert [(row["id"], len(row["body"]), row["at"]) for row in rows] == [(2, 11_000_000, 5)]
    states = stream.rows("SELECT position, state FROM {operations}.dead_letters_current WHERE state != 'open'")
    assert sorted((row["position"], row["state"]) for row in states) == [(5, "written")]


def check_dead_letters(stream: StreamSite) -> None:
    """Each refused record is there once, with what fits of it."""
    letters = {row["position"]: row for row in stream.rows("SELECT * FROM {operations}.dead_letters")}
    assert {at: row["error_code"] for at, row in letters.items()} == {
        at: one.code for at, one in enumerate(FIRST) if one.code
    }
    attributes = {
        at: json.loads(row["attributes"]) if isinstance(row["attributes"], str) else row["attributes"]
        for at, row in letters.items()
    }
    for at, row in letters.items():
        value = FIRST[at].value or b""
        if at == 20:
            assert (row["raw"], row["truncated"], attributes[at]) == (b"", True, {"size": len(value)})
            assert "(without its record: a dead letter is odd)" in row["error_message"]
            continue
        assert row["raw"] == value[:MAX_STORED_BYTES]
        assert row["truncated"] == (len(value) > MAX_STORED_BYTES)
        size = len(value) + len(FIRST[at].key or b"") + len("hv") if at == 14 else len(value)  # of all that it has
        assert attributes[at].get("size", len(value)) == size
    assert attributes[6]["key_truncated"] is True
    assert attributes[6]["key"] == "\x01" * 950_000
    assert attributes[8]["headers"] == [["h", "v"]] * 10_000
    assert attributes[12]["key_truncated"] is True
    assert attributes[14]["key_truncated"] is True
    assert attributes[16]["tombstone"] is True
    assert attributes[16]["headers_truncated"] is True
    assert letters[18]["error_message"] == "a row is odd"
    assert "bytes in Arrow, more than the 10485760" in letters[10]["error_message"]
