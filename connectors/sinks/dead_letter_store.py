"""Where the refused records of a batch go: new rows of `dead_letters`, or what became of those that were sent again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from connectors.bookkeeping.current_letters import DUPLICATE, REFUSED, WRITTEN
from connectors.bookkeeping.specs import spec_of
from connectors.bookkeeping.statements import dead_letters_id, statement_id
from connectors.sinks.attempt import CLOCK_MARGIN, take_leases
from connectors.sinks.destination import Destination
from connectors.sinks.staging import STAGING_LIFETIME, as_loaded, digest, load_id, staging_prefix
from contracts.bookkeeping import DEAD_LETTERS, REPLAYED
from contracts.schemas import any_partition, quote
from contracts.table import Table
from transforms.ledger import DeadLetterFile

__all__ = ["DeadLetterStore", "NewDeadLetters", "ReplayedDeadLetters"]


class DeadLetterStore(Protocol):
    """What a batch does with its refused records. Both methods run under the leases, and may run again."""

    def store(self, files: Sequence[DeadLetterFile]) -> None:
        """Store the refused records of the run, each once; `files` may be empty."""

    def since(self, table: Table, /) -> str:
        """Return a query of `_source`, `_position`, `since` and `refused_by`: when, and by which run, a record was
        refused for the first time; "" if it is read for the first time.
        """

    def loaded(self, table: Table, /) -> None:
        """Note that the rows of a table are written."""


@dataclass(frozen=True)
class NewDeadLetters:
    """Each refused record becomes a row of `dead_letters` unless it is one."""

    to: Destination

    def store(self, files: Sequence[DeadLetterFile]) -> None:
        if not files:
            return
        to, dataset = self.to, self.to.run.operations_dataset
        take_leases(to, sorted(to.tables))
        staging = _staged(to, files)
        names = DEAD_LETTERS.names
        into, values = ", ".join(map(quote, names)), ", ".join(map(_value, names))
        to.warehouse.execute(
            f"INSERT INTO {to.path(dataset, DEAD_LETTERS.name)} ({into})\nSELECT {values}\n"
            f"FROM {to.path(dataset, staging)} AS incoming_row"
            f" WHERE {to.lease_condition(min(to.tables))} AND NOT EXISTS (SELECT 1"
            f" FROM {to.path(dataset, DEAD_LETTERS.name)} AS existing_row"
            " WHERE existing_row.dead_letter_id = incoming_row.dead_letter_id)",
            dead_letters_id(dataset, to.run.run_id, to.run.token),
        )
        to.warehouse.drop(dataset, staging)

    def since(self, _table: Table, /) -> str:
        return ""

    def loaded(self, _table: Table, /) -> None:
        """Nothing: no dead letter depends on what is written."""


@dataclass(frozen=True)
class ReplayedDeadLetters:
    """Each dead letter that was sent again gets a row in `replayed_dead_letters`; `dead_letters` stays as it is.

    `pinned` is the quoted path of the table of the dead letters that the run sends again. A letter has one row for each
    run: a step that runs again adds none.
    """

    to: Destination
    pinned: str

    def store(self, files: Sequence[DeadLetterFile]) -> None:
        to, dataset = self.to, self.to.run.operations_dataset
        take_leases(to, sorted(to.tables))
        self._forget()
        if not files:
            return
        staging = _staged(to, files)
        refused = ", ".join(f"refused.{name}" for name in ("error_code", "error_message", "field", "contract_version"))
        self._insert(
            f"SELECT letter.dead_letter_id, {self._run_id}, '{REFUSED}', {refused}, CURRENT_TIMESTAMP()"
            f" FROM {self.pinned} AS letter JOIN {to.path(dataset, staging)} AS refused"
            " ON refused.source = letter.source AND refused.`table` = letter.table_name"
            " AND refused.position = letter.position"
            f" WHERE {to.lease_condition(min(to.tables))}",
            dead_letters_id(dataset, to.run.run_id, to.run.token),
        )
        to.warehouse.drop(dataset, staging)

    def since(self, table: Table) -> str:
        letters = f"FROM {self.pinned} WHERE table_name = '{table.name}'"
        return (
            f"SELECT source AS _source, position AS _position, first_failed_at AS since, run_id AS refused_by {letters}"
        )

    def loaded(self, table: Table) -> None:
        """A letter whose row has this run's id is written, whatever an attempt under other contracts says of it.

        One without a row that is not refused either had its key there.
        """
        to = self.to
        qualified = to.qualified(table.name)
        since = f"_ingested_at >= TIMESTAMP '{(to.run.started_at - CLOCK_MARGIN).isoformat()}'"
        of_run = " AND ".join([f"_run_id = {self._run_id}", since, *any_partition(table)])
        rows = f"SELECT _source, _position FROM {to.path(to.datasets[table.name], table.name)} WHERE {of_run}"
        version = f"'{table.contract_version}'" if table.contract_version else "NULL"
        self._insert(
            f"SELECT letter.dead_letter_id, {self._run_id}, IF(stored._position IS NULL, '{DUPLICATE}', '{WRITTEN}'),"
            f" CAST(NULL AS STRING), CAST(NULL AS STRING), CAST(NULL AS STRING), CAST({version} AS STRING),"
            f" CURRENT_TIMESTAMP() FROM {self.pinned} AS letter LEFT JOIN ({rows}) AS stored"
            " ON stored._source = letter.source AND stored._position = letter.position"
            f" WHERE letter.table_name = '{table.name}' AND {to.lease_condition(table.name)}",
            statement_id(to.run.operations_dataset, qualified, to.run.run_id, to.run.token, "replayed"),
            f"(done.state != '{REFUSED}' OR stored._position IS NULL)",
        )

    @property
    def _run_id(self) -> str:
        return f"'{self.to.run.run_id}'"

    @property
    def _states(self) -> str:
        return self.to.path(self.to.run.operations_dataset, REPLAYED.name)

    def _forget(self) -> None:
        """Delete what an attempt before has refused: this one may have other contracts."""
        to, first = self.to, min(self.to.tables)
        run = to.run
        to.warehouse.execute(
            f"DELETE FROM {self._states} WHERE {self._of_run} AND state = '{REFUSED}' AND {to.lease_condition(first)}",
            statement_id(run.operations_dataset, to.qualified(first), run.run_id, run.token, "forgotten"),
        )

    @property
    def _of_run(self) -> str:
        """The condition of the rows of this run in the partitions that may have some."""
        since = (self.to.run.started_at - CLOCK_MARGIN).isoformat()
        return f"run_id = {self._run_id} AND replayed_at >= TIMESTAMP '{since}'"

    def _insert(self, select: str, job: str, unless: str = "TRUE") -> None:
        """Insert what a letter has no row of this run for that meets the condition `unless`."""
        into = ", ".join(quote(field.name) for field in REPLAYED.fields)
        self.to.warehouse.execute(
            f"INSERT INTO {self._states} ({into})\n{select} AND NOT EXISTS (SELECT 1 FROM {self._states} AS done"
            f" WHERE {self._of_run} AND done.dead_letter_id = letter.dead_letter_id AND {unless})",
            job,
        )


def _staged(to: Destination, files: Sequence[DeadLetterFile]) -> str:
    """Load files of dead letters into a staging table, once, and return its name."""
    run, dataset = to.run, to.run.operations_dataset
    spec = spec_of(DEAD_LETTERS, dataset)
    uris = [file.uri for file in files]
    staging = replace(spec, name=f"{staging_prefix(run.run_id, to.datasets.values())}dead_letters_{digest(*uris)}")
    schema = [as_loaded(field) for field in spec.schema]
    to.warehouse.create_staging(replace(staging, schema=tuple(schema)), STAGING_LIFETIME)
    job = load_id(run.run_id, spec.name, f"{dataset}.{staging.name}", uris)
    to.warehouse.load(uris, dataset, staging.name, schema, job)
    return staging.name


def _value(name: str) -> str:
    value = f"incoming_row.{quote(name)}"
    return f"PARSE_JSON({value})" if name == "attributes" else value
