"""Patches of bqemulator 1.4.0 for columns, mainly nested ones, which it refuses or misreads."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import duckdb
import pyarrow as pa
from bqemulator.api.routes import tables as table_routes
from bqemulator.api.routes.tabledata import _build_arrow_schema
from bqemulator.api.routes.tables import _field_to_rest
from bqemulator.catalog.duckdb_repository import DuckDBCatalogRepository
from bqemulator.catalog.models import TableMeta
from bqemulator.domain.errors import ValidationError
from bqemulator.grpc_api import read_servicer, write_servicer
from bqemulator.sql.rules.numeric_types import ParseBignumericRule
from bqemulator.storage import arrow_bridge, type_map
from bqemulator.storage.sql_identifiers import quoted_table_ref
from bqemulator.types import range_type
from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB

from local.bigquery.patching import patch

__all__ = ["apply", "columns"]

EMPTY = " DEFAULT []"
"""The value of an array column in rows that do not give one."""
BIGNUMERIC = "DECIMAL(38, 10)"
"""Upstream, DECIMAL(76, 38), which DuckDB refuses. Upstream takes more than 9 decimals for a BIGNUMERIC."""
QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|`[^`]*`")
"""A string literal or a quoted name in GoogleSQL."""
QUOTES = re.compile(r"[`\"'\\\0]")


def apply() -> None:
    """Apply all patches of columns."""
    quote_nested_names()
    store_added_columns()
    append_nested_fields()
    take_no_record_for_a_range()
    read_any_column()
    quote_what_duckdb_reserves()
    parse_bignumeric_exactly()


def columns(fields: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return names, not quoted, and DuckDB types for CREATE TABLE or ADD COLUMN, from the fields of a REST schema.

    An array without a value is empty, as in BigQuery; upstream it is null.
    """
    return [(name, kind + EMPTY if kind.endswith("[]") else kind) for name, kind in _types(fields)]


def quote_nested_names() -> None:
    """Upstream, names in a STRUCT are not quoted. A field called `at`, `end` or `group` is a syntax error in the DDL,
    and the answer is 500.
    """
    for module in (type_map, table_routes):
        patch(module, "bq_schema_to_duckdb_columns", lambda _: columns)


def store_added_columns() -> None:
    """Upstream, update_table changes the schema but not the table: queries and loads do not see the columns, or fields
    of a RECORD, that it adds.
    """

    def adding(update: Callable[..., TableMeta]) -> Callable[..., TableMeta]:
        def update_table(catalog: DuckDBCatalogRepository, table: TableMeta) -> TableMeta:
            known = catalog.get_table(table.project_id, table.dataset_id, table.table_id)
            if known is None or table.table_type != "TABLE" or known.schema_ == table.schema_:
                return update(catalog, table)
            target = quoted_table_ref(table.project_id, table.dataset_id, table.table_id)
            stored = {name.casefold(): kind for name, kind in _columns(known)}
            for name, kind in _columns(table):
                if name.casefold() not in stored:
                    catalog._engine.execute(f'ALTER TABLE {target} ADD COLUMN "{name}" {kind}')
                elif stored[name.casefold()] != kind:  # DuckDB matches the fields of records by name
                    new = kind.removesuffix(EMPTY)
                    catalog._engine.execute(f'ALTER TABLE {target} ALTER COLUMN "{name}" SET DATA TYPE {new}')
            return update(catalog, table)

        return update_table

    patch(DuckDBCatalogRepository, "update_table", adding)


def append_nested_fields() -> None:
    """Upstream, appended rows are converted to the columns of the table without the fields of a RECORD, so DuckDB gets
    a STRUCT with no fields; and BIGNUMERIC to decimals of 76 digits, which DuckDB has not.
    """

    def schema(table: TableMeta) -> pa.Schema:
        built = _build_arrow_schema([_field_to_rest(field) for field in table.schema_.fields])
        return pa.schema([field.with_type(_narrow(field.type)) for field in built])

    patch(write_servicer, "_table_arrow_schema", lambda _: schema)


def take_no_record_for_a_range() -> None:
    """Upstream, a RANGE is stored as a STRUCT of `start` and `end`, so a RECORD with these two fields, which is a
    natural one, is read back as a RANGE. No column of a contract is a RANGE.
    """
    for module in (range_type, arrow_bridge):
        patch(module, "detect_range_element", lambda _: lambda _: None)


def read_any_column() -> None:
    """Upstream, the Storage Read API refuses columns with `-` in their names, and conditions with a keyword such as
    DELETE anywhere, even in a name or a string. A stream from a topic called `delete-events` could not restart.
    """

    def without_texts(refuse_statements: Callable[[str], None]) -> Callable[[str], None]:
        return lambda condition: refuse_statements(QUOTED.sub("''", condition))

    def check_names(names: Sequence[str]) -> None:
        for name in names:
            if not name or QUOTES.search(name):
                raise ValidationError(f"Invalid column name: {name!r}")

    patch(read_servicer, "_reject_dangerous_filter", without_texts)
    patch(read_servicer, "_validate_column_names", lambda _: check_names)


def quote_what_duckdb_reserves() -> None:
    """Upstream, an unquoted name that is a keyword of DuckDB but not of GoogleSQL, such as `check` or `show`, is a
    syntax error in a query.
    """
    words = {word for (word,) in duckdb.sql("SELECT keyword_name FROM duckdb_keywords()").fetchall()}
    patch(DuckDB.Generator, "RESERVED_KEYWORDS", lambda known: known | words)


def parse_bignumeric_exactly() -> None:
    """Upstream, PARSE_BIGNUMERIC makes a binary float of its text."""

    def cast(_: object) -> Callable[..., exp.Expression]:
        return lambda _rule, node: exp.Cast(this=node.this.copy(), to=exp.DataType.build(BIGNUMERIC))

    patch(ParseBignumericRule, "rewrite", cast)


def _columns(table: TableMeta) -> list[tuple[str, str]]:
    return columns([_field_to_rest(field) for field in table.schema_.fields])


def _narrow(kind: Any) -> pa.DataType:
    """The type with decimals of 38 digits."""
    if pa.types.is_decimal256(kind):
        return pa.decimal128(38, 10)
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_narrow(field.type)) for field in kind])
    return pa.list_(kind.value_field.with_type(_narrow(kind.value_type))) if pa.types.is_list(kind) else kind


def _types(fields: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for field in fields:
        if field["type"].upper() in ("RECORD", "STRUCT"):
            inner = ", ".join(f'"{name}" {kind}' for name, kind in _types(field.get("fields", ())))
            yield field["name"], f"STRUCT({inner})" + ("[]" if field.get("mode", "").upper() == "REPEATED" else "")
        elif field["type"].upper() in ("BIGNUMERIC", "BIGDECIMAL"):
            yield field["name"], BIGNUMERIC + ("[]" if field.get("mode", "").upper() == "REPEATED" else "")
        else:
            yield from _upstream_columns([field])


_upstream_columns = type_map.bq_schema_to_duckdb_columns
