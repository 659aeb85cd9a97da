"""Which dead letters a run sends again: a condition, pinned to a table that does not change while the run lasts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.current_letters import CURRENT_LETTERS, OPEN
from connectors.bookkeeping.statements import digest
from connectors.sources.read_letters import LETTER_COLUMNS
from contracts.refusal import ErrorCode
from contracts.schemas import quote
from contracts.table import Identity, Table, WriteDisposition
from pipelines.replay.where import condition

__all__ = ["Selection", "why_not"]

PINNED_DAYS = 7
"""After this many days BigQuery drops the table of a run that was never finished."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The dead letters to send again: of one table or of all, that meet a condition, the newest `limit` of them."""

    where: str
    """As `condition` returns it; "" for all."""
    table: str | None
    limit: int | None
    again: bool
    """Whether letters that a run has written already are sent again."""

    @classmethod
    def of(cls, where: str, table: str | None, limit: int | None, again: bool) -> Selection:
        """Return the selection of a command line. Raises UsageError for a condition that is not accepted."""
        return cls(condition(where) if where else "", table, limit, again)

    @property
    def prunes(self) -> bool:
        """Whether the condition is about `failed_at`, by whose day `dead_letters` is partitioned."""
        return "failed_at" in self.where.replace("first_failed_at", "")

    def query(self, project: str, dataset: str, datasets: Mapping[str, str]) -> str:
        """Return the query of the dead letters of tables; `datasets` has the dataset of each.

        Environments may share a ledger: a dead letter belongs to the dataset that its run has written.

        Of several letters of one place, as after a file was overwritten, the newest counts. Copies of duplicates,
        which a run keeps for an audit, are no refused records.
        """
        conditions = [f"error_code != '{ErrorCode.DUPLICATE.value}'"]
        conditions += [f"state = '{OPEN}'"] if not self.again else []
        ledger = f"`{project}.{dataset}.ledger`"
        conditions += [f"({' OR '.join(_of_table(ledger, *each) for each in sorted(datasets.items()))})"]
        conditions += [f"({self.where})"] if self.where else []
        columns = ["dead_letter_id", "table_name", *LETTER_COLUMNS, "first_failed_at", "failed_at"]
        renamed = {"attributes": "TO_JSON_STRING(attributes) AS attributes", "table_name": "`table` AS table_name"}
        read = ", ".join(renamed.get(name, quote(name)) for name in columns)
        newest = "ROW_NUMBER() OVER (PARTITION BY `table`, source, position ORDER BY failed_at DESC, dead_letter_id)"
        limit = f" ORDER BY failed_at DESC, dead_letter_id LIMIT {self.limit}" if self.limit else ""
        return (
            f"SELECT {', '.join(map(quote, columns))} FROM (SELECT {read}, {newest} AS of_place"
            f" FROM `{project}.{dataset}.{CURRENT_LETTERS}` WHERE {' AND '.join(conditions)}) WHERE of_place = 1{limit}"
        )

    def pin(self, warehouse: Warehouse, dataset: str, run_id: str, datasets: Mapping[str, str]) -> None:
        """Create the table of the dead letters of a run, unless it exists."""
        name = self.pinned_name(run_id)
        expires = f"TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL {PINNED_DAYS} DAY)"
        warehouse.query(
            f"CREATE TABLE IF NOT EXISTS `{warehouse.project}.{dataset}.{name}`"
            f" OPTIONS (expiration_timestamp = {expires}) AS {self.query(warehouse.project, dataset, datasets)}"
        )

    def pinned_name(self, run_id: str) -> str:
        """Return the name of the table that holds the dead letters of a run."""
        return f"replay_{digest(run_id, json.dumps(self.detail(), sort_keys=True))}"

    def detail(self) -> dict[str, object]:
        """Return what the ledger says of the selection: a run that continues must have the same."""
        return {"where": self.where, "table": self.table, "limit": self.limit, "again": self.again}


def _of_table(ledger: str, table: str, dataset: str) -> str:
    """Return the condition that a dead letter is of `dataset`.`table`. Lines of a version before name no dataset."""
    of_dataset = f"`table` = '{table}' AND IFNULL(`dataset`, '{dataset}') = '{dataset}'"
    return f"`table` = '{table}' AND run_id IN (SELECT run_id FROM {ledger} WHERE {of_dataset})"


def why_not(table: Table) -> str | None:
    """Return why the dead letters of a table cannot be sent again, None if they can."""
    if table.disposition is WriteDisposition.REPLACE:
        return "each run replaces the table: load its files again"
    if table.identity is Identity.POSITION:
        return "its rows have no key: load the files again, which adds only what is missing"
    return None
