"""Types that are stored in another form than they are staged in: written by a batch and by a stream, and read back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from connectors.bigquery.append_stream import AppendStream
from connectors.bigquery.table_spec import TableSpec
from connectors.bigquery.warehouse import Warehouse
from connectors.files.storage import Storage
from connectors.google.clients import write_client
from connectors.retry import RetryPolicy
from connectors.sinks.append import as_batch
from connectors.sinks.destination import table_spec
from connectors.sinks.merge import merge_statement
from connectors.sinks.staging import as_loaded
from contracts.arrow_rows import arrow_rows
from contracts.decoding.decoder import HASH_LOW, Block, Decoder, Format
from contracts.errors import UsageError
from contracts.lineage import INGESTED_AT, RUN_ID, SOURCE
from contracts.schemas import arrow_schema, bigquery_schema
from contracts.table import Column, Kind, PartitionBy, Table, WriteDisposition
from local.services import Endpoints

pytestmark = pytest.mark.e2e
HELD = "TRUE"
"""A lease that is held."""
PROJECT, DATASET = "local-project", "types"
FIELDS = (
    *(Column("j", Kind.JSON), Column("t", Kind.TIME), Column("b", Kind.BYTES), Column("d", Kind.DATETIME)),
    *(Column("n", Kind.NUMERIC, precision=10, scale=2), Column("big", Kind.BIGNUMERIC)),
)
TABLE = Table(
    "types",
    (
        Column("id", Kind.INTEGER, required=True),
        *FIELDS,
        Column("s", Kind.STRING, length=5, max_length=5),
        Column("times", Kind.TIME, repeated=True),
        Column("jsons", Kind.JSON, repeated=True),
        Column("box", Kind.RECORD, fields=FIELDS),
        Column("boxes", Kind.RECORD, repeated=True, fields=FIELDS),
    ),
    ("id",),
    disposition=WriteDisposition.MERGE,
)
BOX = '{"j":{"a":[1,2.50]},"t":"12:30:00.5","b":"AP8=","d":"1582-10-10 00:00","n":12.345,"big":12345678901234567890.5}'
FULL = f'{{"id":1,"s":"abc","times":["12:00"],"jsons":[{{"x":1}},"y"],"box":{BOX},"boxes":[{BOX},{{}}],{BOX[1:]}'
STORED = {
    "j": '{"a":[1,2.5]}',
    "t": time(12, 30, 0, 500_000),
    "b": b"\x00\xff",
    "d": datetime(1582, 10, 10),
    "n": Decimal("12.35"),
    "big": Decimal("12345678901234567890.5"),
}
NOTHING = dict.fromkeys(STORED)
EXPECTED = [
    {
        "id": 1,
        **STORED,
        "s": "abc",
        "times": [time(12)],
        "jsons": ['{"x":1}', '"y"'],
        "box": STORED,
        "boxes": [STORED, NOTHING],
    },
    {"id": 2, **NOTHING, "s": None, "times": [], "jsons": [], "box": None, "boxes": []},
]


@pytest.fixture(scope="module")
def warehouse(cloud: Endpoints) -> Iterator[Warehouse]:
    with pytest.MonkeyPatch.context() as environment:
        for name, value in cloud.environment().items():
            environment.setenv(name, value)
        of_cloud = Warehouse(PROJECT, "US")
        of_cloud.ensure_dataset(DATASET)
        yield of_cloud


def decoded() -> pl.DataFrame:
    block = Block("s", Format.JSON, [FULL.encode(), b'{"id":2}'], np.arange(2, dtype=np.int64))
    result = Decoder(TABLE, lambda: date(2024, 6, 1)).decode(block)
    assert result.refusals == []
    return result.rows.with_columns(pl.lit("s").alias(SOURCE), pl.lit("r").alias(RUN_ID)).drop(HASH_LOW)


def stored_rows(warehouse: Warehouse, name: str) -> list[dict[str, Any]]:
    names = [column.name for column in TABLE.columns]
    rows = warehouse.query(f"SELECT {', '.join(names)} FROM `{PROJECT}`.`{DATASET}`.`{name}` ORDER BY id")
    for row in rows:  # the client parses JSON at the top, but not in arrays and records
        row["j"] = None if row["j"] is None else json.dumps(row["j"], separators=(",", ":"))
    return rows


def test_a_batch_writes_every_type(warehouse: Warehouse) -> None:
    table = replace(TABLE, name="batch")
    warehouse.ensure_table(table_spec(table, DATASET))
    storage, sink = Storage(PROJECT), pa.BufferOutputStream()
    storage.client.create_bucket("types")
    decoded().write_parquet(sink)
    storage.write("gs://types/rows.parquet", sink.getvalue().to_pybytes())
    schema = [as_loaded(field) for field in bigquery_schema(table) if field.name != INGESTED_AT]
    spec = TableSpec(DATASET, "staging_types", tuple(schema))
    warehouse.ensure_table(spec)
    warehouse.load(["gs://types/rows.parquet"], DATASET, spec.name, schema, "load-types")
    paths = [f"`{PROJECT}`.`{DATASET}`.`{name}`" for name in ("batch", "staging_types")]
    for attempt, changed in (("first", 2), ("second", 0)):
        job = warehouse.execute(merge_statement(table, paths[0], paths[1], HELD), f"merge-types-{attempt}")
        assert job.num_dml_affected_rows == changed
        assert stored_rows(warehouse, "batch") == EXPECTED
    assert warehouse.check_table(table_spec(table, DATASET)) is not None


def test_a_stream_writes_every_type(warehouse: Warehouse) -> None:
    table = replace(TABLE, name="stream")
    warehouse.ensure_table(table_spec(table, DATASET))
    now = pl.lit(datetime(2024, 5, 1, tzinfo=UTC), dtype=pl.Datetime("us", "UTC"))
    batch = as_batch(arrow_rows(decoded().with_columns(now.alias(INGESTED_AT)), arrow_schema(table)))
    client = write_client()
    path = f"projects/{PROJECT}/datasets/{DATASET}/tables/{table.name}"
    stream = AppendStream.create(client, path, batch.schema, RetryPolicy(deadline=5))
    try:
        assert stream.append(batch) == {}
    finally:
        stream.close()
        client.transport.close()
    assert stored_rows(warehouse, "stream") == EXPECTED


def test_a_table_is_partitioned_as_its_contract_says(warehouse: Warehouse) -> None:
    """The expiration of an existing table changes; the span does not."""
    table = replace(TABLE, name="partitioned", partition="d", partition_by=PartitionBy.MONTH)
    warehouse.ensure_table(table_spec(table, DATASET))
    changed = replace(table, partition_expiration_days=30, require_partition_filter=True)
    warehouse.ensure_table(table_spec(changed, DATASET))
    stored = warehouse.existing(DATASET, table.name)
    assert stored is not None
    layout = stored.time_partitioning
    assert (layout.type_, layout.field, layout.expiration_ms) == ("MONTH", "d", 30 * 86_400_000)
    with pytest.raises(UsageError, match="it is partitioned by month of d, the contract says by year"):
        warehouse.ensure_table(table_spec(replace(changed, partition_by=PartitionBy.YEAR), DATASET))
