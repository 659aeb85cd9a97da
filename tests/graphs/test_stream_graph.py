"""The stream's graph from records to committed offsets, with its ends in memory."""

from __future__ import annotations

from operator import itemgetter
from random import Random

import apache_beam as beam
import pytest
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2

from tests.graphs.eager import local_pipeline
from tests.graphs.streams import Site, event, record

A, B = "kafka://user-events/0", "kafka://user-events/1"


def test_a_key_is_written_once_across_blocks_and_partitions() -> None:
    site = Site([record(n, event(n % 7)) for n in range(20)] + [record(n, event(n), partition=1) for n in range(5)])
    site.run()
    assert sorted(row["event_id"] for row in site.rows) == [f"e{n}" for n in range(7)]
    tally = site.tally()
    assert (tally.read, tally.written, tally.duplicate, tally.dead_letter) == (25, 7, 18, 0)
    assert site.offsets == {A: 20, B: 5}


def test_the_first_of_a_block_is_written() -> None:
    site = Site([record(n, event(1, page_url=f"https://shop.example/{n}")) for n in range(5)])
    site.run(reversed(site.log))
    assert [(row["_position"], row["page_url"]) for row in site.rows] == [(0, "https://shop.example/0")]
    assert site.tally().duplicate_differs == 4


def test_a_bundle_of_many_records_makes_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.sources.kafka.BLOCK_RECORDS", 20)
    site = Site([record(n, event(n % 30)) for n in range(110)])
    site.run()
    assert len(site.rows) == 30
    assert site.offsets == {A: 110}


def test_refused_records_become_dead_letters() -> None:
    bad = {1: (b"{", "malformed_json"), 3: (None, "malformed_json"), 4: (event(4, event_id=None), "missing_required")}
    site = Site([record(n, bad[n][0] if n in bad else event(n)) for n in range(6)])
    site.run()
    codes = {row["position"]: row["error_code"] for row in site.dead_letters}
    assert codes == {offset: code for offset, (_, code) in bad.items()}
    assert sorted(row["_position"] for row in site.rows) == [0, 2, 5]
    tally = site.tally()
    assert (tally.read, tally.written) == (6, 3)
    assert tally.dead_letter_by_code == {"malformed_json": 2, "missing_required": 1}
    assert site.offsets == {A: 6}


def test_a_row_that_the_warehouse_refuses_becomes_a_dead_letter() -> None:
    site = Site([record(n, event(n)) for n in range(8)], refuse=lambda row: row["event_id"] in ("e2", "e5"))
    site.run()
    assert sorted(row["event_id"] for row in site.rows) == ["e0", "e1", "e3", "e4", "e6", "e7"]
    assert {(row["position"], row["error_code"]) for row in site.dead_letters} == {
        (2, "warehouse_rejected"),
        (5, "warehouse_rejected"),
    }
    assert {row["raw"] for row in site.dead_letters} == {event(2), event(5)}
    assert site.tally().dead_letter_by_code == {"warehouse_rejected": 2}


def test_a_dead_letter_that_the_warehouse_refuses_is_written_without_its_record() -> None:
    site = Site([record(0, event(0)), record(1, b"{")], refuse_dead_letter=lambda row: row["raw"] != b"")
    site.run()
    (dead_letter,) = site.dead_letters
    assert (dead_letter["raw"], dead_letter["truncated"]) == (b"", True)
    assert "without its record: the warehouse does not take it" in dead_letter["error_message"]
    assert site.offsets == {A: 2}


def test_a_dead_letter_that_is_refused_without_its_record_ends_the_job_and_nothing_is_committed() -> None:
    site = Site([record(0, event(0)), record(1, b"{")], refuse_dead_letter=lambda row: True)
    with pytest.raises(Exception, match="BigQuery refuses a dead letter, even without its record"):
        site.run()
    assert site.offsets == {}


def test_duplicates_are_kept_and_have_their_own_door() -> None:
    site = Site([record(0, event(1)), record(1, event(1)), record(2, b"{")])
    site.run(keep_duplicates=True)
    assert {(row["position"], row["error_code"]) for row in site.dead_letters} == {
        (1, "duplicate"),
        (2, "malformed_json"),
    }
    tally = site.tally()
    assert (tally.read, tally.written, tally.duplicate, tally.dead_letter) == (3, 1, 1, 1)


def test_records_that_are_read_again_are_written_once_and_counted_as_written() -> None:
    site = Site([record(n, b"{" if n == 2 else event(n)) for n in range(5)])
    site.run()
    rows, dead_letters = list(site.rows), list(site.dead_letters)
    site.offsets.clear()  # as if the process had died between the append and the commit
    site.lines.clear()
    site.run()
    assert (site.rows, site.dead_letters) == (rows, dead_letters)
    tally = site.tally()
    assert (tally.read, tally.written, tally.duplicate, tally.dead_letter) == (5, 4, 0, 1)
    assert site.offsets == {A: 5}


def test_a_gap_is_closed_by_the_broker() -> None:
    site = Site([record(n, event(n)) for n in (3, 4, 9, 10, 20)])
    site.offsets[A] = 3
    site.run()
    assert site.offsets == {A: 21}
    assert site.tally().read == 5


def test_records_in_flight_hold_the_offset_back() -> None:
    site = Site([record(n, event(n)) for n in range(6)])
    site.run(site.log[:3])
    assert site.offsets == {A: 3}
    site.run(site.log[3:])
    assert site.offsets == {A: 6}


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("held_rows", [1, 50_000])
def test_the_result_does_not_depend_on_bundles(workers: int, held_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """More workers make blocks whose offsets interleave; with fewer rows held, each part is appended on its own."""
    monkeypatch.setattr("connectors.sinks.append.MAX_HELD_ROWS", held_rows)
    chance = Random(7)
    log = [
        record(n, b"{" if chance.random() < 0.1 else event(chance.randrange(50)), partition)
        for partition in range(2)
        for n in range(200)
    ]
    site = Site(log)
    site.run(chance.sample(log, len(log)), workers=workers)
    keys = {one.value for one in log if one.value != b"{"}
    bad = sum(one.value == b"{" for one in log)
    assert len(site.rows) == len({row["event_id"] for row in site.rows}) == len(keys)
    assert len(site.dead_letters) == bad
    tally = site.tally()
    assert (tally.read, tally.written, tally.dead_letter) == (400, len(keys), bad)
    assert tally.difference == 0
    assert set(site.offsets.values()) == {200}
    # Three buckets and the dead letters: all parts together, or each part on its own.
    assert site.appends == 4 if held_rows > 1 else site.appends > 2 * 3


def test_a_day_that_the_storage_write_api_does_not_take_is_a_dead_letter() -> None:
    """It is refused before the request, next to rows of the same bundle that are written."""
    old = event(1, event_timestamp="2009-03-01T12:00:00Z")
    site = Site([record(0, event(0)), record(1, old), record(2, event(2)), record(3, old)])
    site.run()
    assert sorted(row["event_id"] for row in site.rows) == ["e0", "e2"]
    letters = sorted(site.dead_letters, key=itemgetter("position"))
    assert [(row["position"], row["error_code"], row["stage"], row["field"]) for row in letters] == [
        (1, "warehouse_rejected", "write", "event_timestamp"),
        (3, "warehouse_rejected", "write", "event_timestamp"),
    ]
    assert all(row["raw"] == old and row["recoverable"] for row in letters)
    assert "a stream writes no day before" in letters[0]["error_message"]
    tally = site.tally()
    assert (tally.read, tally.written, tally.duplicate, tally.dead_letter) == (4, 2, 0, 2)
    assert site.offsets == {A: 4}


def test_a_test_fails_if_an_end_is_not_reached() -> None:
    with pytest.raises(AssertionError, match="nothing was appended"):
        Site([]).run()


def test_the_names_of_stateful_steps_are_an_interface() -> None:
    """Dataflow replaces a running job by the names of its steps. A job with other names has to be drained first."""
    pipeline = local_pipeline()
    Site().stream(beam.Create([record(0, event(0))])).build(pipeline)
    stateful = set()
    for transform in pipeline.to_runner_api().components.transforms.values():
        if transform.spec.urn == common_urns.primitives.PAR_DO.urn:
            payload = beam_runner_api_pb2.ParDoPayload.FromString(transform.spec.payload)
            if payload.state_specs:
                stateful.add(transform.unique_name)
    assert stateful == {"Append rows/Append/ParDo(_AppendRows)", "Append dead letters/Append", "Commit offsets/Commit"}
