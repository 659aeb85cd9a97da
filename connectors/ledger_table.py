"""The ledger in BigQuery: lines are only ever added, and of two lines about the same thing the newer counts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from google.cloud.bigquery import SchemaField, Table

from connectors.warehouse import TableSpec, Warehouse
from transforms.ledger import SourceCounts, State
from transforms.offsets import Tally
from transforms.run import PIPELINE_VERSION, Run

__all__ = ["LedgerTable", "current_query", "dead_letters_spec", "ledger_spec"]

CURRENT = "ledger_current"
INPUT, STAGED, LOADED, RUN = "input", "staged", "loaded", "run"
"""Kinds of lines: a pinned file; a source before the load; a source after it; the run's end."""
OFFSETS, LOST = "offsets", "lost"
"""Kinds of a stream's lines: what became of a range of offsets; a range that the broker removed unread."""
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
"""A line that is in twice must count once before lines are compared: each copy would take the place of the other."""


def ledger_spec(dataset: str) -> TableSpec:
    """The table `ledger`."""
    return TableSpec(
        dataset,
        "ledger",
        (
            SchemaField("run_id", "STRING", "REQUIRED"),
            SchemaField("pipeline", "STRING", "REQUIRED", description="batch, stream or replay"),
            SchemaField("kind", "STRING", "REQUIRED", description="input, staged, loaded, run, offsets or lost"),
            SchemaField("state", "STRING", description="Of a run: how it ended"),
            SchemaField("table", "STRING", description="The contract's table"),
            SchemaField("source", "STRING", description="URI of the file, or kafka://topic/partition"),
            SchemaField("generation", "INTEGER", description="Of the file, as pinned at the run's start"),
            SchemaField("size", "INTEGER", description="Of the file, in bytes"),
            SchemaField("first_offset", "INTEGER", description="Of a line of a stream: its first Kafka offset"),
            SchemaField("last_offset", "INTEGER", description="Of a line of a stream: its last Kafka offset"),
            SchemaField("read", "INTEGER", description="Records, counted upstream of decode"),
            SchemaField("staged", "INTEGER", description="Clean rows in the run's Parquet shards"),
            SchemaField("written", "INTEGER", description="Rows that the table holds from this run"),
            SchemaField("duplicate", "INTEGER", description="Records whose key was written already"),
            SchemaField("dead_letter", "INTEGER", description="Refused records"),
            SchemaField("dead_letter_by_code", "JSON", description="Refused records by error code"),
            SchemaField("detail", "JSON", description="Of a run: why it ended so, its files and jobs"),
            SchemaField("pipeline_version", "STRING"),
            SchemaField("started_at", "TIMESTAMP", description="When the run began"),
            SchemaField("recorded_at", "TIMESTAMP", "REQUIRED"),
        ),
        partition="recorded_at",
        clustering=("run_id",),
        description="read = written + duplicate + dead_letter, by run, table and source; see ledger_current",
    )


def dead_letters_spec(dataset: str) -> TableSpec:
    """The table `dead_letters`: one row a refused record, each once."""
    texts = {
        "dead_letter_id": "Digest of table, source, position and raw: the same record refused twice is one row",
        "table": "", "source": "URI of the file, or kafka://topic/partition",
    }  # fmt: skip
    required = {
        "position": ("INTEGER", "Byte offset, row number or Kafka offset"),
        "stage": ("STRING", "decode, validate, deduplicate or write"),
        "error_code": ("STRING", "Stable code"),
        "error_message": ("STRING", ""),
        "recoverable": ("BOOLEAN", "Whether the same bytes could be clean under another contract"),
        "raw": ("BYTES", "The record as it came, at most 8 MB of it"),
        "truncated": ("BOOLEAN", "Whether raw is only the record's beginning"),
        "run_id": ("STRING", ""),
        "retry_count": ("INTEGER", "How often it was sent again"),
        "first_failed_at": ("TIMESTAMP", ""),
        "failed_at": ("TIMESTAMP", ""),
    }
    optional = {"field": "STRING", "attributes": "JSON", "contract_version": "STRING", "pipeline_version": "STRING"}
    order = [
        "dead_letter_id", "table", "source", "position", "stage", "error_code", "error_message", "field", "recoverable",
        "raw", "truncated", "attributes", "contract_version", "pipeline_version", "run_id", "retry_count",
        "first_failed_at", "failed_at",
    ]  # fmt: skip
    fields = {
        **{name: SchemaField(name, "STRING", "REQUIRED", description=text) for name, text in texts.items()},
        **{name: SchemaField(name, kind, "REQUIRED", description=text) for name, (kind, text) in required.items()},
        **{name: SchemaField(name, kind) for name, kind in optional.items()},
    }
    return TableSpec(
        dataset, "dead_letters", tuple(fields[name] for name in order), partition="failed_at",
        clustering=("table", "error_code"), description="Every refused record, whole, once",
    )  # fmt: skip


def current_query(project: str, dataset: str) -> str:
    """The query of the view `ledger_current`, which shows of each line the newest.

    Offsets that a later start of a stream has read again count as that start has counted them.
    """
    return CURRENT_QUERY.format(ledger=f"`{project}.{dataset}.ledger`")


class LedgerTable:
    """Writes and reads the ledger of one operations data set."""

    def __init__(self, warehouse: Warehouse, dataset: str) -> None:
        self._warehouse = warehouse
        self._spec = ledger_spec(dataset)
        self._dataset = dataset
        self._current = f"`{warehouse.project}.{dataset}.{CURRENT}`"

    def ensure_view(self) -> None:
        """Make the view `ledger_current` where it is absent; the table is there."""
        if self._warehouse.existing(self._dataset, CURRENT) is None:
            view = Table(self._warehouse.reference(self._dataset, CURRENT))
            view.view_query = current_query(self._warehouse.project, self._dataset)
            self._warehouse.client.create_table(view, exists_ok=True)

    def record(self, run: Run, kind: str, lines: Iterable[Mapping[str, Any]]) -> None:
        """Add lines of one kind."""
        now = datetime.now(UTC)
        common = {
            "run_id": run.run_id, "pipeline": run.pipeline, "kind": kind, "pipeline_version": PIPELINE_VERSION,
            "started_at": run.started_at, "recorded_at": now,
        }  # fmt: skip
        rows = [{**common, **line} for line in lines]
        if rows:
            self._warehouse.append(rows, self._spec)

    def record_counts(
        self,
        run: Run,
        kind: str,
        table: str,
        counts: Mapping[str, SourceCounts],
        written: Mapping[str, int] | None = None,
    ) -> None:
        """Add a line for each source of a table; with `written`, what was staged and not written was a duplicate."""
        lines = []
        for source, line in counts.items():
            known = line.staged if written is None else written.get(source, 0)
            lines.append({
                "table": table, "source": source, "generation": line.generation, "size": line.size, "read": line.read,
                "staged": line.staged, "written": None if written is None else known,
                "duplicate": line.duplicate + line.staged - known, "dead_letter": line.dead_letter,
                "dead_letter_by_code": line.dead_letter_by_code,
            })  # fmt: skip
        self.record(run, kind, lines)

    def record_end(self, run: Run, state: State, detail: Mapping[str, Any]) -> None:
        """Add the line that says how the run ended."""
        self.record(run, RUN, [{"state": state.value, "detail": dict(detail)}])

    def lines(self, run_id: str, kind: str) -> list[dict[str, Any]]:
        """The newest lines of one kind of a run."""
        rows = self._warehouse.query(
            f"SELECT * FROM {self._current} WHERE run_id = @run AND kind = @kind ORDER BY `table`, source",
            run=run_id, kind=kind,
        )  # fmt: skip
        for row in rows:
            for name in ("dead_letter_by_code", "detail"):
                if isinstance(row[name], str):
                    row[name] = json.loads(row[name])
        return rows

    def total(self, run_id: str) -> Tally:
        """What a stream's lines say of a run, all together."""
        row = self._warehouse.query(
            "SELECT SUM(`read`) AS `read`, SUM(written) AS written, SUM(duplicate) AS duplicate,"
            f" SUM(dead_letter) AS refused FROM {self._current} WHERE run_id = @run AND kind = @kind",
            run=run_id, kind=OFFSETS,
        )[0]  # fmt: skip
        refused = {"": row["refused"]} if row["refused"] else {}
        return Tally(row["read"] or 0, row["written"] or 0, row["duplicate"] or 0, refused)

    def newest_offsets(self, sources: Iterable[str]) -> dict[str, Any] | None:
        """The line of a stream that was written last about one of the sources, whatever its run."""
        rows = self._warehouse.query(
            "SELECT run_id, `table`, source, first_offset, last_offset, `read`, written, duplicate, dead_letter,"
            f" pipeline_version, recorded_at FROM {self._current} WHERE kind = @kind AND source IN UNNEST(@sources)"
            " ORDER BY recorded_at DESC LIMIT 1",
            kind=OFFSETS, sources=list(sources),
        )  # fmt: skip
        return rows[0] if rows else None

    def loaded_files(self) -> set[tuple[str, str, int]]:
        """(table, URI, generation) of every file that a finished table of some run has read."""
        rows = self._warehouse.query(
            f"SELECT DISTINCT `table` AS name, source, generation FROM {self._current} WHERE kind = @kind", kind=LOADED
        )
        return {(row["name"], row["source"], row["generation"]) for row in rows}

    def newer_run(self, table: str, run: Run) -> str | None:
        """Another run that has written the table since `run` began, if any."""
        rows = self._warehouse.query(
            f"SELECT run_id FROM {self._current} WHERE kind = @kind AND `table` = @name AND run_id != @run"
            " AND recorded_at > @start LIMIT 1",
            kind=LOADED, name=table, run=run.run_id, start=run.started_at,
        )  # fmt: skip
        return str(rows[0]["run_id"]) if rows else None
