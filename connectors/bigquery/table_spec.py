"""What a table is to be, and how the existing one differs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from google.cloud import bigquery

__all__ = ["Added", "TableSpec", "extended", "incompatibilities", "lacking", "nullable", "partition_changes"]

MILLISECONDS_A_DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class TableSpec:
    """The specification of a table: `dataset.name`, schema, partitioning and clustering."""

    dataset: str
    name: str
    schema: tuple[bigquery.SchemaField, ...]
    partition: str | None = None
    clustering: tuple[str, ...] = ()
    """What the contract says; () if it says nothing."""
    description: str = ""
    days: int | None = None
    """After how many days BigQuery drops a partition; None: never."""
    partition_type: str = "DAY"
    """DAY, HOUR, MONTH or YEAR."""
    require_filter: bool = False
    """Whether a query must have a condition on the partition column."""
    default_clustering: tuple[str, ...] = ()
    """Of a new table for which the contract says nothing."""

    @property
    def created_clustering(self) -> tuple[str, ...]:
        """The clustering of a new table."""
        return self.clustering or self.default_clustering

    @property
    def partitioning(self) -> bigquery.TimePartitioning | None:
        """The partitioning in terms of the client; None if there is none."""
        if not self.partition:
            return None
        expiration = self.days and self.days * MILLISECONDS_A_DAY
        return bigquery.TimePartitioning(self.partition_type, self.partition, expiration)


class Added(NamedTuple):
    """A column that a table lacks. `path` is its name, with those of the objects around it: `box.depth`."""

    path: str
    field: bigquery.SchemaField


def lacking(spec: TableSpec, table: bigquery.Table) -> list[Added]:
    """Return the columns of the contract, at any depth, that are missing in the table: they can be added."""
    return list(_lacking(spec.schema, table.schema, ""))


def _lacking(
    wanted: Sequence[bigquery.SchemaField], actual: Sequence[bigquery.SchemaField], at: str
) -> Iterator[Added]:
    existing = {field.name.casefold(): field for field in actual}
    for field in wanted:
        other = existing.get(field.name.casefold())
        if other is None:
            yield Added(at + field.name, field)
        else:
            yield from _lacking(field.fields, other.fields, f"{at}{other.name}.")


def extended(
    wanted: Sequence[bigquery.SchemaField], actual: Sequence[bigquery.SchemaField]
) -> list[bigquery.SchemaField]:
    """Return the columns of the table in their order, then those that it lacks; the same inside of each object."""
    added = {field.name.casefold(): field for field in wanted}
    fields = []
    for field in actual:
        other = added.pop(field.name.casefold(), None)
        inner = extended(other.fields, field.fields) if other else list(field.fields)
        fields.append(field if inner == list(field.fields) else _changed(field, fields=inner))
    return [*fields, *map(nullable, added.values())]


def nullable(field: bigquery.SchemaField) -> bigquery.SchemaField:
    """Return the field without REQUIRED, at any depth: what is added later has no value in older rows."""
    inner = list(map(nullable, field.fields))
    mode = "NULLABLE" if field.mode == "REQUIRED" else field.mode
    return field if (mode, inner) == (field.mode, list(field.fields)) else _changed(field, mode=mode, fields=inner)


def _changed(
    field: bigquery.SchemaField, fields: Sequence[bigquery.SchemaField], mode: str | None = None
) -> bigquery.SchemaField:
    inner = {"fields": [each.to_api_repr() for each in fields]} if fields else {}
    return bigquery.SchemaField.from_api_repr({**field.to_api_repr(), "mode": mode or field.mode, **inner})


def incompatibilities(spec: TableSpec, table: bigquery.Table) -> list[str]:
    """Return the differences between a table and its contract that adding columns does not resolve."""
    differences: list[str] = []
    existing = {field.name.casefold(): field for field in table.schema}
    for field in spec.schema:
        other = existing.pop(field.name.casefold(), None)
        if other is not None:
            differences += _field_differences(field, other, field.name)
    differences += [_REQUIRED.format(extra.name) for extra in existing.values() if extra.mode == "REQUIRED"]
    partition = table.time_partitioning.field if table.time_partitioning else None
    if partition != spec.partition:
        differences.append(f"it is partitioned by {partition}, the contract says {spec.partition}")
    elif partition and table.time_partitioning.type_ != spec.partition_type:
        spans = [span.lower() for span in (table.time_partitioning.type_, spec.partition_type)]
        differences.append(f"it is partitioned by {spans[0]} of {partition}, the contract says by {spans[1]}")
    clustered = tuple(table.clustering_fields or ())
    by_default = not spec.clustering and clustered == spec.default_clustering
    if clustered != spec.clustering and not by_default:
        clustering = [", ".join(names or ()) or "nothing" for names in (table.clustering_fields, spec.clustering)]
        differences.append(f"it is clustered by {clustering[0]}, the contract says {clustering[1]}")
    return differences


def partition_changes(spec: TableSpec, table: bigquery.Table) -> list[str]:
    """Return the properties of the table to change: expiration and required filter, if the contract states them."""
    existing, wanted = table.time_partitioning, spec.partitioning
    if not wanted or not existing:
        return []
    changed = ["time_partitioning"] if spec.days and existing.expiration_ms != wanted.expiration_ms else []
    if spec.require_filter and not table.require_partition_filter:
        changed.append("require_partition_filter")
    return changed


_REQUIRED = "the table requires column {}, which the contract does not have"
_SAME_TYPE = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD", "DECIMAL": "NUMERIC"}


def _field_differences(wanted: bigquery.SchemaField, actual: bigquery.SchemaField, path: str) -> list[str]:
    types = [_SAME_TYPE.get(field.field_type, field.field_type) for field in (wanted, actual)]
    if types[0] != types[1]:
        return [f"column {path} is {types[1]}, the contract says {types[0]}"]
    if (wanted.mode == "REPEATED") != (actual.mode == "REPEATED"):
        return [f"column {path} is {actual.mode}, the contract says {wanted.mode}"]
    if actual.mode == "REQUIRED" and wanted.mode != "REQUIRED":
        return [f"column {path} is REQUIRED, the contract allows null"]
    inner = {field.name.casefold(): field for field in actual.fields}
    differing: list[str] = []
    for field in wanted.fields:
        other = inner.pop(field.name.casefold(), None)
        if other is not None:
            differing += _field_differences(field, other, f"{path}.{field.name}")
    return [
        *differing,
        *(_REQUIRED.format(f"{path}.{extra.name}") for extra in inner.values() if extra.mode == "REQUIRED"),
    ]
