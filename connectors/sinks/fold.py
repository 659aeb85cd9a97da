"""The statement that folds the changes of a table into it: of each key the row of its newest change, or none.

What a key's newest change is depends on the changes alone, not on when they are folded. A tombstone ends the changes
before it: those below it in its partition, and those of other partitions with an earlier time. Of the others the one
with the greatest `versionBy` counts, and of these the latest. Within a partition the offset says what is later; between
partitions Kafka's timestamp, and of equal ones the name of the partition.

The statement may run again, at any time and over any part of the changes that it has read before, with the same result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from google.cloud.bigquery import SchemaField

from connectors.sinks.staging import from_staging
from contracts.changes import DELETED, TIMESTAMP, TOPIC_ID
from contracts.lineage import INGESTED_AT, POSITION, SOURCE
from contracts.schemas import any_partition, bigquery_schema, quote, stored_columns
from contracts.table import Column, Table

__all__ = ["fold_statement", "pending_query", "since_condition"]

ENDED = "_ended"
"""When the last tombstone of a key was appended."""
BELOW = "_below"
"""The offset of the last tombstone of the key in the partition of the change."""


def since_condition(folded: Mapping[str, int], change: str = "change_row") -> str:
    """Return the condition of the changes that may not be folded yet, at or above the offsets `folded`.

    Partitions that are not among them have not been folded at all.
    """
    if not folded:
        return "TRUE"
    names = ", ".join(f"'{source}'" for source in folded)
    above = [
        f"({change}.{SOURCE} = '{source}' AND {change}.{POSITION} >= {offset})" for source, offset in folded.items()
    ]
    return f"({' OR '.join(above)} OR {change}.{SOURCE} NOT IN ({names}))"


def fold_statement(
    table: Table, target: str, changes: str, lease: str, folded: Mapping[str, int], stored: Sequence[SchemaField] = ()
) -> str:
    """Return the MERGE. `target` and `changes` are quoted paths, `lease` is what `lease_condition` returns.

    `stored` are the columns of the target; () if they are those of a table that the contract has just made. `folded`
    has offsets of partitions; all changes below them were folded by an earlier statement.
    """
    found = {field.name.casefold(): field for field in stored or bigquery_schema(table)}
    by_column = {column.name: _value(column, found[column.name.casefold()]) for column in stored_columns(table)}
    into, values = ", ".join(map(quote, by_column)), ", ".join(by_column.values())
    updates = ", ".join(f"{quote(name)} = {value}" for name, value in by_column.items())
    return (
        f"MERGE {target} AS existing_row USING ({_newest(table, changes, lease, folded)}) AS incoming_row\n"
        f"ON {_same_key(table)}\n"
        f"WHEN MATCHED AND incoming_row.{DELETED} AND {_deletes()} THEN DELETE\n"
        f"WHEN MATCHED AND NOT incoming_row.{DELETED} AND {_wins(table)} THEN UPDATE SET {updates}\n"
        f"WHEN NOT MATCHED AND NOT incoming_row.{DELETED} THEN INSERT ({into}) VALUES ({values})"
    )


def pending_query(table: Table, target: str, changes: str) -> str:
    """Return the query of `n`, how many rows of the target a fold of all changes would change."""
    key = f"existing_row.{quote(table.primary_key[0])}"
    return (
        f"SELECT COUNT(*) AS n FROM ({_newest(table, changes, 'TRUE', {})}) AS incoming_row"
        f" LEFT JOIN {target} AS existing_row ON {_same_key(table)} WHERE IF(incoming_row.{DELETED},"
        f" {key} IS NOT NULL AND {_deletes()}, {key} IS NULL OR {_wins(table)})"
    )


def _same_key(table: Table) -> str:
    same = [f"existing_row.{quote(key)} = incoming_row.{quote(key)}" for key in table.primary_key]
    return " AND ".join([*same, *any_partition(table, "existing_row")])


def _value(column: Column, stored: SchemaField) -> str:
    return from_staging(column, f"incoming_row.{quote(column.name)}", stored, texts=False)


def _newest(table: Table, changes: str, lease: str, folded: Mapping[str, int]) -> str:
    """Return the query of the newest change of each key, if it may not be folded yet.

    All changes of the key are compared, in their narrow columns only; the others are read of the new changes.
    """
    key = ", ".join(quote(name) for name in table.primary_key)
    version = [quote(table.version_by)] if table.version_by and table.version_by not in table.primary_key else []
    by_version = f"{quote(table.version_by)} DESC NULLS LAST, " if table.version_by else ""
    narrow = ", ".join([key, *version, SOURCE, TOPIC_ID, POSITION, DELETED, INGESTED_AT])
    partition = f"PARTITION BY {key}, {SOURCE}, {TOPIC_ID}"
    # A clock that goes back does not change the order of a partition.
    time = f"MAX(GREATEST({TIMESTAMP}, 0)) OVER ({partition} ORDER BY {POSITION})"
    place = f"CONCAT(LPAD(CAST(_time AS STRING), 20, '0'), ' ', {SOURCE}, ' ', {TOPIC_ID})"
    timed = f"SELECT {narrow}, {time} AS _time FROM {changes}"
    placed = f"SELECT *, {place} AS _order FROM ({timed})"
    last = f"MAX(IF({DELETED}, {POSITION}, NULL)) OVER ({partition})"
    tombstone = f"MAX(IF({DELETED}, _order, NULL)) OVER (PARTITION BY {key})"
    ended = f"MAX(IF({DELETED}, {INGESTED_AT}, NULL)) OVER (PARTITION BY {key})"
    marked = f"SELECT *, {last} AS {BELOW}, {tombstone} AS _tombstone, {ended} AS {ENDED} FROM ({placed})"
    is_ended = f"{POSITION} < IFNULL({BELOW}, {POSITION}) OR _order < IFNULL(_tombstone, _order)"
    ranked = f"SELECT *, IF({DELETED}, 1, IF({is_ended}, 2, 0)) AS _rank FROM ({marked})"
    number = (
        f"ROW_NUMBER() OVER (PARTITION BY {key} ORDER BY _rank, {by_version}_order DESC, {POSITION} DESC) AS _number"
    )
    newest = f"SELECT {SOURCE}, {TOPIC_ID}, {POSITION}, {ENDED}, {BELOW}, {number} FROM ({ranked})"
    columns = ", ".join(f"change_row.{quote(column.name)}" for column in stored_columns(table))
    same_place = " AND ".join(f"change_row.{name} = newest.{name}" for name in (SOURCE, TOPIC_ID, POSITION))
    return (
        f"SELECT {columns}, change_row.{DELETED}, newest.{ENDED}, newest.{BELOW} FROM {changes} AS change_row"
        f" JOIN ({newest}) AS newest ON {same_place}"
        f" WHERE newest._number = 1 AND {lease} AND {since_condition(folded)}"
    )


SAME_SOURCE = f"existing_row.{SOURCE} = incoming_row.{SOURCE}"
IS_OTHER = (
    f"NOT ({SAME_SOURCE} AND incoming_row.{POSITION} = existing_row.{POSITION}"
    f" AND incoming_row.{INGESTED_AT} = existing_row.{INGESTED_AT})"
)
"""The stored row is not that of the change itself."""
ARRIVED_LATER = f"incoming_row.{INGESTED_AT} > existing_row.{INGESTED_AT}"
WAS_DELETED = (
    f"(IFNULL(existing_row.{INGESTED_AT} < incoming_row.{ENDED}, FALSE)"
    f" OR ({SAME_SOURCE} AND IFNULL(existing_row.{POSITION} < incoming_row.{BELOW}, FALSE)))"
)
"""The stored row is from before a tombstone of its key, so it is compared with nothing."""


def _deletes() -> str:
    """Return the condition that a tombstone is later than the stored row."""
    return f"({WAS_DELETED} OR ({SAME_SOURCE} AND incoming_row.{POSITION} > existing_row.{POSITION}))"


def _wins(table: Table) -> str:
    """Return the condition that a change is newer than the stored row.

    The stored row is of an earlier change, or a batch has written it. `_ingested_at` of the one is when its change was
    appended, of the other when its statement ran.
    """
    later = f"({ARRIVED_LATER} OR ({SAME_SOURCE} AND incoming_row.{POSITION} > existing_row.{POSITION}))"
    if table.version_by is None:
        return f"{IS_OTHER} AND ({WAS_DELETED} OR {later})"
    stored, incoming = (f"{row}.{quote(table.version_by)}" for row in ("existing_row", "incoming_row"))
    return (
        f"{IS_OTHER} AND ({WAS_DELETED} OR {incoming} > {stored} OR ({stored} IS NULL AND {incoming} IS NOT NULL)"
        f" OR ({incoming} IS NOT DISTINCT FROM {stored} AND {later}))"
    )
