"""The changes of a table that a stream of updates feeds: the stream appends them, and folds them into the table."""

from __future__ import annotations

from dataclasses import replace

from contracts.lineage import INGESTED_AT
from contracts.table import Column, Identity, Kind, Table, WriteDisposition

__all__ = ["DELETED", "SUFFIX", "TIMESTAMP", "TOPIC_ID", "changes_of", "takes_updates"]

SUFFIX = "_changes"
DELETED = "_deleted"
TIMESTAMP = "_timestamp"
TOPIC_ID = "_topic_id"
OF_CHANGES = (
    Column(DELETED, Kind.BOOLEAN, required=True, description="Whether the record is a tombstone: it has only a key"),
    Column(TIMESTAMP, Kind.INTEGER, required=True, description="Kafka's timestamp, in milliseconds since 1970"),
    Column(
        TOPIC_ID, Kind.STRING, required=True, description="The id of the topic, which a recreated one does not share"
    ),
)


def takes_updates(table: Table) -> bool:
    """Whether a stream into the table appends changes, which are then merged into it."""
    return table.disposition is WriteDisposition.MERGE


def changes_of(table: Table) -> Table:
    """The table of the changes of `table`: a row for each record, also for one without a value.

    Only the columns of the key are required. `_hash` is that of the key.
    """
    return Table(
        name=table.name + SUFFIX,
        columns=(
            *(replace(column, required=column.name in table.primary_key) for column in table.columns),
            *OF_CHANGES,
        ),
        primary_key=(),
        identity=Identity.POSITION,
        partition=INGESTED_AT,
        clustering=("_source", "_position"),
        unknown_fields=table.unknown_fields,
        dataset=table.dataset,
        contract_id=table.contract_id,
        contract_version=table.contract_version,
        description=f"The changes of {table.name} as a stream has read them",
    )
