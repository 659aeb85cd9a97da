"""CREATE statements: all of a table's facts, in BigQuery's grammar, and nothing that breaks out of it."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from connectors.bigquery.ddl import create_schema, create_table
from connectors.sinks.destination import table_spec
from connectors.sinks.merge import merge_statement
from contracts.errors import UsageError
from contracts.odcs.tables import shipped
from contracts.schemas import stored_columns
from contracts.table import Column, Kind, PartitionBy, Table, WriteDisposition
from tests.contracts.orders import ORDERS

TABLES = {**shipped(), "orders": ORDERS}


def ddl(table: Table, project: str, dataset: str) -> str:
    return create_table(project, table_spec(table, dataset))


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_statement_of_bigquery_with_every_column(table: Table) -> None:
    (statement,) = sqlglot.parse(ddl(table, "example.com:shop", "sales"), read="bigquery")
    assert isinstance(statement, exp.Create)
    assert [column.name for column in statement.this.expressions] == [each.name for each in stored_columns(table)]


def test_ddl_spells_the_whole_table() -> None:
    assert ddl(ORDERS, "example.com:shop", "sales").splitlines() == [
        "CREATE TABLE IF NOT EXISTS `example.com:shop`.`sales`.`orders` (",
        '  `order_id` STRING NOT NULL OPTIONS (description = "Identifies the order"),',
        "  `ordered_on` DATE,",
        "  `ordered_at` TIMESTAMP,",
        "  `amount` NUMERIC,",
        "  `weight` FLOAT64,",
        "  `units` INT64,",
        "  `paid` BOOL,",
        "  `tags` ARRAY<STRING>,",
        "  `lines` ARRAY<STRUCT<`sku` STRING NOT NULL, `prices` ARRAY<NUMERIC>>>,",
        '  `address` STRUCT<`city` STRING OPTIONS (description = "City | town")>,',
        "  `total` NUMERIC,",
        '  `_extra` JSON OPTIONS (description = "The fields that the contract does not name, as JSON"),',
        '  `_source` STRING NOT NULL OPTIONS (description = "URI of the file, or kafka://topic/partition"),',
        '  `_position` INT64 NOT NULL OPTIONS (description = "Byte offset or row number in a file; Kafka offset"),',
        '  `_hash` INT64 NOT NULL OPTIONS (description = "64 bits of the digest of the primary key"),',
        '  `_run_id` STRING NOT NULL OPTIONS (description = "The run that wrote the row"),',
        '  `_ingested_at` TIMESTAMP NOT NULL OPTIONS (description = "When the row was written, UTC")',
        ")",
        "PARTITION BY `ordered_on`",
        "CLUSTER BY `order_id`, `paid`",
        'OPTIONS (description = "Orders, with their lines")',
    ]


def test_ddl_partitions_a_timestamp_by_day() -> None:
    assert "PARTITION BY TIMESTAMP_TRUNC(`transaction_date`, DAY)" in ddl(TABLES["transactions"], "p", "d")


def test_ddl_leaves_out_what_the_table_has_not() -> None:
    plain = Table("plain", (Column("id", Kind.STRING, required=True),), ("id",))
    assert ddl(plain, "p", "d").splitlines()[-2:] == [")", "CLUSTER BY `_ingested_at`"]


LITERAL = r'"(?:[^"\\\x00-\x1f]|\\["\\bfnrt]|\\u00[01][0-9a-f])*"'
"""A string of GoogleSQL on one line, with those of its escapes that it shares with JSON."""


@given(text=st.text(min_size=1, max_size=80))
def test_no_description_breaks_out_of_its_literal(text: str) -> None:
    table = Table("t", (Column("id", Kind.STRING, required=True, description=text),), ("id",), description=text)
    lines = ddl(table, "p", "d").split("\n")
    for line, shape in (
        (lines[1], rf"  `id` STRING NOT NULL OPTIONS \(description = ({LITERAL})\),"),
        (lines[-1], rf"OPTIONS \(description = ({LITERAL})\)"),
    ):
        result = re.fullmatch(shape, line)
        assert result is not None
        assert json.loads(result[1]) == text


def test_a_data_set_is_made_in_its_location() -> None:
    assert create_schema("p", "sales", 'E"U') == (
        'CREATE SCHEMA IF NOT EXISTS `p`.`sales` OPTIONS (location = "E\\"U")'
    )


@pytest.mark.parametrize("place", ["table", "column", "field", "partition", "clustering", "project", "dataset"])
def test_ddl_of_a_table_that_no_loader_checked_refuses_names_that_break_out(place: str) -> None:
    bad = "x`; DROP TABLE y; --"
    field = Column(bad if place == "field" else "f", Kind.STRING)
    day = Column(bad if place == "partition" else "day", Kind.DATE)
    table = Table(
        name=bad if place == "table" else "t",
        columns=(
            Column(bad if place == "column" else "id", Kind.STRING),
            day,
            Column("r", Kind.RECORD, fields=(field,)),
        ),
        primary_key=("id",),
        partition=day.name,
        clustering=(bad if place == "clustering" else "id",),
    )
    with pytest.raises(UsageError):
        ddl(table, bad if place == "project" else "p", bad if place == "dataset" else "d")


@pytest.mark.parametrize(
    ("kind", "by", "layout"),
    [
        (Kind.DATE, PartitionBy.DAY, "PARTITION BY `at`"),
        (Kind.DATE, PartitionBy.MONTH, "PARTITION BY DATE_TRUNC(`at`, MONTH)"),
        (Kind.TIMESTAMP, PartitionBy.HOUR, "PARTITION BY TIMESTAMP_TRUNC(`at`, HOUR)"),
        (Kind.DATETIME, PartitionBy.YEAR, "PARTITION BY DATETIME_TRUNC(`at`, YEAR)"),
    ],
)
def test_partitions_in_sql(kind: Kind, by: PartitionBy, layout: str) -> None:
    columns = (Column("id", Kind.INTEGER, required=True), Column("at", kind))
    table = Table("t", columns, ("id",), partition="at", partition_by=by)
    assert ddl(table, "p", "d").splitlines()[-2:] == [layout, "CLUSTER BY `_ingested_at`"]
    guarded = replace(table, partition_expiration_days=30, require_partition_filter=True)
    assert ddl(guarded, "p", "d").splitlines()[-3:] == [
        layout,
        "CLUSTER BY `_ingested_at`",
        "OPTIONS (partition_expiration_days = 30, require_partition_filter = TRUE)",
    ]
    condition = f"(existing_row.`at` >= {kind.value} '0001-01-01' OR existing_row.`at` IS NULL)"
    for disposition in WriteDisposition:
        statement = merge_statement(replace(guarded, disposition=disposition), "t", "s", "TRUE")
        assert condition in statement
        assert "0001" not in merge_statement(replace(table, disposition=disposition), "t", "s", "TRUE")


def test_types_with_parameters_in_sql() -> None:
    columns = (
        Column("n", Kind.NUMERIC, precision=10, scale=2),
        Column("b", Kind.BIGNUMERIC, repeated=True, precision=40),
        Column("s", Kind.STRING, length=5),
    )
    lines = ddl(Table("t", columns, ()), "p", "d").splitlines()[1:4]
    assert [line.strip(" ,") for line in lines] == [
        "`n` NUMERIC(10, 2)",
        "`b` ARRAY<BIGNUMERIC(40, 0)>",
        "`s` STRING(5)",
    ]
