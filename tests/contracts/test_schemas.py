"""Schemas and DDL of a table: one table, several spellings of the same facts."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlglot
from google.cloud.bigquery import SchemaField
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from contracts.documentation import markdown
from contracts.errors import Misuse
from contracts.odcs import shipped
from contracts.schemas import LINEAGE, arrow_schema, bigquery_schema, ddl, quote
from contracts.table import Column, Kind, Table, UnknownFields

ORDERS = Table(
    name="orders",
    columns=(
        Column("order_id", Kind.STRING, required=True, description="Identifies the order"),
        Column("ordered_on", Kind.DATE),
        Column("ordered_at", Kind.TIMESTAMP),
        Column("amount", Kind.NUMERIC, minimum=Decimal(0)),
        Column("weight", Kind.FLOAT),
        Column("units", Kind.INTEGER),
        Column("paid", Kind.BOOLEAN),
        Column("tags", Kind.STRING, repeated=True),
        Column(
            "lines",
            Kind.RECORD,
            required=True,
            repeated=True,
            fields=(Column("sku", Kind.STRING, required=True), Column("prices", Kind.NUMERIC, repeated=True)),
        ),
        Column("address", Kind.RECORD, fields=(Column("city", Kind.STRING, description="City | town"),)),
        Column("total", Kind.NUMERIC, derived="amount *\n units"),
    ),
    primary_key=("order_id",),
    partition="ordered_on",
    clustering=("order_id", "paid"),
    unknown_fields=UnknownFields.KEEP,
    description="Orders, with their lines",
)
TABLES = {**shipped(), "orders": ORDERS}


def parsed(table: Table) -> exp.Create:
    """The table's DDL as BigQuery's grammar reads it: exactly one statement."""
    (statement,) = sqlglot.parse(ddl(table, "example.com:shop", "sales"), read="bigquery")
    assert isinstance(statement, exp.Create)
    return statement


def test_arrow_schema_of_every_kind() -> None:
    item = pa.struct([
        pa.field("sku", pa.string(), nullable=False),
        pa.field("prices", pa.list_(pa.field("item", pa.decimal128(38, 9), nullable=False))),
    ])  # fmt: skip
    fields: list[pa.Field[Any]] = [
        pa.field("order_id", pa.string(), nullable=False),
        pa.field("ordered_on", pa.date32()),
        pa.field("ordered_at", pa.timestamp("us", tz="UTC")),
        pa.field("amount", pa.decimal128(38, 9)),
        pa.field("weight", pa.float64()),
        pa.field("units", pa.int64()),
        pa.field("paid", pa.bool_()),
        pa.field("tags", pa.list_(pa.field("item", pa.string(), nullable=False))),
        pa.field("lines", pa.list_(pa.field("item", item, nullable=False)), nullable=False),
        pa.field("address", pa.struct([pa.field("city", pa.string())])),
        pa.field("total", pa.decimal128(38, 9)),
        pa.field("_extra", pa.string()),
        pa.field("_source", pa.string(), nullable=False),
        pa.field("_position", pa.int64(), nullable=False),
        pa.field("_hash", pa.int64(), nullable=False),
        pa.field("_run_id", pa.string(), nullable=False),
        pa.field("_ingested_at", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
    assert arrow_schema(ORDERS) == pa.schema(fields)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_schema_lists_the_same_columns_and_lineage_last(table: Table) -> None:
    extra = ["_extra"] if table.unknown_fields is UnknownFields.KEEP else []
    names = [column.name for column in table.columns] + extra + [column.name for column in LINEAGE]
    assert arrow_schema(table).names == names
    assert [field.name for field in bigquery_schema(table)] == names
    assert [column.name for column in parsed(table).this.expressions] == names


def test_bigquery_schema_has_types_modes_descriptions_and_fields() -> None:
    found = {field.name: field for field in bigquery_schema(ORDERS)}
    assert found["order_id"] == SchemaField("order_id", "STRING", "REQUIRED", description="Identifies the order")
    assert found["total"] == SchemaField("total", "NUMERIC", "NULLABLE")
    assert found["tags"] == SchemaField("tags", "STRING", "REPEATED")
    assert found["lines"] == SchemaField(
        "lines",
        "RECORD",
        "REPEATED",
        fields=(SchemaField("sku", "STRING", "REQUIRED"), SchemaField("prices", "NUMERIC", "REPEATED")),
    )
    assert found["_extra"].field_type == "JSON"
    assert [(f.name, f.field_type, f.mode) for f in bigquery_schema(ORDERS)[-5:]] == [
        ("_source", "STRING", "REQUIRED"),
        ("_position", "INTEGER", "REQUIRED"),
        ("_hash", "INTEGER", "REQUIRED"),
        ("_run_id", "STRING", "REQUIRED"),
        ("_ingested_at", "TIMESTAMP", "REQUIRED"),
    ]


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
    assert ddl(plain, "p", "d").splitlines()[-1] == ")"


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
        found = re.fullmatch(shape, line)
        assert found is not None
        assert json.loads(found[1]) == text


@pytest.mark.parametrize("name", ["orders", "my-project", "example.com:shop", "9lives", "a" * 300])
def test_names_are_quoted(name: str) -> None:
    assert quote(name) == f"`{name}`"


@pytest.mark.parametrize(
    "name", ["", "a`b", "a b", "a.b", "a;b", "a\\", "a\n", "größe", "x` (id INT64); DROP TABLE y; --", "a:b:c", "--'"]
)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(Misuse, match="is not a name that BigQuery takes"):
        quote(name)


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
    with pytest.raises(Misuse):
        ddl(table, bad if place == "project" else "p", bad if place == "dataset" else "d")


def test_arrow_schema_survives_parquet_and_holds_what_polars_makes() -> None:
    moment = datetime(2024, 2, 29, 12, 30, 0, 123456, tzinfo=UTC)
    row = {
        "order_id": "o1",
        "ordered_on": date(2024, 2, 29),
        "ordered_at": moment,
        "amount": Decimal("99999999999999999999999999999.123456789"),
        "weight": 0.5,
        "units": -(2**63),
        "paid": True,
        "tags": ["a", "b"],
        "lines": [{"sku": "s", "prices": [Decimal("0.000000001")]}],
        "address": {"city": None},
        "total": None,
        "_extra": '{"a": 1}',
        "_source": "gs://b/orders.json",
        "_position": 0,
        "_hash": 2**63 - 1,
        "_run_id": "r",
        "_ingested_at": moment,
    }
    schema = arrow_schema(ORDERS)
    batch = pa.Table.from_pylist([row], schema=schema)
    stored = io.BytesIO()
    pq.write_table(batch, stored, compression="zstd")
    assert pq.read_table(io.BytesIO(stored.getvalue())).cast(schema).to_pylist() == [row]
    frame = pl.DataFrame(batch)
    assert frame.to_arrow().cast(schema).to_pylist() == [row]


def test_markdown_has_a_row_for_each_column_and_field() -> None:
    lines = markdown(ORDERS).splitlines()
    assert lines[:3] == ["## orders", "", "Orders, with their lines"]
    assert lines[4] == (
        "Data set `ecommerce_data`; primary key `order_id`; write disposition append; partitioned by day of "
        "`ordered_on`; clustered by `order_id`, `paid`; unknown fields: keep."
    )
    assert "| `order_id` | STRING | yes |  | Identifies the order |" in lines
    assert "| `amount` | NUMERIC |  | >= 0 |  |" in lines
    assert "| `lines` | ARRAY of RECORD | yes |  |  |" in lines
    assert "| `lines.prices` | ARRAY of NUMERIC |  |  |  |" in lines
    assert "| `address.city` | STRING |  |  | City \\| town |" in lines
    assert "| `total` | NUMERIC |  | = `amount * units` |  |" in lines
    assert len(lines) == 8 + len(ORDERS.columns) + 3


def test_markdown_states_every_rule_of_a_shipped_table() -> None:
    customers = markdown(TABLES["customers"])
    assert "| `email` | STRING | yes | an e-mail address | E-mail address (classification: personal) |" in customers
    assert "| `age` | INTEGER |  | >= 0; <= 130 |" in customers
    assert "one of `page_view`, `add_to_cart`" in markdown(TABLES["user_events"])
