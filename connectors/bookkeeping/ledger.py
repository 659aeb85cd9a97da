"""The ledger in BigQuery: lines are only appended, and of two lines about the same thing the newer counts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.current_lines import SINCE, current_query
from connectors.bookkeeping.line_sums import sums_of
from connectors.bookkeeping.roll_up import roll_up
from connectors.bookkeeping.specs import spec_of
from contracts.bookkeeping import LEDGER
from transforms.ledger import State
from transforms.run import PIPELINE_VERSION, Run
from transforms.tally import FileTally, Tally

__all__ = ["CURRENT", "LedgerTable", "newest_lines", "view_query"]

CURRENT = "ledger_current"
INPUT, STAGED, LOADED, RUN = "input", "staged", "loaded", "run"
"""Kinds of lines: a pinned file; a source before the load; a source after it; the end of the run."""
PASSED_OVER, MISSING_COLUMNS = "passed_over", "missing_columns"
"""Kinds of lines about the input: files that are not read; columns of a contract that no file has."""
OFFSETS, LOST = "offsets", "lost"
"""Kinds of lines of a stream: the outcome of a range of offsets; a range that the broker removed unread."""
QUALITY = "quality"
"""Kind of lines about what was loaded: what became of a rule of the contract."""
FOLDED = "folded"
"""Kind of lines about a table that a stream of updates feeds: how many rows one statement has changed."""
KINDS = (INPUT, PASSED_OVER, MISSING_COLUMNS, STAGED, LOADED, QUALITY, RUN, OFFSETS, LOST, FOLDED)
RECENT = timedelta(days=1)
EVER = datetime(1970, 1, 1, tzinfo=UTC)


def newest_lines(rows: Iterable[dict[str, Any]]) -> dict[tuple[str | None, ...], dict[str, Any]]:
    """Return the last line about each thing, in the order of the first ones, JSON columns parsed.

    `rows` are the lines of one run, oldest first. A line of a version before names no dataset: it belongs to the first
    that a line about the same source names.
    """
    rows = list(rows)
    datasets: dict[tuple[str | None, ...], str] = {}
    for row in rows:
        if row["dataset"]:
            datasets.setdefault(_thing(row), row["dataset"])
    newest = {}
    for row in rows:
        for name in ("dead_letter_by_code", "detail"):
            if isinstance(row[name], str):
                row[name] = json.loads(row[name])
        newest[*_thing(row), row["dataset"] or datasets.get(_thing(row))] = row
    return newest


def _thing(row: Mapping[str, Any]) -> tuple[str | None, ...]:
    return row["kind"], row["table"], row["source"]


def view_query(project: str, dataset: str) -> str:
    """Return the query of the view `ledger_current`."""
    return current_query(project, dataset)


class LedgerTable:
    """Writes and reads the ledger of one operations dataset."""

    def __init__(self, warehouse: Warehouse, dataset: str) -> None:
        self._warehouse = warehouse
        self._spec = spec_of(LEDGER, dataset)
        self._dataset = dataset
        self._table = f"`{warehouse.project}.{dataset}.{self._spec.name}`"
        self._current = f"`{warehouse.project}.{dataset}.{CURRENT}`"

    def record(self, run: Run, kind: str, lines: Iterable[Mapping[str, Any]]) -> None:
        """Append lines of one kind; `lines` hold the columns that a run does not determine."""
        now = datetime.now(UTC)
        common = {
            "run_id": run.run_id,
            "pipeline": run.pipeline,
            "kind": kind,
            "pipeline_version": PIPELINE_VERSION,
            "started_at": run.started_at,
            "recorded_at": now,
        }
        rows = [{**common, **line} for line in lines]
        if rows:
            self._warehouse.append(rows, self._spec)

    def record_counts(
        self,
        run: Run,
        kind: str,
        qualified: str,
        counts: Mapping[str, FileTally],
        written: Mapping[str, int] | None = None,
    ) -> None:
        """Append a line for each source of a table, DATASET.TABLE.

        `written` is the number of rows of each source in the table; staged rows that are not among them are duplicates.
        None before the load.
        """
        lines = []
        dataset, _, table = qualified.rpartition(".")
        for source, line in counts.items():
            stored = line.written if written is None else written.get(source, 0)
            lines.append(
                {
                    "table": table,
                    "dataset": dataset,
                    "source": source,
                    "generation": line.generation,
                    "size": line.size,
                    "read": line.read,
                    "staged": line.written,
                    "written": None if written is None else stored,
                    "duplicate": line.duplicate + line.written - stored,
                    "dead_letter": line.dead_letter,
                    "dead_letter_by_code": line.dead_letter_by_code,
                }
            )
        self.record(run, kind, lines)

    def record_end(self, run: Run, state: State, detail: Mapping[str, Any]) -> None:
        """Append the line about the end of the run."""
        self.record(run, RUN, [{"state": state.value, "detail": dict(detail)}])

    def lines(self, run_id: str, *kinds: str) -> list[dict[str, Any]]:
        """Return the newest line about each thing of a batch's run, of these kinds, JSON columns parsed.

        The answer is that of the view `ledger_current`, which reads the whole ledger; this reads the lines of the run.
        """
        rows = self._warehouse.query(
            f"SELECT * FROM {self._table} WHERE run_id = @run AND kind IN UNNEST(@kinds)"
            " ORDER BY `table`, source, recorded_at",
            run=run_id,
            kinds=list(kinds),
        )
        return list(newest_lines(rows).values())

    def began(self, run: Run) -> datetime:
        """Return from when on a run may have lines: another start may have had its id before."""
        (row,) = self._warehouse.query(
            f"SELECT MIN(recorded_at) AS first FROM {self._table} WHERE run_id = @run", run=run.run_id
        )
        return min(row["first"] or run.started_at, run.started_at)

    def sums(self, run: Run, datasets: Mapping[str, str], since: datetime) -> list[dict[str, Any]]:
        """Return one line for each source of a stream's run: the sums of its lines about tables of these datasets.

        `since` is when the run `began`. Lines about other tables come from another start under the same run id.
        """
        lines = current_query(self._warehouse.project, self._dataset, SINCE)
        lines = f"SELECT * FROM ({lines}) WHERE run_id = {json.dumps(run.run_id)} AND kind = '{OFFSETS}'"
        rows = sums_of(self._warehouse, lines, ("dataset", "table", "source"), {"since": since})
        return [row for row in rows if row["dataset"] in (None, datasets.get(row["table"]))]

    def lost(self, run: Run, since: datetime) -> list[dict[str, Any]]:
        """Return the ranges of offsets that the broker removed before a stream's run could read them, in order."""
        return self._warehouse.query(
            f"SELECT DISTINCT source, first_offset, last_offset FROM {self._table} WHERE run_id = @run AND kind = @kind"
            " AND recorded_at >= @since ORDER BY source, first_offset",
            run=run.run_id,
            kind=LOST,
            since=since,
        )

    def total(self, run: Run, datasets: Mapping[str, str], since: datetime) -> Tally:
        """Return the sum of the lines of a stream's run, see `sums`."""
        total = Tally()
        for line in self.sums(run, datasets, since):
            codes = line["dead_letter_by_code"]
            unknown = line["dead_letter"] - sum(codes.values())
            codes = {**codes, **({"": unknown} if unknown else {})}
            total.add(Tally(line["read"], line["written"], line["duplicate"], codes))
        return total

    def roll_up(self, now: datetime) -> int:
        """Replace lines that are older than a day by one for each partition and day, see roll_up.py."""
        return roll_up(self._warehouse, self._dataset, now)

    def newest_offsets(self, sources: Iterable[str], run_id: str | None = None) -> dict[str, Any] | None:
        """Return the newest line about one of the sources, of this run or else of any stream; None if there is none."""
        of_run = " AND run_id = @run_id" if run_id else ""
        for since in (datetime.now(UTC) - RECENT, EVER):  # of two partitions at most, if there is one
            rows = self._warehouse.query(
                "SELECT run_id, `table`, source, first_offset, last_offset, `read`, written, duplicate, dead_letter,"
                f" pipeline_version, recorded_at FROM {self._table} WHERE kind = @kind AND source IN UNNEST(@sources)"
                f"{of_run} AND recorded_at >= @since ORDER BY recorded_at DESC LIMIT 1",
                kind=OFFSETS,
                sources=list(sources),
                since=since,
                **({"run_id": run_id} if run_id else {}),
            )
            if rows:
                return rows[0]
        return None

    def newest_fold(self, tables: Mapping[str, str]) -> dict[str, Any] | None:
        """Return the newest line about a fold of one of the tables, each with its dataset; None if there is none."""
        rows = self._warehouse.query(
            f"SELECT run_id, `table`, written, recorded_at FROM {self._table} WHERE kind = @kind"
            " AND CONCAT(`dataset`, '.', `table`) IN UNNEST(@names) ORDER BY recorded_at DESC LIMIT 1",
            kind=FOLDED,
            names=[f"{dataset}.{name}" for name, dataset in tables.items()],
        )
        return rows[0] if rows else None

    def first_recorded(self, offsets: Mapping[str, int]) -> dict[str, datetime]:
        """Return when the records at or just below an offset of each source were first recorded, for known sources."""
        conditions = " OR ".join(
            f"(source = {json.dumps(source)} AND first_offset <= {offset} AND last_offset >= {offset - 1})"
            for source, offset in offsets.items()
        )
        rows = self._warehouse.query(
            f"SELECT source, MIN(IFNULL(first_recorded_at, recorded_at)) AS recorded_at FROM {self._table}"
            f" WHERE kind = @kind AND ({conditions}) GROUP BY source",
            kind=OFFSETS,
        )
        return {row["source"]: row["recorded_at"] for row in rows}

    def written_since(self, since: datetime) -> int:
        """Return how many rows streams have written since a time, by all lines of the ledger."""
        (row,) = self._warehouse.query(
            f"SELECT SUM(written) AS written FROM {self._table} WHERE kind = @kind AND recorded_at >= @since",
            kind=OFFSETS,
            since=since,
        )
        return row["written"] or 0

    def loaded_files(self) -> set[tuple[str | None, str, str, int]]:
        """Return (dataset, table, URI, generation) of every file that a run has loaded completely.

        The dataset is None in lines of versions before.
        """
        rows = self._warehouse.query(
            f"SELECT DISTINCT `dataset`, `table` AS name, source, generation FROM {self._table} WHERE kind = @kind",
            kind=LOADED,
        )
        return {(row["dataset"], row["name"], row["source"], row["generation"]) for row in rows}

    def newer_run(self, qualified: str, run: Run) -> str | None:
        """Return the id of another run that has written a table, DATASET.TABLE, since `run` began, None if none has."""
        dataset, _, table = qualified.rpartition(".")
        rows = self._warehouse.query(
            f"SELECT run_id FROM {self._table} WHERE kind = @kind AND `table` = @name AND run_id != @run"
            " AND recorded_at > @start AND IFNULL(`dataset`, @dataset) = @dataset LIMIT 1",
            kind=LOADED,
            name=table,
            dataset=dataset,
            run=run.run_id,
            start=run.started_at,
        )
        return str(rows[0]["run_id"]) if rows else None
