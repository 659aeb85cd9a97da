"""Look at the warehouse for alarms: how the newest runs ended, the ledger, dead letters, service levels.

Nothing but BigQuery is asked, so it sees the same from a laptop, from a scheduler, and while a job runs on Dataflow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from google.api_core.exceptions import NotFound

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.current_lines import SINCE, current_query
from connectors.bookkeeping.ledger import LOADED, OFFSETS
from connectors.bookkeeping.notices import About
from contracts.service_levels import Measured, Outcome, shown_seconds
from contracts.table import Table
from operations.alarms.alarm import Alarm, Kind
from operations.runs import NO_END, runs_query
from operations.service_levels import measured_levels
from transforms.ledger import RATIO_FROM, State

__all__ = ["DAY", "MAX_DEAD_LETTER_RATIO", "Examination", "alarms_of_levels", "alarms_of_runs"]

DAY = timedelta(days=1)
"""The time whose records count for the share of dead letters."""
MAX_DEAD_LETTER_RATIO = 0.1
"""Of all who look, unless --max_dead_letter_ratio is given: two limits would open an alarm and close it in turn."""
KINDS = {
    State.FAILED.value: Kind.RUN_FAILED,
    State.REFUSED.value: Kind.RUN_FAILED,
    NO_END: Kind.RUN_WITHOUT_END,
    State.LEDGER_BROKEN.value: Kind.LEDGER_UNBALANCED,
    State.TOO_MANY_DEAD_LETTERS.value: Kind.TOO_MANY_DEAD_LETTERS,
    State.QUALITY_BROKEN.value: Kind.QUALITY_BROKEN,
}
"""What a run's state means."""


@dataclass(frozen=True, slots=True)
class Examination:
    """What is examined."""

    warehouse: Warehouse
    operations: str
    tables: Mapping[str, Table]
    datasets: Mapping[str, str]
    """The dataset of each table."""
    since: datetime
    """Earlier lines of the ledger are not read."""
    max_dead_letter_ratio: float
    """Of the records of a table in a day."""

    def alarms(self) -> list[Alarm]:
        """Return every alarm that is open now, each once."""
        try:
            runs = self._query(f"SELECT * FROM ({runs_query(self.warehouse, self.operations)}) ORDER BY began DESC")
            found = [*alarms_of_runs(runs), *self._lines()]
        except NotFound:  # no run has written a line yet
            found = []
        found += alarms_of_levels(measured_levels(self.warehouse, self.tables.values(), self.datasets))
        return list({alarm.identity: alarm for alarm in found}.values())

    def sees(self, alarm: About) -> bool:
        """Whether the alarm would be found if it were open: of a service level only with the contract of its table."""
        kind, about = alarm
        return kind != Kind.SERVICE_LEVEL_BROKEN.value or about.partition(": ")[0] in self.tables

    def _query(self, sql: str, **parameters: datetime | float) -> list[dict[str, Any]]:
        return self.warehouse.query(sql, since=self.since, **parameters)

    def _lines(self) -> Iterator[Alarm]:
        """Yield tables with a line that does not balance, and those with too many dead letters in the last day."""
        recent = "recorded_at >= @recent"
        lines = self._query(
            "SELECT IFNULL(CONCAT(dataset, '.', `table`), `table`) AS name, `table`,"
            " COUNTIF(`read` != written + duplicate + dead_letter) AS unbalanced,"
            f" SUM(IF({recent}, `read`, 0)) AS records, SUM(IF({recent}, dead_letter, 0)) AS refused"
            f" FROM ({current_query(self.warehouse.project, self.operations, SINCE)})"
            f" WHERE kind IN ('{LOADED}', '{OFFSETS}') GROUP BY 1, 2",
            recent=datetime.now(UTC) - DAY,
        )
        for line in lines:
            name, table = line["name"], line["table"]
            if line["unbalanced"]:
                says = f"{line['unbalanced']:,} lines of the ledger about {name} do not balance"
                yield Alarm(kind=Kind.LEDGER_UNBALANCED, about=name, says=says, table=table)
            records, refused = line["records"] or 0, line["refused"] or 0
            if records >= RATIO_FROM and refused > self.max_dead_letter_ratio * records:
                says = (
                    f"{refused:,} of the {records:,} records of {name} in the last day were refused:"
                    f" {refused / records:.1%}, at most {self.max_dead_letter_ratio:.1%}"
                )
                yield Alarm(kind=Kind.TOO_MANY_DEAD_LETTERS, about=name, says=says, table=table)


def alarms_of_runs(runs: Iterable[Mapping[str, Any]]) -> Iterator[Alarm]:
    """Yield an alarm for each run, the newest first, that is the newest of a table and has not ended well.

    A batch that is running now has not shown yet that the one before it is over; a stream that is running has.
    """
    seen: set[tuple[str, str]] = set()
    for run in runs:
        pipeline, state = run["pipeline"], run["state"]
        if state == State.RUNNING.value and pipeline != "stream":
            continue
        names = (run["tables"] or "").split(", ")
        new = {(pipeline, name) for name in names} - seen
        seen |= new
        if new and (kind := KINDS.get(state)):
            yield _alarm(kind, run, names)


def _alarm(kind: Kind, run: Mapping[str, Any], names: Sequence[str]) -> Alarm:
    tables = ", ".join(filter(None, names))
    about = f"{run['pipeline']} into {tables}" if tables else str(run["pipeline"])
    began = f"{run['began'].astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    says = f"run {run['run']} of {began}, {about}: {run['state'].replace('_', ' ')}"
    return Alarm(kind=kind, about=about, says=says, run=run["run"], table=names[0])


def alarms_of_levels(levels: Iterable[Measured]) -> Iterator[Alarm]:
    """Yield an alarm for each service level that is not kept, or that cannot be measured."""
    for level in levels:
        if level.outcome is Outcome.KEPT:
            continue
        limit = f"at most {shown_seconds(level.level.seconds)}"
        found = "cannot be measured" if level.seconds is None else f"is {shown_seconds(level.seconds)}, {limit}"
        about = f"{level.table}: {level.level.name}"
        yield Alarm(kind=Kind.SERVICE_LEVEL_BROKEN, about=about, says=f"{about} {found}", table=level.table)
