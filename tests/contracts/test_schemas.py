"""Schemas of a table: one table, several spellings of the same facts."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.cloud.bigquery import SchemaField

from contracts.errors import UsageError
from contracts.lineage import LINEAGE
from contracts.odcs.documentation import markdown
from contracts.odcs.tables import shipped
from contracts.schemas import arrow_schema, bigquery_schema, quote
from contracts.table import Table, UnknownFields
from tests.contracts.orders import ORDERS

TABLES = {**shipped(), "orders": ORDERS}


def test_arrow_schema_of_every_kind() -> None:
    item = pa.struct(
        [
            pa.field("sku", pa.string(), nullable=False),
            pa.field("prices", pa.list_(pa.field("item", pa.decimal128(38, 9), nullable=False))),
        ]
    )
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


@pytest.mark.parametrize("name", ["orders", "my-project", "example.com:shop", "9lives", "a" * 300])
def test_names_are_quoted(name: str) -> None:
    assert quote(name) == f"`{name}`"


@pytest.mark.parametrize(
    "name", ["", "a`b", "a b", "a.b", "a;b", "a\\", "a\n", "größe", "x` (id INT64); DROP TABLE y; --", "a:b:c", "--'"]
)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is not a name that BigQuery takes"):
        quote(name)


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
        "Dataset `ecommerce_data`; primary key `order_id`; write disposition append; partitioned by day of "
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
