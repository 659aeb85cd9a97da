"""The stream's graph with a table that takes updates: every record is appended as a change, once."""

from __future__ import annotations

from dataclasses import replace

from contracts.odcs.tables import shipped
from contracts.table import WriteDisposition
from tests.graphs.streams import TABLE, Site, event, record

A = "kafka://user-events/0"
UPDATED = replace(shipped()[TABLE], disposition=WriteDisposition.MERGE)


def test_updates_and_tombstones_are_changes() -> None:
    """A tombstone has the columns of its key; one whose key is no primary key is a dead letter."""
    log = [
        record(0, event(1)),
        record(1, event(1, page_url="https://shop.example/q")),
        record(2, None, key=b"e1"),
        record(3, None, key=b'{"event_id": "e2"}'),
        record(4, None, key=None),
        record(5, b"{"),
    ]
    site = Site(log, UPDATED)
    site.run()
    rows = sorted(site.rows, key=lambda row: row["_position"])
    assert [(row["_position"], row["event_id"], row["_deleted"]) for row in rows] == [
        (0, "e1", False),
        (1, "e1", False),
        (2, "e1", True),
        (3, "e2", True),
    ]
    assert {row["_topic_id"] for row in rows} == {"topic-id"}
    assert [row["_timestamp"] for row in rows] == [log[at].timestamp for at in range(4)]
    assert len({row["_hash"] for row in rows[:3]}) == 1
    assert rows[2]["event_type"] is None
    letters = {row["position"]: (row["error_code"], row["error_message"]) for row in site.dead_letters}
    assert letters[4] == ("malformed_json", "a tombstone's key: the record is not a JSON object")
    assert set(letters) == {4, 5}
    tally = site.tally()
    assert (tally.read, tally.written, tally.duplicate, tally.dead_letter) == (6, 4, 0, 2)
    assert site.offsets == {A: 6}


def test_changes_that_are_read_again_are_appended_once() -> None:
    site = Site([record(n, event(n % 3)) for n in range(9)] + [record(9, None, key=b"e1")], UPDATED)
    site.run()
    rows = list(site.rows)
    site.offsets.clear()
    site.lines.clear()
    site.run()
    assert site.rows == rows
    tally = site.tally()
    assert (len(rows), tally.read, tally.written, tally.duplicate) == (10, 10, 10, 0)


def test_a_tombstone_that_the_warehouse_refuses_is_a_dead_letter_with_its_key() -> None:
    site = Site([record(0, None, key=b"e1")], UPDATED, refuse=lambda row: row["_deleted"])
    site.run()
    (letter,) = site.dead_letters
    assert (letter["error_code"], letter["raw"]) == ("warehouse_rejected", b"")
    assert '"tombstone": true' in letter["attributes"]
    assert '"key": "e1"' in letter["attributes"]
