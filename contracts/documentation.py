"""A table as people read it: what `Table` says, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from contracts.odcs import shipped
from contracts.table import Column, Table

__all__ = ["markdown", "tables"]

HEAD = """# The shipped tables

From `contracts/*.odcs.yaml`, by `python -m contracts.documentation`. Every table has lineage columns too: `_source`,
`_position`, `_hash`, `_run_id`, `_ingested_at`.

"""


def tables() -> str:
    """The shipped tables, as docs/tables.md has them."""
    return HEAD + "\n".join(map(markdown, shipped().values()))


def markdown(table: Table) -> str:
    """A heading, a line on keys and layout, and one row for each column (a field of a RECORD as `record.field`)."""
    lines = [f"## {table.name}", ""]
    if table.description:
        lines += [table.description, ""]
    facts = [f"primary key {_names(table.primary_key)}", f"write disposition {table.disposition.value}"]
    if table.partition is not None:
        facts.append(f"partitioned by day of `{table.partition}`")
    if table.clustering:
        facts.append(f"clustered by {_names(table.clustering)}")
    if table.version_by is not None:
        facts.append(f"the greatest `{table.version_by}` of a key is kept")
    facts.append(f"unknown fields: {table.unknown_fields.value}")
    lines += [f"Data set `{table.dataset}`; {'; '.join(facts)}.", ""]
    lines += ["| column | type | required | rules | description |", "| --- | --- | --- | --- | --- |"]
    lines += [_row(path, column) for path, column in _walk(table.columns)]
    return "\n".join(lines) + "\n"


def _walk(columns: tuple[Column, ...], prefix: str = "") -> Iterator[tuple[str, Column]]:
    for column in columns:
        yield prefix + column.name, column
        yield from _walk(column.fields, f"{prefix}{column.name}.")


def _row(path: str, column: Column) -> str:
    kind = f"ARRAY of {column.kind.value}" if column.repeated else column.kind.value
    cells = (f"`{path}`", kind, "yes" if column.required else "", "; ".join(_rules(column)), column.description)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _rules(column: Column) -> Iterator[str]:
    if column.derived is not None:
        yield f"= `{' '.join(column.derived.split())}`"
    elif column.source:
        yield f"from `{'.'.join(column.source)}`"
    if column.enum:
        yield f"one of {_names(column.enum)}"
    if column.email:
        yield "an e-mail address"
    if column.pattern is not None:
        yield f"matches `{column.pattern}`"
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
