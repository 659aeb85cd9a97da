"""The view ledger_current against the real warehouse: of what was counted twice, the later count."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from google.cloud.bigquery import Table

from connectors.bigquery.append_stream import AppendStream
from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.dataset import ensure_operations
from connectors.bookkeeping.ledger import LOADED, LOST, OFFSETS, LedgerTable
from connectors.bookkeeping.specs import spec_of
from connectors.bookkeeping.stream_ledger import LINE, StreamLedger
from connectors.google.clients import write_client
from connectors.retry import RetryPolicy
from contracts.bookkeeping import LEDGER
from local.service import PROJECT
from local.services import Endpoints
from tests.runs import RUN
from transforms.offsets import Line
from transforms.origin import Origin
from transforms.run import Run
from transforms.tally import FileTally, Tally

pytestmark = pytest.mark.e2e
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
NEW_COLUMNS = ("dataset", "cluster", "topic_id", "first_recorded_at")
ABOUT = ("kind", "table", "source", "dataset", "cluster", "topic_id")


@dataclass
class Ledger:
    """A ledger of a test's own."""

    dataset: str
    warehouse: Warehouse

    def append(self, *lines: dict[str, Any]) -> None:
        """Append lines, each as it is."""
        path = f"projects/{PROJECT}/datasets/{self.dataset}/tables/ledger"
        stream = AppendStream.default(write_client(), path, LINE, RetryPolicy(10))
        assert not stream.append(pa.RecordBatch.from_pylist(list(lines), LINE))
        stream.close()

    def current(self) -> list[tuple[Any, ...]]:
        """What the view shows of a stream's lines, in order."""
        rows = self.warehouse.query(
            f"SELECT kind, `table`, source, first_offset, last_offset, `read` FROM `{self.dataset}`.ledger_current"
            " WHERE first_offset IS NOT NULL"
        )
        return sorted(tuple(row.values()) for row in rows)

    def run(self, run_id: str, pipeline: str = "stream") -> Run:
        """A run that writes into it."""
        return replace(
            RUN,
            run_id=run_id,
            pipeline=pipeline,
            started_at=BEGIN,
            project=PROJECT,
            operations_dataset=self.dataset,
            max_record_bytes=1000,
        )


@pytest.fixture
def ledger(local_cloud: tuple[Path, Endpoints], request: pytest.FixtureRequest) -> Ledger:
    warehouse = Warehouse(PROJECT, "US")
    dataset = request.node.name
    ensure_operations(warehouse, dataset)
    return Ledger(dataset, warehouse)


def line(run: str, first: int, last: int, at: float, **fields: Any) -> dict[str, Any]:
    """A line as a stream's ledger makes it, recorded `at` seconds after the beginning."""
    return {
        "run_id": run,
        "pipeline": "stream",
        "kind": OFFSETS,
        "table": "t",
        "source": "kafka://t/0",
        "first_offset": first,
        "last_offset": last,
        "read": 1,
        "written": 1,
        "duplicate": 0,
        "dead_letter": 0,
        "dead_letter_by_code": "{}",
        "detail": '{"latency": {}}',
        "pipeline_version": "0",
        "started_at": BEGIN,
        "recorded_at": BEGIN + timedelta(seconds=at),
        **fields,
    }


def expected(lines: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """By a model: each offset belongs to the newest line that covers it; a line that is cut has its share."""
    current: dict[tuple[Any, ...], dict[int, dict[str, Any]]] = {}
    for new in sorted(lines, key=lambda one: (one["recorded_at"], one["first_offset"])):
        covered = current.setdefault(tuple(new.get(name) for name in ABOUT), {})
        covered.update(dict.fromkeys(range(new["first_offset"], new["last_offset"] + 1), new))
    rows = []
    for about, covered in current.items():
        offsets = sorted(covered)
        begins = [at for at in offsets if covered.get(at - 1) is not covered[at]]
        ends = [at for at in offsets if covered.get(at + 1) is not covered[at]]
        for first, last in zip(begins, ends, strict=True):
            whole = covered[first]
            share = (last - first + 1) / (whole["last_offset"] - whole["first_offset"] + 1)
            rows.append((*about[:3], first, last, math.floor(whole["read"] * share)))
    return sorted(rows)


def test_a_later_start_counts_again_what_it_has_read_again(ledger: Ledger) -> None:
    lines = [
        line("a", 0, 9, 0),
        line("a", 10, 19, 1),
        line("a", 20, 29, 2),
        line("b", 10, 14, 10),
        line("b", 15, 40, 11, read=7),
        line("c", 10, 14, 0, source="kafka://t/1"),
        line("c", 0, 9, 1, source="kafka://t/10"),
        line("c", 0, 9, 30, table="other"),
        line("c", 0, 9, 31, kind=LOST),
    ]
    ledger.append(*lines)
    assert ledger.current() == expected(lines)
    about_zero = [row[3:5] for row in ledger.current() if row[:3] == (OFFSETS, "t", "kafka://t/0")]
    assert about_zero == [(0, 9), (10, 14), (15, 40)]


def test_a_line_that_is_in_twice_counts_once(ledger: Ledger) -> None:
    lines = [line(f"run{n % 2}", 10 * n, 10 * n + 9, n, read=n) for n in range(40)]
    for _ in range(3):
        ledger.append(*lines)
    assert ledger.current() == expected(lines)
    assert len(ledger.current()) == 40


def test_any_starts_over_any_partitions(ledger: Ledger) -> None:
    random, lines = Random(3), []
    at = 0.0
    for source in (f"kafka://t/{n}" for n in range(8)):
        begin = 0
        for start in range(6):
            offset = random.randint(0, begin)
            for _ in range(random.randint(1, 5)):
                at += 1
                last = offset + random.randint(0, 5)
                lines.append(line(f"{source}-{start}", offset, last, at, source=source, read=random.randint(0, 9)))
                offset = last + 1
            begin = offset
    ledger.append(*lines, *random.choices(lines, k=60))
    assert ledger.current() == expected(lines)


def test_a_batch_beside_a_stream(ledger: Ledger) -> None:
    table = LedgerTable(ledger.warehouse, ledger.dataset)
    batch = ledger.run("batch", "batch")
    for read in (5, 6):  # the second attempt of the same step
        counts = {
            uri: FileTally(read=read, written=read, generation=1, size=10) for uri in ("gs://lake/a", "gs://lake/b")
        }
        table.record_counts(batch, LOADED, "d.t", counts, {uri: read for uri in counts})
    stream = StreamLedger(
        ledger.run("stream"), {"topic": Origin("t", "d", "cluster", "id")}, RetryPolicy(10), lambda: datetime.now(UTC)
    )
    tally = Tally(read=3, written=1, duplicate=1, dead_letter_by_code={"wrong_type": 1}, latency={5: 1})
    stream.record("kafka://topic/0", [Line(0, 2, tally)])
    stream.record("kafka://topic/0", [Line(0, 4, Tally(read=5, written=5))])  # its engine has recovered
    stream.record("kafka://topic/0", [Line(5, 7, tally)])
    stream.record_lost("kafka://topic/0", 8, 11)
    loaded = table.lines("batch", LOADED)
    assert [(one["source"], one["read"], one["written"]) for one in loaded] == [
        ("gs://lake/a", 6, 6),
        ("gs://lake/b", 6, 6),
    ]
    assert [row[3:] for row in ledger.current()] == [(8, 11, None), (0, 4, 5), (5, 7, 3)]
    run = ledger.run("stream")
    since = table.began(run)
    (total,) = table.sums(run, {"t": "d"}, since)
    assert (total["read"], total["written"], total["duplicate"], total["dead_letter"]) == (8, 6, 1, 1)
    assert (total["dead_letter_by_code"], total["detail"]) == ({"wrong_type": 1}, {"latency": {"5": 1}})
    assert table.total(run, {"t": "d"}, since) == Tally(8, 6, 1, {"wrong_type": 1})
    assert table.sums(run, {"other": "d"}, since) == table.sums(run, {"t": "prod"}, since) == []
    assert [(one["first_offset"], one["last_offset"]) for one in table.lost(run, since)] == [(8, 11)]


def test_a_line_keeps_the_offsets_that_no_later_line_covers(ledger: Ledger) -> None:
    """A group that was set back into the middle of a line, and a drain before it was through."""
    codes = '{"wrong_type": 20}'
    counts = {"read": 200, "written": 150, "duplicate": 30, "dead_letter": 20, "dead_letter_by_code": codes}
    lines = [line("a", 0, 199, 0, **counts), line("b", 50, 60, 10, read=11, written=11)]
    ledger.append(*lines)
    assert ledger.current() == expected(lines)
    rows = ledger.warehouse.query(
        "SELECT first_offset, `read`, written, duplicate, dead_letter, shared, dead_letter_by_code AS codes"
        f" FROM `{ledger.dataset}`.ledger_current ORDER BY first_offset"
    )
    assert [tuple(row.values()) for row in rows] == [
        (0, 50, 38, 7, 5, True, None),
        (50, 11, 11, 0, 0, False, {}),
        (61, 139, 106, 20, 13, True, None),
    ]


def test_the_lines_of_a_batch_are_those_that_the_view_shows(ledger: Ledger) -> None:
    """Also where an earlier attempt was of a version that named no dataset."""
    random, kinds = Random(7), ("input", "staged", LOADED, "run")
    lines = []
    for number in range(80):
        kind = random.choice(kinds)
        about = {"table": None, "source": None} if kind == "run" else {"source": random.choice(("gs://a", "gs://b"))}
        new = line(random.choice("rs"), 0, 0, number, kind=kind, read=number, state="failed", dataset="d", **about)
        lines.append(new | dict.fromkeys(("first_offset", "last_offset")) | ({"dataset": None} if number < 20 else {}))
    ledger.append(*random.sample(lines, len(lines)))
    of_run = LedgerTable(ledger.warehouse, ledger.dataset).lines("r", *kinds)
    shown = ledger.warehouse.query(f"SELECT * FROM `{ledger.dataset}`.ledger_current WHERE run_id = 'r'")
    assert {(one["kind"], one["source"], one["read"]) for one in of_run} == {
        (one["kind"], one["source"], one["read"]) for one in shown
    }
    assert len(of_run) == len(shown) == 7
    assert all(one["dead_letter_by_code"] == {} for one in of_run)
    assert {one["kind"] for one in LedgerTable(ledger.warehouse, ledger.dataset).lines("r", "run")} == {"run"}


def test_equal_names_are_told_apart(ledger: Ledger) -> None:
    """Two datasets, two clusters and a recreated topic. A line of a version before belongs to whom it was first."""
    identity = {"dataset": "dev", "cluster": "one", "topic_id": "first"}
    lines = [
        line("old", 0, 9, 0, **identity),
        line("a", 5, 19, 1, **identity),
        line("b", 0, 9, 2, **identity | {"dataset": "prod"}),
        line("c", 0, 9, 3, **identity | {"cluster": "two"}),
        line("d", 0, 9, 4, **identity | {"topic_id": "second"}),
    ]
    ledger.append(lines[0] | dict.fromkeys(identity), *lines[1:])
    assert ledger.current() == expected(lines)


def test_the_ledger_of_a_version_before_goes_on(local_cloud: tuple[Path, Endpoints]) -> None:
    """Its lines stay, the columns are added, the view is renewed: by a start or by `setup`."""
    warehouse, dataset = Warehouse(PROJECT, "US"), "before"
    warehouse.ensure_dataset(dataset)
    spec = spec_of(LEDGER, dataset)
    fields = tuple(field for field in spec.schema if field.name not in NEW_COLUMNS)
    before = replace(spec, schema=fields)
    warehouse.ensure_table(before)
    old = line("old", 0, 9, 0)
    warehouse.append([{**old, "dead_letter_by_code": {}, "detail": {}}], before)
    view = Table(warehouse.reference(dataset, "ledger_current"))
    view.view_query = f"SELECT * FROM `{PROJECT}.{dataset}.ledger`"
    warehouse.client.create_table(view)
    for _ in range(2):
        ensure_operations(warehouse, dataset)
    ledger = Ledger(dataset, warehouse)
    new = line("new", 5, 14, 1, dataset="d", cluster="c", topic_id="i")
    ledger.append(new)
    assert ledger.current() == expected([old | {"dataset": "d", "cluster": "c", "topic_id": "i"}, new])


def test_the_newest_line_is_of_any_run_or_of_one(ledger: Ledger) -> None:
    now = (datetime.now(UTC) - BEGIN).total_seconds()
    ledger.append(line("a", 0, 4, now - 20), line("b", 0, 9, now - 10))
    table = LedgerTable(ledger.warehouse, ledger.dataset)
    for run, last in ((None, 9), ("a", 4), ("b", 9)):
        found = table.newest_offsets(["kafka://t/0", "kafka://t/1"], run)
        assert found is not None
        assert found["last_offset"] == last
    assert table.newest_offsets(["kafka://t/0"], "c") is None
