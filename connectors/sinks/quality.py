"""Check the rules of contracts on what a run has loaded."""

from __future__ import annotations

import enum
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from google.api_core.exceptions import ClientError

from connectors.bookkeeping.heartbeat import Heartbeat
from connectors.bookkeeping.ledger import QUALITY
from connectors.sinks.destination import Destination
from contracts.bisect import bisect
from contracts.classification import MASK, has_masked
from contracts.quality import Metric, Rule, Severity
from contracts.quality_sql import TOTAL, library_query, orphans_query, sql_query, value_name
from contracts.schemas import any_partition, quote
from contracts.table import Table

__all__ = ["Outcome", "Partitions", "QualityResult", "check_rules", "recorded_rules"]

logger = logging.getLogger(__name__)
Partitions = tuple[str, str] | None
"""The least and the greatest value of the partition column among the rows that a run has loaded, as text."""
MAX_MESSAGE = 500
SHOWN_RULES = 5


class Outcome(enum.Enum):
    """What became of a rule."""

    KEPT = "kept"
    BROKEN = "broken"
    FAILED = "failed"
    """It could not be measured."""


@dataclass(frozen=True, slots=True)
class QualityResult:
    """What became of a rule of a table. `value` is None, and `why` says the reason, if it could not be measured."""

    table: str
    rule: Rule
    outcome: Outcome
    value: Decimal | None = None
    why: str = ""

    @property
    def fails_run(self) -> bool:
        """Whether the run ends with an exit code of its own: a rule that cannot be checked is never a warning."""
        broken = self.outcome is Outcome.BROKEN and self.rule.severity is Severity.ERROR
        return broken or self.outcome is Outcome.FAILED

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.table}: {self.rule.name} cannot be checked: {self.why}"
        return f"{self.table}: {self.rule.name} is {_shown(self.value)}, {self.rule.expected}"

    def to_json(self) -> dict[str, Any]:
        """Return what the ledger and the summary hold."""
        return {
            "rule": self.rule.name,
            "metric": self.rule.metric.value,
            "severity": self.rule.severity.value,
            "outcome": self.outcome.value,
            "value": None if self.value is None else float(self.value),
            "expected": self.rule.expected,
            **({"why": self.why} if self.why else {}),
        }


def recorded_rules(to: Destination, partitions: Mapping[str, Partitions]) -> str:
    """Check the rules of the tables that a run has loaded; write what became of each to the ledger.

    Returns those that the run fails with, "" for none. Raises the errors of BigQuery that are not about a statement. A
    check may take long: the run keeps its leases meanwhile.
    """
    if not any(to.tables[name].rules for name in partitions):
        return ""
    with Heartbeat(to.leases, [to.qualified(name) for name in partitions], to.run.token, release=False):
        results = check_rules(to, partitions)
    lines = [
        {
            "table": result.table,
            "dataset": to.datasets[result.table],
            "source": result.rule.name,
            "state": result.outcome.value,
            "detail": result.to_json(),
        }
        for result in results
    ]
    to.ledger.record(to.run, QUALITY, lines)
    failing = [str(result) for result in results if result.fails_run]
    return "; ".join(failing[:SHOWN_RULES]) + ("; …" if len(failing) > SHOWN_RULES else "")


def check_rules(to: Destination, partitions: Mapping[str, Partitions]) -> list[QualityResult]:
    """Return what became of each rule of the tables, in the order of the contract.

    `partitions` has the tables that the run has loaded. Raises the errors of BigQuery that are not about a statement.
    """
    results: list[QualityResult] = []
    for name in sorted(partitions):
        table = to.tables[name]
        measured = dict(_measured(to, table, partitions[name]))
        results += [measured[rule.name] for rule in table.rules]
    for result in results:
        if result.outcome is not Outcome.KEPT:
            logger.warning("quality: %s", result)
    return results


def _measured(to: Destination, table: Table, partitions: Partitions) -> Iterable[tuple[str, QualityResult]]:
    path, condition = to.path(to.datasets[table.name], table.name), _loaded(to, table, partitions)
    others = (Metric.SQL, Metric.ORPHANS)
    library = [rule for rule in table.rules if rule.metric not in others]
    if library:

        def count(rules: Sequence[Rule]) -> list[tuple[str, QualityResult]]:
            (row,) = to.warehouse.query(library_query(table, path, condition, rules))
            values = [(rule, _share(row, rule, value_name(number))) for number, rule in enumerate(rules)]
            return [(rule.name, _judged(table, rule, value)) for rule, value in values]

        counted, failures = bisect(library, count, (ClientError,))
        yield from (each for part in counted for each in part)
        yield from ((rule.name, _failed(table, rule, str(error))) for rule, error in failures)
    for rule in table.rules:
        if rule.metric in others:
            yield rule.name, _queried(to, table, rule, _statement(to, table, rule, path, condition))


def _statement(to: Destination, table: Table, rule: Rule, path: str, condition: str) -> str:
    if rule.target is None:
        return sql_query(table, path, condition, rule)
    other = to.related[rule.target.table]
    every = " AND ".join(any_partition(other.table)) or "TRUE"
    return orphans_query(path, condition, rule, rule.target, to.path(other.dataset, other.table.name), every)


def _queried(to: Destination, table: Table, rule: Rule, sql: str) -> QualityResult:
    try:
        rows = to.warehouse.query(sql)
    except ClientError as error:
        return _failed(table, rule, str(error))
    if len(rows) != 1 or len(rows[0]) != 1:
        columns = len(rows[0]) if rows else 0
        return _failed(table, rule, f"its query returns {len(rows)} rows of {columns} columns, not one value")
    (value,) = rows[0].values()
    number = _number(value)
    if number is None:
        shown = MASK if has_masked(table) else repr(value)
        return _failed(table, rule, f"its query returns {shown}, which is no number")
    return _judged(table, rule, number)


def _loaded(to: Destination, table: Table, partitions: Partitions) -> str:
    """Return the condition that selects the rows that the run has loaded, and no partition without one."""
    conditions = [f"{quote('_run_id')} = {_text(to.run.run_id)}"]
    if table.partition is not None and partitions is not None:
        column, kind = quote(table.partition), table.column(table.partition).kind.value
        least, greatest = partitions
        conditions.append(f"({column} BETWEEN {kind} '{least}' AND {kind} '{greatest}' OR {column} IS NULL)")
    else:
        conditions += any_partition(table)
    return " AND ".join(conditions)


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _share(row: Mapping[str, Any], rule: Rule, name: str) -> Decimal:
    value = Decimal(row[name])
    return value * 100 / max(row[TOTAL], 1) if rule.percent else value


def _judged(table: Table, rule: Rule, value: Decimal) -> QualityResult:
    return QualityResult(table.name, rule, Outcome.KEPT if rule.holds(value) else Outcome.BROKEN, value)


def _failed(table: Table, rule: Rule, why: str) -> QualityResult:
    return QualityResult(table.name, rule, Outcome.FAILED, None, " ".join(why.split())[:MAX_MESSAGE])


def _number(value: object) -> Decimal | None:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    try:
        return Decimal(value) if isinstance(value, bool | int | Decimal) else Decimal(str(value))
    except InvalidOperation:
        return None


def _shown(value: Decimal) -> str:
    return f"{value:f}" if value == value.to_integral_value() else f"{value:.4f}".rstrip("0")
