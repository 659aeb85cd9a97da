"""The ledger in BigQuery: lines are only appended, and of two lines about the same thing the newer counts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from google.cloud.bigquery import Table

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.specs import spec_of
from contracts.bookkeeping import LEDGER
from transforms.ledger import State
from transforms.run import PIPELINE_VERSION, Run
from transforms.tally import FileTally, Tally

__all__ = ["LedgerTable", "current_query"]

CURRENT = "ledger_current"
INPUT, STAGED, LOADED, RUN = "input", "staged", "loaded", "run"
"""Kinds of lines: a pinned file; a source before the load; a source after it; the end of the run."""
PASSED_OVER, MISSING_COLUMNS = "passed_over", "missing_columns"
"""Kinds of lines about the input: files that are not read; columns of a contract that no file has."""
OFFSETS, LOST = "offsets", "lost"
"""Kinds of lines of a stream: the outcome of a range of offsets; a range that the broker removed unread."""
KINDS = (INPUT, PASSED_OVER, MISSING_COLUMNS, STAGED, LOADED, RUN, OFFSETS, LOST)
CURRENT_QUERY = """WITH numbered AS (
  SELECT *,
    ROW_NUMBER() OVER (PARTITION BY run_id, kind, `table`, source, first_offset ORDER BY recorded_at DESC) AS newest
  FROM {ledger}
), redone AS (
  SELECT *,
    MIN(first_offset) OVER (PARTITION BY kind, `table`, source ORDER BY recorded_at DESC, first_offset DESC
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS redone_from
  FROM numbered
  WHERE newest = 1
)
SELECT * EXCEPT (newest, redone_from) FROM redone
WHERE last_offset IS NULL OR redone_from IS NULL OR redone_from > last_offset"""
"""Copies of a line are removed before ranges are compared: a copy would otherwise count as a later start."""


def current_query(project: str, dataset: str) -> str:
    """Return the query of the view `ledger_current`: the newest line about each thing.

    Of offsets that a later start of a stream has read again, the lines of that start count.
    """
    return CURRENT_QUERY.format(ledger=f"`{project}.{dataset}.ledger`")


class LedgerTable:
    """Writes and reads the ledger of one operations dataset."""

    def __init__(self, warehouse: Warehouse, dataset: str) -> None:
        self._warehouse = warehouse
        self._spec = spec_of(LEDGER, dataset)
        self._dataset = dataset
        self._current = f"`{warehouse.project}.{dataset}.{CURRENT}`"

    def ensure_view(self) -> None:
        """Create the view `ledger_current` if it does not exist. The table must exist."""
        if self._warehouse.existing(self._dataset, CURRENT) is None:
            view = Table(self._warehouse.reference(self._dataset, CURRENT))
            view.view_query = current_query(self._warehouse.project, self._dataset)
            self._warehouse.client.create_table(view, exists_ok=True)

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
        self, run: Run, kind: str, table: str, counts: Mapping[str, FileTally], written: Mapping[str, int] | None = None
    ) -> None:
        """Append a line for each source of `table`.

        `written` is the number of rows of each source in the table; staged rows that are not among them are duplicates.
        None before the load.
        """
        lines = []
        for source, line in counts.items():
            stored = line.written if written is None else written.get(source, 0)
            lines.append(
                {
                    "table": table,
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

    def lines(self, run_id: str, kind: str) -> list[dict[str, Any]]:
        """Return the newest lines of one kind of a run, JSON columns parsed."""
        rows = self._warehouse.query(
            f"SELECT * FROM {self._current} WHERE run_id = @run AND kind = @kind ORDER BY `table`, source",
            run=run_id,
            kind=kind,
        )
        for row in rows:
            for name in ("dead_letter_by_code", "detail"):
                if isinstance(row[name], str):
                    row[name] = json.loads(row[name])
        return rows

    def total(self, run_id: str) -> Tally:
        """Return the sum of the lines of a stream's run. Refused records are counted under the code ''."""
        row = self._warehouse.query(
            "SELECT SUM(`read`) AS `read`, SUM(written) AS written, SUM(duplicate) AS duplicate,"
            f" SUM(dead_letter) AS refused FROM {self._current} WHERE run_id = @run AND kind = @kind",
            run=run_id,
            kind=OFFSETS,
        )[0]
        refused = {"": row["refused"]} if row["refused"] else {}
        return Tally(row["read"] or 0, row["written"] or 0, row["duplicate"] or 0, refused)

    def newest_offsets(self, sources: Iterable[str]) -> dict[str, Any] | None:
        """Return the newest line of any stream about one of the sources, None if there is none."""
        rows = self._warehouse.query(
            "SELECT run_id, `table`, source, first_offset, last_offset, `read`, written, duplicate, dead_letter,"
            f" pipeline_version, recorded_at FROM {self._current} WHERE kind = @kind AND source IN UNNEST(@sources)"
            " ORDER BY recorded_at DESC LIMIT 1",
            kind=OFFSETS,
            sources=list(sources),
        )
        return rows[0] if rows else None

    def first_recorded(self, offsets: Mapping[str, int]) -> dict[str, datetime]:
        """Return when the records at or just below an offset of each source were first recorded, for known sources."""
        conditions = " OR ".join(
            f"(source = {json.dumps(source)} AND first_offset <= {offset} AND last_offset >= {offset - 1})"
            for source, offset in offsets.items()
        )
        table = f"`{self._warehouse.project}.{self._dataset}.{self._spec.name}`"
        rows = self._warehouse.query(
            f"SELECT source, MIN(recorded_at) AS recorded_at FROM {table} WHERE kind = @kind AND ({conditions})"
            " GROUP BY source",
            kind=OFFSETS,
        )
        return {row["source"]: row["recorded_at"] for row in rows}

    def written_since(self, since: datetime) -> int:
        """Return how many rows streams have written since a time, by all lines of the ledger."""
        table = f"`{self._warehouse.project}.{self._dataset}.{self._spec.name}`"
        (row,) = self._warehouse.query(
            f"SELECT SUM(written) AS written FROM {table} WHERE kind = @kind AND recorded_at >= @since",
            kind=OFFSETS,
            since=since,
        )
        return row["written"] or 0

    def loaded_files(self) -> set[tuple[str, str, int]]:
        """Return (table, URI, generation) of every file that a run has loaded completely."""
        rows = self._warehouse.query(
            f"SELECT DISTINCT `table` AS name, source, generation FROM {self._current} WHERE kind = @kind", kind=LOADED
        )
        return {(row["name"], row["source"], row["generation"]) for row in rows}

    def newer_run(self, table: str, run: Run) -> str | None:
        """Return the id of another run that has written the table since `run` began, None if there is none."""
        rows = self._warehouse.query(
            f"SELECT run_id FROM {self._current} WHERE kind = @kind AND `table` = @name AND run_id != @run"
            " AND recorded_at > @start LIMIT 1",
            kind=LOADED,
            name=table,
            run=run.run_id,
            start=run.started_at,
        )
        return str(rows[0]["run_id"]) if rows else None
