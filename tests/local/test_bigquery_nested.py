"""Nested data in the local BigQuery: every type, every reserved word as a name, at every depth, written in every way
that the pipeline writes and read back in every way that it reads. What is read is what was written.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import types
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.bigquery.append_stream import AppendStream
from connectors.bigquery.table_spec import lacking
from connectors.bigquery.warehouse import Warehouse
from connectors.files.storage import Storage
from connectors.google.clients import read_client, write_client
from connectors.retry import RetryPolicy
from connectors.sinks.destination import table_spec
from connectors.sinks.merge import merge_statement
from contracts.schemas import bigquery_schema, quote
from contracts.table import Column, Kind, Table, WriteDisposition
from local.services import Endpoints
from tests.local.nested_tables import (
    NEEDS_QUOTES,
    NEEDS_QUOTES_AFTER_A_DOT,
    SCALARS,
    batch_of,
    changed,
    deep_table,
    leaves,
    rows_of_table,
    words,
)

HELD = "TRUE"
"""A lease that is held."""
pytestmark = pytest.mark.e2e
PROJECT, DATASET = "local-project", "nested"
SIZE = 140
"""Names of one table."""
CHUNKS = [words()[start : start + SIZE] for start in range(0, len(words()), SIZE)]


@pytest.fixture(scope="module")
def warehouse(cloud: Endpoints) -> Iterator[Warehouse]:
    """The product's own clients, on the shared local cloud."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in cloud.environment().items():
            environment.setenv(name, value)
        found = Warehouse(PROJECT, "US")
        found.ensure_dataset(DATASET)
        yield found


def made(warehouse: Warehouse, table: Table) -> str:
    """Make the table; its path in SQL."""
    warehouse.ensure_table(table_spec(table, DATASET))
    return f"`{PROJECT}`.`{DATASET}`.{quote(table.name)}"


def append(table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Append as a stream does."""
    batch, client = batch_of(table, rows), write_client()
    path = f"projects/{PROJECT}/datasets/{DATASET}/tables/{table.name}"
    stream = AppendStream.create(client, path, batch.schema, RetryPolicy(deadline=5))
    try:
        assert stream.append(batch) == {}
    finally:
        stream.close()
        client.transport.close()


def read(table: Table, restriction: str = "") -> list[dict[str, Any]]:
    """Read as an index is restored: by the Storage Read API."""
    client = read_client()
    options = types.ReadSession.TableReadOptions(
        selected_fields=[column.name for column in table.columns], row_restriction=restriction
    )
    wanted = types.ReadSession(
        table=f"projects/{PROJECT}/datasets/{DATASET}/tables/{table.name}",
        data_format=types.DataFormat.ARROW,
        read_options=options,
    )
    session = client.create_read_session(parent=f"projects/{PROJECT}", read_session=wanted, retry=None)
    schema = pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema))
    pages = [
        pa.ipc.read_record_batch(pa.py_buffer(page.arrow_record_batch.serialized_record_batch), schema).to_pylist()
        for stream in session.streams
        for page in client.read_rows(stream.name, retry=None)
    ]
    client.transport.close()
    return sorted((row for page in pages for row in page), key=lambda row: str(row["_key"]))


def at(row: dict[str, Any], path: Sequence[str]) -> Any:
    """The value at a path; of nothing it is nothing."""
    value: Any = row
    for name in path:
        value = None if value is None else value[name]
    return value


def hold(warehouse: Warehouse, table: Table, path: str, rows: Sequence[dict[str, Any]]) -> None:
    """The table holds just these rows, by whatever way it is read."""
    names = [column.name for column in table.columns]
    wanted = [{name: row[name] for name in names} for row in rows]
    listed = warehouse.client.list_rows(warehouse.reference(DATASET, table.name))
    for found in (
        read(table),
        warehouse.query(f"SELECT * FROM {path} ORDER BY _key"),
        sorted(map(dict, listed), key=lambda row: str(row["_key"])),
    ):
        assert [{name: row[name] for name in names} for row in found] == wanted
    stored = warehouse.existing(DATASET, table.name)
    assert stored is not None
    assert {field.name: field.to_api_repr() for field in stored.schema} == {
        field.name: field.to_api_repr() for field in table_spec(table, DATASET).schema
    }


def staged(warehouse: Warehouse, table: Table, rows: Sequence[dict[str, Any]], attempt: str) -> str:
    """Load as a batch does: Parquet in a bucket into a staging table; its path in SQL."""
    storage = Storage(PROJECT)
    if not storage.client.bucket("nested").exists():
        storage.client.create_bucket("nested")
    uri, name = f"gs://nested/{table.name}/{attempt}.parquet", f"staging_{table.name}_{attempt}"
    sink = pa.BufferOutputStream()
    batch = batch_of(table, rows, without=["_ingested_at"])
    pq.write_table(pa.Table.from_batches([batch]), sink, compression="zstd")
    storage.write(uri, sink.getvalue().to_pybytes())
    schema = [field for field in bigquery_schema(table) if field.name != "_ingested_at"]
    warehouse.client.delete_table(warehouse.reference(DATASET, name), not_found_ok=True)
    warehouse.client.create_table(bigquery.Table(warehouse.reference(DATASET, name), schema=schema))
    warehouse.load([uri], DATASET, name, schema, f"load-{table.name}-{attempt}")
    return f"`{PROJECT}`.`{DATASET}`.{quote(name)}"


@pytest.mark.parametrize("chunk", range(len(CHUNKS)))
def test_a_stream_writes_every_name_at_every_depth(warehouse: Warehouse, chunk: int) -> None:
    table = deep_table(f"stream_{chunk}", CHUNKS[chunk], shift=chunk)
    path, rows = made(warehouse, table), rows_of_table(table, 6)
    append(table, rows[:4])
    append(table, rows[4:])
    hold(warehouse, table, path, rows)
    columns = list(leaves(table))
    picked = ", ".join(f"t.{'.'.join(map(quote, path))} AS c{number}" for number, (path, _) in enumerate(columns))
    found = warehouse.query(f"SELECT {picked} FROM {path} AS t ORDER BY _key")
    for number, (where, column) in enumerate(columns):
        values = [at(row, where) for row in rows]
        wanted = [[] if column.repeated and value is None else value for value in values]
        assert [row[f"c{number}"] for row in found] == wanted, where

    plain = [name for name in CHUNKS[chunk] if "-" not in name]
    alone = [name for name in plain if name.casefold() not in NEEDS_QUOTES]
    inside = [name for name in plain if name.casefold() not in NEEDS_QUOTES_AFTER_A_DOT]
    picked = ", ".join(
        [
            *(f"{name} AS a{n}" for n, name in enumerate(alone)),
            *(f"_object.{name} AS o{n}" for n, name in enumerate(inside)),
        ]
    )
    (row,) = warehouse.query(f"SELECT {picked} FROM {path} WHERE _key = 'key-0'")
    assert [row[f"a{number}"] for number in range(len(alone))] == [rows[0][name] for name in alone]
    assert [row[f"o{number}"] for number in range(len(inside))] == [rows[0]["_object"][name] for name in inside]
    for name in inside[:5]:  # and of each element of an array
        found = warehouse.query(f"SELECT e.{name} AS v FROM {path} AS t, UNNEST(_array) AS e WHERE _key = 'key-0'")
        values = [row["v"] for row in found]  # in any order
        for element in rows[0]["_array"]:
            values.remove(element[name])
        assert values == []


@pytest.mark.parametrize(
    ("chunk", "disposition"),
    [
        *((chunk, WriteDisposition.MERGE) for chunk in range(len(CHUNKS))),
        (0, WriteDisposition.APPEND),
        (1, WriteDisposition.REPLACE),
    ],
)
def test_a_batch_writes_every_name_at_every_depth(
    warehouse: Warehouse, chunk: int, disposition: WriteDisposition
) -> None:
    name = f"batch_{disposition.value}_{chunk}"
    table = replace(deep_table(name, CHUNKS[chunk], shift=chunk + 2), disposition=disposition)
    path, rows = made(warehouse, table), rows_of_table(table, 4, seed=chunk)

    def merge(rows: Sequence[dict[str, Any]], attempt: str) -> int:
        staging = staged(warehouse, table, rows, attempt)
        done = warehouse.execute(merge_statement(table, path, staging, HELD), f"merge-{table.name}-{attempt}")
        return int(done.num_dml_affected_rows or 0)

    assert merge(rows[:2], "first") == 2
    if disposition is WriteDisposition.REPLACE:
        merge(rows, "second")
    else:
        assert [merge(rows, "second"), merge(rows, "third")] == [2, 0]
    hold(warehouse, table, path, rows)
    if disposition is WriteDisposition.MERGE:
        others = changed(changed(rows, table.column("_object")), table.column("_array"))
        assert merge(others, "changed") == 4
        hold(warehouse, table, path, others)


@pytest.mark.parametrize("chunk", range(len(CHUNKS)))
def test_columns_of_any_name_can_be_added_at_any_depth(warehouse: Warehouse, chunk: int) -> None:
    whole = deep_table(f"added_{chunk}", CHUNKS[chunk], shift=chunk + 4)
    before = replace(whole, columns=tuple(map(half, whole.columns[::2])))
    path, old = made(warehouse, before), rows_of_table(before, 3)
    append(before, old)
    warehouse.ensure_table(table_spec(whole, DATASET))
    assert lacking(table_spec(whole, DATASET), warehouse.client.get_table(f"{PROJECT}.{DATASET}.{whole.name}")) == []
    new = [row | {"_key": f"new-{number}"} for number, row in enumerate(rows_of_table(whole, 3, seed=chunk))]
    append(whole, new)
    wanted = [filled(whole.columns, row) for row in (*old, *new)]
    found = read(whole)
    assert [filled(whole.columns, row) for row in found] == wanted
    assert [filled(whole.columns, row) for row in warehouse.query(f"SELECT * FROM {path} ORDER BY _key")] == wanted
    everything = {column.name: column for column in whole.columns}
    for row in found:  # a new column at the top is an empty array in old rows too
        assert [name for name, value in row.items() if value is None and everything[name].repeated] == []


def test_a_batch_writes_objects_in_the_order_of_the_table(warehouse: Warehouse) -> None:
    names = [name for name in CHUNKS[0] if "-" not in name][:30]
    whole = replace(deep_table("ordered", names), disposition=WriteDisposition.MERGE)
    path, old = made(warehouse, whole), rows_of_table(whole, 2)
    append(whole, old)
    table = replace(whole, columns=tuple(map(half, map(backwards, whole.columns))))  # and half of the fields are gone
    stored = warehouse.ensure_table(table_spec(table, DATASET)).schema
    new = [row | {"_key": f"new-{number}"} for number, row in enumerate(rows_of_table(table, 3, seed=1))]
    statement = merge_statement(table, path, staged(warehouse, table, new, "ordered"), HELD, stored=stored)
    assert [warehouse.execute(statement, f"ordered-{n}").num_dml_affected_rows for n in (1, 2)] == [3, 0]
    wanted = [filled(whole.columns, row) for row in (*old, *new)]
    assert [filled(whole.columns, row) for row in read(whole)] == wanted


def backwards(column: Column) -> Column:
    """The column with its fields in the other order, at each depth."""
    return replace(column, fields=tuple(map(backwards, column.fields[::-1])))


def half(column: Column) -> Column:
    """The column with every other of its fields, at each depth."""
    return replace(column, fields=tuple(map(half, column.fields[::2])))


def filled(columns: Sequence[Column], row: dict[str, Any] | None) -> dict[str, Any] | None:
    """The row with null, or an empty array, for what it does not have."""
    if row is None:
        return None
    return {column.name: filled_value(column, row.get(column.name)) for column in columns}


def filled_value(column: Column, value: Any) -> Any:
    """The same of one value."""
    if column.repeated:
        return [filled_value(column.element, one) for one in value or ()]
    return filled(column.fields, value) if column.kind is Kind.RECORD else value


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Small tables of any shape."""

    def columns(depth: int) -> tuple[Column, ...]:
        names = draw(st.lists(st.sampled_from(words()), min_size=1, max_size=4, unique_by=str.casefold))
        return tuple(column(name, depth) for name in names)

    def column(name: str, depth: int) -> Column:
        kind = draw(st.sampled_from([Kind.RECORD, *SCALARS] if depth < 4 else SCALARS))
        repeated = draw(st.booleans())
        required = draw(st.booleans()) and not repeated
        return Column(name, kind, required, repeated, columns(depth + 1) if kind is Kind.RECORD else ())

    return Table("", (Column("_key", Kind.STRING, required=True), *columns(0)), ("_key",))


numbers = itertools.count()


@settings(max_examples=25)
@given(table=tables(), seed=st.integers(0, 1000))
def test_a_table_of_any_shape(warehouse: Warehouse, table: Table, seed: int) -> None:
    table = replace(table, name=f"shape_{next(numbers)}", disposition=WriteDisposition.MERGE)
    path, rows = made(warehouse, table), rows_of_table(table, 4, seed)
    append(table, rows[:2])
    hold(warehouse, table, path, rows[:2])
    statement = merge_statement(table, path, staged(warehouse, table, rows, "1"), HELD)
    done = warehouse.execute(statement, f"merge-{table.name}")
    assert done.num_dml_affected_rows == 2
    hold(warehouse, table, path, rows)
