"""A table as people read it: what `Table` says, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from contracts.odcs.tables import shipped
from contracts.table import Column, Identity, Table

__all__ = ["COLUMN_HEAD", "column_cells", "facts", "limits", "markdown", "tables"]

COLUMN_HEAD = ("column", "type", "required", "rules", "description")

HEAD = """# The shipped tables

From `contracts/*.odcs.yaml`, by `python -m contracts.odcs.documentation`. Every table has lineage columns too:
`_source`, `_position`, `_hash`, `_run_id`, `_ingested_at`.

"""


IDENTITIES = {
    Identity.POSITION: "no key: each record that is read is a row",
    Identity.RECORD: "no key: equal records are duplicates",
}


def tables() -> str:
    """The shipped tables, as docs/reference/tables.md has them."""
    return HEAD + "\n".join(map(markdown, shipped().values()))


def markdown(table: Table) -> str:
    """A heading, a line on keys and layout, and one row for each column (a field of a RECORD as `record.field`)."""
    lines = [f"## {table.name}", ""]
    if table.description:
        lines += [table.description, ""]
    lines += [f"Dataset `{table.dataset}`; {'; '.join(facts(table))}.", ""]
    lines += [f"| {' | '.join(COLUMN_HEAD)} |", "| --- | --- | --- | --- | --- |"]
    lines += [_row(cells) for cells in column_cells(table)]
    return "\n".join(lines) + "\n"


def facts(table: Table) -> list[str]:
    """What identifies a row, how the table is written, and how it is stored."""
    facts = [
        IDENTITIES.get(table.identity) or f"primary key {_names(table.primary_key)}",
        f"write disposition {table.disposition.value}",
    ]
    if table.partition is not None:
        facts.append(f"partitioned by {table.partition_by.value} of `{table.partition}`")
        if table.partition_expiration_days:
            facts.append(f"partitions are dropped after {table.partition_expiration_days} days")
        if table.require_partition_filter:
            facts.append("queries need a condition on it")
    if table.clustering:
        facts.append(f"clustered by {_names(table.clustering)}")
    if table.version_by is not None:
        facts.append(f"the greatest `{table.version_by}` of a key is kept")
    facts.append(f"unknown fields: {table.unknown_fields.value}")
    return facts


def column_cells(table: Table) -> Iterator[tuple[str, str, str, str, str]]:
    """For each column, and each field of a RECORD, the texts of COLUMN_HEAD."""
    for path, column in _walk(table.columns):
        kind = column.kind.value
        if column.precision is not None:
            kind += f"({column.precision}, {column.scale})"
        kind = f"ARRAY of {kind}" if column.repeated else kind
        rules = "; ".join(_rules(column))
        yield f"`{path}`", kind, "yes" if column.required else "", rules, column.description


def _walk(columns: tuple[Column, ...], prefix: str = "") -> Iterator[tuple[str, Column]]:
    for column in columns:
        yield prefix + column.name, column
        yield from _walk(column.fields, f"{prefix}{column.name}.")


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _rules(column: Column) -> Iterator[str]:
    yield from _origin(column)
    yield from limits(column)


def _origin(column: Column) -> Iterator[str]:
    """Where the value comes from, and in which form."""
    if column.derived is not None:
        yield f"= `{' '.join(column.derived.split())}`"
    elif column.source:
        yield f"from `{'.'.join(column.source)}`"
    if column.date_format is not None:
        yield f"in the format `{column.date_format.pattern}`"
    if column.epoch is not None:
        yield f"as {column.epoch.value} since 1970"
    if column.time_zone is not None:
        yield f"in {column.time_zone} unless it has a zone"
    if column.number_format is not None:
        group = f", groups by `{column.number_format.group}`" if column.number_format.group else ""
        yield f"with the decimal separator `{column.number_format.decimal}`{group}"


def limits(column: Column) -> Iterator[str]:
    """Yield the rules of a column's values, in words and Markdown."""
    if column.enum:
        yield f"one of {_names(column.enum)}"
    if column.email:
        yield "an e-mail address"
    if column.pattern is not None:
        yield f"matches `{column.pattern}`"
    if column.multiple_of is not None:
        yield f"a multiple of {column.multiple_of}"
    for label, bound in (
        ("length >=", column.min_length),
        ("length <=", column.max_length),
        (">=", column.minimum),
        ("<=", column.maximum),
        (">", column.exclusive_minimum),
        ("<", column.exclusive_maximum),
        ("from", column.earliest),
        ("to", column.latest),
    ):
        if bound is not None:
            yield f"{label} {bound}"


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    print(tables(), end="")
