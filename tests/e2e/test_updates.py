"""A stream of updates: the newest record of each key is the row, whatever is killed or read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic

from connectors.kafka.config import KafkaConfig
from connectors.kafka.group_offsets import GroupOffsets
from local.services import Endpoints
from tests import launching
from tests.e2e.reconciled import reconciled
from tests.e2e.streams import StreamSite
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: stock
version: 1.0.0
schema:
  - name: user_events_streaming
    customProperties:
      - {property: writeDisposition, value: merge}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: qty, logicalType: integer, required: true}
      - {name: tags, logicalType: array, items: {logicalType: string}}
"""


def row(key: int, qty: int) -> bytes:
    """A record with this key."""
    return json.dumps({"id": key, "qty": qty, "tags": ["a"]}).encode()


def send(site: StreamSite, *records: tuple[int, bytes | None, bytes | None]) -> None:
    """Send records, each a partition, a key and a value, in order."""
    with KafkaProducer(bootstrap_servers=site.servers) as producer:
        for partition, key, value in records:
            producer.send(site.topic, value, key=key, partition=partition).get(30)


def stock(site: StreamSite) -> dict[int, int]:
    """The rows of the table."""
    found = [(each["id"], each["qty"]) for each in site.rows("SELECT id, qty FROM {data}.user_events_streaming")]
    assert len(dict(found)) == len(found)
    return dict(found)


def ledger(site: StreamSite) -> dict[str, Any]:
    """The sums of the lines about offsets."""
    sql = (
        "SELECT SUM(`read`) AS records, SUM(written) AS written, SUM(duplicate) AS duplicate,"
        " SUM(dead_letter) AS refused"
        " FROM {operations}.ledger_current WHERE kind = 'offsets'"
    )
    return site.rows(sql)[0]


def test_updates_deletes_kills_and_a_group_that_is_set_back(
    kafka_cloud: tuple[Path, Endpoints], tmp_path: Path
) -> None:
    """Killed with changes appended and none folded; then all is read again, with more behind it."""
    (tmp_path / "stock.odcs.yaml").write_text(CONTRACT)
    site = StreamSite(*kafka_cloud, "updates", arguments=(f"--contracts={tmp_path}", "--fold_every=1h"))
    with KafkaAdminClient(bootstrap_servers=site.servers) as admin:
        admin.create_topics([NewTopic(site.topic, 2, 1)])
    send(site, *[(0, b"%d" % (n % 5), row(n % 5, n)) for n in range(40)], (0, b"3", None), (0, b"9", None))
    send(site, (1, b"{", b"{"), (1, b"x", None), (1, b"100", row(100, 1)), (1, b"4", row(4, 1000)))
    killed = site.start()
    wait_until(lambda: ledger_has(site, 46), 120, killed.process)
    killed.kill()
    assert stock(site) == {}

    offsets = GroupOffsets(KafkaConfig(site.servers), site.name)
    offsets.commit(dict.fromkeys(offsets.sources([site.topic]), 0))
    offsets.close()
    send(site, (0, b"3", row(3, 2000)), (1, b"100", None), (0, b"0", row(0, 0)))
    summary = site.start("--stop_when_idle=1", "--fold_every=1s").finish()
    assert summary["state"] == "done", summary
    assert stock(site) == {0: 0, 1: 36, 2: 37, 3: 2000, 4: 1000}
    assert ledger(site) == {"records": 49, "written": 47, "duplicate": 0, "refused": 2}
    changes = site.rows("SELECT COUNT(*) AS n FROM {data}.user_events_streaming_changes")
    assert changes[0]["n"] == 47
    reconciled(site.directory, site.name, f"--contracts={tmp_path}")
    site.rows("DELETE FROM {data}.user_events_streaming WHERE id = 1")
    names = (f"--dataset={site.name}", f"--operations_dataset={site.name}_operations", f"--contracts={tmp_path}")
    found = launching.run(["reconcile", "--local", f"--local_dir={site.directory}", *names])
    assert (found.returncode, "updates_not_merged" in found.stdout) == (3, True), found.stdout + found.stderr


def ledger_has(site: StreamSite, records: int) -> bool:
    """Whether the ledger accounts for this many records."""
    if site.warehouse.existing(f"{site.name}_operations", "ledger_current") is None:
        return False
    return bool(ledger(site)["records"] == records)
