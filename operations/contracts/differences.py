"""What a change of contracts does to the tables that runs have made: the judgement of the next run, before it runs."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from google.cloud import bigquery

from connectors.bigquery.table_spec import incompatibilities, lacking
from connectors.sinks.destination import table_spec
from contracts.table import Column, Table

__all__ = ["Change", "Difference", "differences"]

PROJECT = "project"
TABLE_FACTS = (
    *("primary_key", "identity", "disposition", "version_by", "unknown_fields", "csv", "records_path", "files"),
    *("partition_expiration_days", "require_partition_filter", "rules"),
)
"""What of a table may change without a change of its schema."""
OF_THE_SCHEMA = ("name", "kind", "repeated", "fields", "precision", "scale", "length", "description")


class Change(enum.Enum):
    """What the next run does with a table."""

    SAME = "no change"
    COMPATIBLE = "compatible"
    ADDS = "adds a column"
    NEW = "adds a table"
    BREAKING = "breaking"
    """The run is refused."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How a table changes, and why."""

    table: str
    change: Change
    reasons: tuple[str, ...]


def differences(old: Mapping[str, Table], new: Mapping[str, Table]) -> list[Difference]:
    """Return one difference for each table of the old and the new contracts."""
    found = [_difference(old.get(name), table) for name, table in new.items()]
    gone = [name for name in old if name not in new]
    reason = "no contract has it any more: the table stays, and no run writes it"
    return [*found, *(Difference(name, Change.COMPATIBLE, (reason,)) for name in gone)]


def _difference(old: Table | None, new: Table) -> Difference:
    if old is None:
        return Difference(new.name, Change.NEW, (f"the next run creates it, with {len(new.columns)} columns",))
    if old.dataset != new.dataset:
        moved = f"the dataset was {old.dataset}, is {new.dataset}: the next run creates the table there"
        return Difference(new.name, Change.NEW, (moved, *_facts(old, new)))
    spec, existing = table_spec(new, new.dataset), _as_a_run_made_it(old)
    remarks = (*_facts(old, new), *_columns(old.columns, new.columns))
    if broken := incompatibilities(spec, existing):
        return Difference(new.name, Change.BREAKING, (*broken, *remarks))
    if added := lacking(spec, existing):
        names = [f"column {path} {field.field_type} is added; older rows have NULL there" for path, field in added]
        return Difference(new.name, Change.ADDS, (*names, *remarks))
    return Difference(new.name, Change.COMPATIBLE if remarks else Change.SAME, remarks)


def _as_a_run_made_it(table: Table) -> bigquery.Table:
    spec = table_spec(table, table.dataset)
    made = bigquery.Table(f"{PROJECT}.{spec.dataset}.{spec.name}", schema=list(spec.schema))
    made.time_partitioning = spec.partitioning
    made.clustering_fields = list(spec.created_clustering) or None
    return made


def _facts(old: Table, new: Table) -> Iterator[str]:
    for name in TABLE_FACTS:
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            yield f"{name.replace('_', ' ')} was {_text(before)}, is {_text(after)}"
    if old.primary_key != new.primary_key:
        yield "another key changes what a duplicate is: load into a new dataset"


def _columns(old: Sequence[Column], new: Sequence[Column], at: str = "") -> Iterator[str]:
    after = {column.name.casefold(): column for column in new}
    for column in old:
        path, other = f"{at}{column.name}", after.get(column.name.casefold())
        if other is None:
            yield f"column {path} is gone from the contract: it stays in the table, and new rows have NULL there"
        else:
            yield from _rules(column, other, path)


def _rules(old: Column, new: Column, path: str) -> Iterator[str]:
    for field in dataclasses.fields(Column):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if field.name not in OF_THE_SCHEMA and before != after:
            yield f"column {path}: {field.name.replace('_', ' ')} was {_text(before)}, is {_text(after)}"
    yield from _columns(old.fields, new.fields, f"{path}.")


def _text(value: object) -> str:
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, tuple):
        return ", ".join(map(_text, value)) or "nothing"
    return "nothing" if value in (None, "") else str(value)
