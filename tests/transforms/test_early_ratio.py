"""When a run is stopped for its dead letters before its end."""

from __future__ import annotations

import pickle
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from backports import zstd

from connectors.bigquery.warehouse import Warehouse
from connectors.files.names import belonging
from connectors.files.storage import Storage
from connectors.sinks.destination import Destination
from contracts.refusal import ErrorCode, Refusal
from contracts.table import Column, Kind, Table
from pipelines.batch.graph import Batch
from tests.runs import RUN
from transforms.early_ratio import EARLY_FROM, EarlyRatio
from transforms.ledger import Balance, Count, DeadLetterFile, Door, State, balance

BAD = Refusal(0, b"123456789", ErrorCode.MALFORMED_JSON, "bad")


def after(refused: int, clean: int, expected_bytes: int) -> bool:
    ratio = EarlyRatio(0.2, expected_bytes)
    ratio.add(refused + clean, [BAD] * refused)
    return ratio.exceeded


def test_it_takes_many_a_high_share_and_most_of_the_input() -> None:
    assert after(EARLY_FROM, 0, 40 * EARLY_FROM)
    assert not after(EARLY_FROM - 1, 0, 10)
    assert not after(EARLY_FROM, 4 * EARLY_FROM, 10)
    assert not after(EARLY_FROM, 0, 50 * EARLY_FROM)


def test_what_was_not_looked_at_is_no_difference_and_nothing_is_loaded() -> None:
    items = [
        Count("t", "a", Door.READ, 1000),
        Count("t", "a", Door.SKIPPED, 990),
        DeadLetterFile("d.parquet", (("t", "a", "malformed_json", 10),)),
    ]
    result = balance(items, 0.2)
    assert (result.state, result.broken) == (State.TOO_MANY_DEAD_LETTERS, ())
    assert result.explain() == "too many dead letters, nothing is loaded: t: 10 of the first 10"


def balanced(folder: Path, table: Table) -> Balance:
    """What the real graph, from the pinned files to the balance, finds in a folder."""
    files = belonging(Storage().scan(str(folder)), str(folder), ["t"]).files
    started = datetime(2024, 6, 15, tzinfo=UTC)
    run = replace(
        RUN,
        run_id="r",
        token="t",
        started_at=started,
        project="p",
        operations_dataset="o",
        processed=f"{folder}/p",
        dead_letters=f"{folder}/d",
        max_dead_letter_ratio=0.2,
    )
    kept = folder / "balance"
    batch = Batch.between(tuple(files), Storage(), Destination(run, {"t": table}, {"t": "d"}, Warehouse("p", "US")))
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        replace(batch, load=beam.Map(lambda balance: kept.write_bytes(pickle.dumps(balance)))).build(pipeline)
    result: Balance = pickle.loads(kept.read_bytes())
    return result


@pytest.mark.slow
def test_a_hopeless_run_ends_early_and_balances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file that holds 600,000 bad records."""
    monkeypatch.setattr("transforms.early_ratio.EARLY_FROM", 1000)
    (tmp_path / "t.ndjson.zst").write_bytes(zstd.compress((b"0" * 19 + b"\n") * 600_000))
    result = balanced(tmp_path, Table("t", (Column("id", Kind.STRING, required=True),), ("id",)))
    assert (result.state, result.broken) == (State.TOO_MANY_DEAD_LETTERS, ())
    (line,) = result.counts["t"].values()
    assert 1000 <= line.read == line.dead_letter < 200_000


def test_an_honest_parquet_file_whose_first_rows_are_refused_is_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row of it is hundreds of times as long in JSON, and what is refused of all is less than the ratio."""
    monkeypatch.setattr("transforms.early_ratio.EARLY_FROM", 1000)
    texts = pa.array(["the same text in every row"] * 20_000).dictionary_encode()
    ids = pa.array([None if number < 3000 else str(number) for number in range(20_000)])
    pq.write_table(pa.table({"id": ids, **{f"column_{n}": texts for n in range(20)}}), tmp_path / "t.parquet")
    columns = tuple(Column(f"column_{n}", Kind.STRING) for n in range(20))
    result = balanced(tmp_path, Table("t", (Column("id", Kind.STRING, required=True), *columns), ("id",)))
    (line,) = result.counts["t"].values()
    assert (result.state, line.read, line.dead_letter) == (None, 20_000, 3000)
