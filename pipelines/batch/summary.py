"""A batch's summary, read from the ledger."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from connectors.bookkeeping.ledger import LOADED, MISSING_COLUMNS, PASSED_OVER, QUALITY, RUN, STAGED
from connectors.sinks.destination import Destination
from contracts.service_levels import service_level_query
from pipelines.batch.preflight import PreparedBatch
from pipelines.runs.summary import Counts, EndOfRun, TableCounter, TableSummary
from transforms.ledger import State

__all__ = ["BatchSummary", "batch_summary"]

NOTHING_PASSED_OVER: Mapping[str, Any] = {"count": 0, "files": [], "uncommitted": 0}
OUTPUT = ("processed", "dead_letters", "tables", "jobs")


@dataclass(frozen=True, kw_only=True)
class BatchSummary(EndOfRun):
    """What a batch has done."""

    tables: Mapping[str, TableSummary[Counts]]
    passed_over: Mapping[str, Any]
    """The files that belong to no table: `count`, the first `files`, and how many are `uncommitted`."""
    output: Mapping[str, Sequence[str]]
    """What the run has written: URIs of `processed` and `dead_letters`, names of `tables`, ids of `jobs`."""

    def to_json(self) -> dict[str, Any]:
        """Return what `--summary` writes."""
        return {
            **self._head(),
            "tables": {name: table.to_json() for name, table in self.tables.items()},
            "passed_over": self.passed_over,
            "seconds": round(self.seconds, 3),
            "output": self.output,
        }


def batch_summary(prepared: PreparedBatch, began: datetime, why: str | None, seconds: float) -> BatchSummary:
    """Return what the ledger says of a run that began at `began`. `why` is the reason of a failure that is known.

    An attempt that has written no end to the ledger has failed; the end is written here.
    """
    ledger, run = prepared.destination.ledger, prepared.batch.run
    lines = _by_kind(ledger.lines(run.run_id, RUN, PASSED_OVER, STAGED, LOADED, MISSING_COLUMNS, QUALITY))
    end = next(iter(lines[RUN]), None)
    if end is None or (end["recorded_at"] < began and not prepared.finished):
        if prepared.batch.inputs and not why:
            why = "the job ended, and no step of it has closed the run"
        ledger.record_end(run, State.FAILED if why else State.DONE, {"why": why} if why else {})
        end = ledger.lines(run.run_id, RUN)[0]
    detail = end["detail"] or {}
    passed_over = next((line["detail"] for line in lines[PASSED_OVER]), None)
    return BatchSummary(
        run_id=run.run_id,
        pipeline=run.pipeline,
        state=State(end["state"]),
        why=detail.get("why") or None,
        seconds=seconds,
        tables={
            name: replace(table, service_levels=_levels(prepared.destination, name))
            for name, table in _tables(lines).items()
        },
        passed_over=passed_over or NOTHING_PASSED_OVER,
        output={name: detail.get(name, []) for name in OUTPUT},
    )


def _by_kind(lines: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the lines by their kind; a kind without lines has an empty list."""
    kinds: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        kinds[line["kind"]].append(line)
    return kinds


def _tables(lines: dict[str, list[dict[str, Any]]]) -> dict[str, TableSummary[Counts]]:
    """Return the counts of each table: those of its load, or of its staging if it has not been loaded."""
    loaded = {line["table"] for line in lines[LOADED]}
    staged = [line for line in lines[STAGED] if line["table"] not in loaded]
    counters: dict[str, TableCounter[Counts]] = {}
    for line in lines[LOADED] + staged:
        counts = Counts(
            read=line["read"] or 0,
            written=line["written"] or 0,
            duplicate=line["duplicate"] or 0,
            dead_letter=line["dead_letter"] or 0,
        )
        counters.setdefault(line["table"], TableCounter(Counts)).add(line, counts)
    missing = {line["table"]: line["detail"] for line in lines[MISSING_COLUMNS]}
    rules: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for line in lines[QUALITY]:
        rules[line["table"]].append(line["detail"])
    return {name: counter.summary(missing.get(name), rules[name]) for name, counter in counters.items()}


def _levels(to: Destination, name: str) -> tuple[dict[str, Any], ...]:
    """Return the service levels of a table, for who measures them later without its contract."""
    if name not in to.tables:  # of a run that had other files
        return ()
    table, path = to.tables[name], to.path(to.datasets[name], name)
    return tuple(
        {
            "name": level.name,
            "seconds": level.seconds,
            **({"problem": level.problem} if level.problem else {"sql": service_level_query(table, path, level)}),
        }
        for level in table.service_levels
    )
