"""The bookkeeping tables: what existing datasets hold stays, and all schemas say the same."""

from __future__ import annotations

import pyarrow as pa
import pytest
import sqlglot
from sqlglot import exp

from connectors.bigquery.ddl import create_table
from connectors.bookkeeping.specs import spec_of
from connectors.bookkeeping.stream_ledger import LINE
from contracts.bookkeeping import DEAD_LETTERS, LEDGER, TABLES, BookkeepingTable
from transforms.dead_letters import DEAD_LETTER

IN_EXISTING_DATASETS = {
    "ledger": (
        "run_id STRING!, pipeline STRING!, kind STRING!, state STRING, table STRING, source STRING,"
        " generation INTEGER, size INTEGER, first_offset INTEGER, last_offset INTEGER, read INTEGER, staged INTEGER,"
        " written INTEGER, duplicate INTEGER, dead_letter INTEGER, dead_letter_by_code JSON, detail JSON,"
        " pipeline_version STRING, started_at TIMESTAMP, recorded_at TIMESTAMP!, dataset STRING, cluster STRING,"
        " topic_id STRING, first_recorded_at TIMESTAMP; recorded_at; run_id"
    ),
    "dead_letters": (
        "dead_letter_id STRING!, table STRING!, source STRING!, position INTEGER!, stage STRING!, error_code STRING!,"
        " error_message STRING!, field STRING, recoverable BOOLEAN!, raw BYTES!, truncated BOOLEAN!, attributes JSON,"
        " contract_version STRING, pipeline_version STRING, run_id STRING!, retry_count INTEGER!,"
        " first_failed_at TIMESTAMP!, failed_at TIMESTAMP!; failed_at; table, error_code"
    ),
    "notices": "alarm STRING!, about STRING!, state STRING!, token STRING!, changed_at TIMESTAMP!; None; ",
    "leases": "table STRING!, run_id STRING, token STRING, until TIMESTAMP, earlier STRING; None; ",
    "heartbeats": "token STRING!, beat_at TIMESTAMP!; beat_at; ",
    "write_streams": (
        "table STRING!, lane STRING!, buckets INTEGER!, bucket INTEGER!, stream STRING!, run_id STRING!,"
        " created_at TIMESTAMP!; None; "
    ),
    "replayed_dead_letters": (
        "dead_letter_id STRING!, run_id STRING!, state STRING!, error_code STRING, error_message STRING, field STRING,"
        " contract_version STRING, replayed_at TIMESTAMP!; replayed_at; dead_letter_id"
    ),
}
"""Columns (! is required); partition; clustering."""
ARROW = {
    "STRING": pa.string(),
    "JSON": pa.string(),
    "INTEGER": pa.int64(),
    "BOOLEAN": pa.bool_(),
    "BYTES": pa.binary(),
    "TIMESTAMP": pa.timestamp("us", "UTC"),
}


def test_tables_of_existing_datasets_stay() -> None:
    now = {}
    for table in TABLES:
        spec = spec_of(table, "d")
        columns = ", ".join(f"{c.name} {c.field_type}{'!' * (c.mode == 'REQUIRED')}" for c in spec.schema)
        now[table.name] = f"{columns}; {spec.partition}; {', '.join(spec.clustering)}"
    assert now == IN_EXISTING_DATASETS


@pytest.mark.parametrize("table", TABLES, ids=lambda table: str(table.name))
def test_arrow_bigquery_and_ddl_agree(table: BookkeepingTable) -> None:
    spec = spec_of(table, "d")
    expected = pa.schema([pa.field(c.name, ARROW[c.field_type], nullable=c.mode != "REQUIRED") for c in spec.schema])
    assert table.arrow_schema() == expected
    (statement,) = sqlglot.parse(create_table("p", spec), read="bigquery")
    assert isinstance(statement, exp.Create)
    assert [column.name for column in statement.this.expressions] == expected.names
    assert all(column.description for column in spec.schema)


def test_what_the_pipelines_append_has_the_columns_of_its_table() -> None:
    assert DEAD_LETTERS.arrow_schema() == DEAD_LETTER
    assert LEDGER.arrow_schema(LINE.names) == LINE
