"""Which dead letters a run sends again: a condition, pinned to a table that does not change while the run lasts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.current_letters import CURRENT_LETTERS, OPEN
from connectors.bookkeeping.statements import digest
from connectors.sources.read_letters import LETTER_COLUMNS
from contracts.bookkeeping import DEAD_LETTERS
from contracts.changes import changes_of, takes_updates
from contracts.refusal import ErrorCode
from contracts.schemas import any_partition, quote
from contracts.table import Identity, Table, WriteDisposition

__all__ = ["Selection", "fed_by_updates", "of_run", "why_not"]

PINNED_COLUMNS = ("dead_letter_id", "table_name", *LETTER_COLUMNS, "retry_count", "first_failed_at", "failed_at")
PINNED_DAYS = 7
"""After this many days BigQuery drops the table of a run that was never finished."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The dead letters to send again: of one table or of all, that meet a condition, the newest `limit` of them."""

    where: str
    """As `condition` returns it; "" for all."""
    table: str | None
    dataset: str | None
    """The dataset of all tables, None for the one that each contract names."""
    limit: int | None
    again: bool
    """Whether letters that a run has written already, or that were given up, are sent again."""
    run: str | None = None
    """The run that refused them; `last`: the newest run that refused a record."""
    to_topic: str | None = None
    """The topic that they are sent to; None: they are written into the table."""

    @property
    def prunes(self) -> bool:
        """Whether the condition is about `failed_at`, by whose day `dead_letters` is partitioned."""
        return "failed_at" in self.where.replace("first_failed_at", "")

    def datasets(self, tables: Mapping[str, Table]) -> dict[str, str]:
        """Return the dataset of each table."""
        return {name: self.dataset or table.dataset for name, table in tables.items()}

    def query(self, warehouse: Warehouse, operations: str, tables: Mapping[str, Table]) -> str:
        """Return the query of the dead letters of `tables`.

        Environments may share a ledger: a dead letter belongs to the dataset that its run has written. Of several dead
        letters of one place, as after a file was overwritten, the newest counts. One whose place is a row by now, since
        its file was loaded again, is solved. Copies of duplicates, which a run keeps for an audit, are no refused
        records. Records of a stream of updates are left out: a newer one of the key may have come.
        """
        datasets = self.datasets(tables)
        path = f"`{warehouse.project}.{operations}"
        of_tables = " OR ".join(_of_table(f"{path}.ledger`", name, datasets[name]) for name in sorted(tables))
        eligible = f"error_code != '{ErrorCode.DUPLICATE.value}' AND ({of_tables})"
        newest = "ROW_NUMBER() OVER (PARTITION BY `table`, source, position ORDER BY failed_at DESC, dead_letter_id)"
        of_place = f"SELECT dead_letter_id, {newest} AS of_place FROM {path}.{DEAD_LETTERS.name}` WHERE {eligible}"
        conditions = [f"dead_letter_id IN (SELECT dead_letter_id FROM ({of_place}) WHERE of_place = 1)"]
        if not self.again:
            conditions += [f"state = '{OPEN}'"]
            conditions += [_unsolved(warehouse, table, datasets[name]) for name, table in sorted(tables.items())]
        conditions += [of_run(f"{path}.{DEAD_LETTERS.name}`", self.run)] if self.run else []
        if self.to_topic:
            conditions += ["STARTS_WITH(source, 'kafka://')"]
        conditions += [
            f"NOT (`table` = '{name}' AND STARTS_WITH(source, 'kafka://'))"
            for name in fed_by_updates(warehouse, tables, datasets)
            if not self.to_topic
        ]
        conditions += [f"({self.where})"] if self.where else []
        renamed = {"attributes": "TO_JSON_STRING(attributes) AS attributes", "table_name": "`table` AS table_name"}
        read = ", ".join(renamed.get(name, quote(name)) for name in PINNED_COLUMNS)
        limit = f" ORDER BY failed_at DESC, dead_letter_id LIMIT {self.limit}" if self.limit else ""
        return f"SELECT {read} FROM {path}.{CURRENT_LETTERS}` AS letter WHERE {' AND '.join(conditions)}{limit}"

    def pin(self, warehouse: Warehouse, operations: str, run_id: str, tables: Mapping[str, Table]) -> None:
        """Create the table of the dead letters of a run, unless it exists."""
        name = self.pinned_name(run_id)
        expires = f"TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL {PINNED_DAYS} DAY)"
        warehouse.query(
            f"CREATE TABLE IF NOT EXISTS `{warehouse.project}.{operations}.{name}`"
            f" OPTIONS (expiration_timestamp = {expires}) AS {self.query(warehouse, operations, tables)}"
        )

    def pinned_name(self, run_id: str) -> str:
        """Return the name of the table that holds the dead letters of a run."""
        return f"replay_{digest(run_id, json.dumps(self.detail(), sort_keys=True))}"

    def detail(self) -> dict[str, object]:
        """Return what the ledger says of the selection: a run that continues must have the same."""
        detail = {name: getattr(self, name) for name in ("where", "table", "dataset", "limit", "again")}
        further = {"run": self.run, "to_topic": self.to_topic}
        return {**detail, **{name: value for name, value in further.items() if value}}


def of_run(dead_letters: str, run: str) -> str:
    """Return the condition that a dead letter was refused by a run; `last` is the newest that refused a record."""
    newest = f"SELECT run_id FROM {dead_letters} ORDER BY failed_at DESC, run_id LIMIT 1"
    return f"run_id = ({newest})" if run == "last" else f"run_id = {json.dumps(run)}"


def _of_table(ledger: str, table: str, dataset: str) -> str:
    """Return the condition that a dead letter is of `dataset`.`table`. Lines of a version before name no dataset.

    A stream that was killed may have stored a dead letter and no line about its offset, which another run has read
    since. Then the letter is of the dataset that alone has lines about its source.
    """
    of_table = f"FROM {ledger} WHERE `table` = '{table}'"
    elsewhere = f"`dataset` IS NOT NULL AND `dataset` != '{dataset}'"
    by_run = f"run_id IN (SELECT run_id {of_table} AND NOT ({elsewhere}))"
    by_source = (
        f"run_id NOT IN (SELECT run_id {of_table}) AND source IN (SELECT source {of_table} AND source IS NOT NULL"
        f" GROUP BY source HAVING COUNTIF({elsewhere}) = 0)"
    )
    return f"(`table` = '{table}' AND ({by_run} OR ({by_source})))"


def _unsolved(warehouse: Warehouse, table: Table, dataset: str) -> str:
    """Return the condition that a dead letter of `table` has no row at its place."""
    if warehouse.existing(dataset, table.name) is None:
        return "TRUE"
    same = ["stored._source = letter.source", "stored._position = letter.position", *any_partition(table, "stored")]
    rows = f"SELECT 1 FROM `{warehouse.project}.{dataset}.{table.name}` AS stored WHERE {' AND '.join(same)}"
    return f"(letter.`table` != '{table.name}' OR NOT EXISTS ({rows}))"


def fed_by_updates(warehouse: Warehouse, tables: Mapping[str, Table], datasets: Mapping[str, str]) -> list[str]:
    """Return the names of the tables that a stream of updates has fed."""
    return [
        name
        for name, table in sorted(tables.items())
        if takes_updates(table) and warehouse.existing(datasets[name], changes_of(table).name)
    ]


def why_not(table: Table) -> str | None:
    """Return why the dead letters of a table cannot be sent again, None if they can."""
    if table.disposition is WriteDisposition.REPLACE:
        return "each run replaces the table: load its files again"
    if table.identity is Identity.POSITION:
        return "its rows have no key: load the files again, which adds only what is missing"
    return None
