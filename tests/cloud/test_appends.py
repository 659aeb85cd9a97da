"""The Storage Write API, as connectors/bigquery/append_stream.py and lanes.py count on it."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest
from google.cloud.bigquery import SchemaField

from connectors.bigquery.append_stream import AppendStream, StreamLost, finalize
from connectors.bigquery.table_spec import TableSpec
from connectors.bookkeeping.dataset import ensure_operations
from connectors.google.clients import write_client
from connectors.retry import RetryPolicy
from tests.cloud.places import Place
from tests.e2e.bucket_writers import DUPLICATE, FIRST, REDELIVERED, append, events_spec, owner

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(600)]
B = "kafka://t/1"


@pytest.fixture(scope="module")
def dataset(place: Place) -> str:
    """A dataset with the tables of operations in it, and `events` of owners of its bucket."""
    name, _ = place.datasets("appends")
    ensure_operations(place.warehouse, name)
    place.warehouse.ensure_table(events_spec(name))
    return name


def made(place: Place, dataset: str, name: str, *fields: SchemaField) -> str:
    """A new table; its path as the Storage Write API has it."""
    place.warehouse.ensure_table(TableSpec(dataset, name, fields))
    return f"projects/{place.project}/datasets/{dataset}/tables/{name}"


def ids(place: Place, dataset: str, name: str) -> list[str]:
    """What the column id holds."""
    return [row["id"] for row in place.warehouse.query(f"SELECT id FROM `{dataset}`.`{name}` ORDER BY id")]


def batch(*values: str | None, nullable: bool = True) -> pa.RecordBatch:
    """Rows with the column id."""
    schema = pa.schema([pa.field("id", pa.string(), nullable=nullable)])
    return pa.RecordBatch.from_arrays([pa.array(values, pa.string())], schema=schema)


def test_an_append_that_another_has_made_is_not_made_again(place: Place, dataset: str, retry: RetryPolicy) -> None:
    path, client = made(place, dataset, "again", SchemaField("id", "STRING")), write_client()
    stream = AppendStream.create(client, path, batch().schema, retry)
    assert stream.append(batch("a", "b")) == {}
    # ALREADY_EXISTS, for a request that nobody has sent before: it is no proof that these rows are in.
    with pytest.raises(StreamLost):
        AppendStream(client, stream.name, batch().schema, retry).append(batch("x", "y"))
    assert stream.append(batch("c")) == {}
    assert ids(place, dataset, "again") == ["a", "b", "c"]


def test_a_gap_before_an_append_loses_the_stream(place: Place, dataset: str, retry: RetryPolicy) -> None:
    path, client = made(place, dataset, "gap", SchemaField("id", "STRING")), write_client()
    stream = AppendStream.create(client, path, batch().schema, retry)
    stream._offset = 3  # as if rows had been appended that BigQuery has not: OUT_OF_RANGE
    with pytest.raises(StreamLost):
        stream.append(batch("d"))
    assert ids(place, dataset, "gap") == []


def test_a_finalized_stream_takes_no_more(place: Place, dataset: str, retry: RetryPolicy) -> None:
    path, client = made(place, dataset, "finalized", SchemaField("id", "STRING")), write_client()
    stream = AppendStream.create(client, path, batch().schema, retry)
    assert stream.append(batch("a")) == {}
    for _ in range(2):  # the second time it is harmless
        finalize(client, stream.name, retry)
    with pytest.raises(StreamLost):
        stream.append(batch("b"))
    assert ids(place, dataset, "finalized") == ["a"]


def test_a_stream_of_a_table_that_is_gone_counts_as_finalized(place: Place, dataset: str, retry: RetryPolicy) -> None:
    path, client = made(place, dataset, "gone", SchemaField("id", "STRING")), write_client()
    stream = AppendStream.create(client, path, batch().schema, retry)
    place.warehouse.drop(dataset, "gone")
    finalize(client, stream.name, retry)


def test_a_bucket_has_one_owner(place: Place, dataset: str, retry: RetryPolicy) -> None:
    one, other = (owner(place.warehouse, dataset, run, retry) for run in ("one", "other"))
    assert append(one, {1: "a", 2: "b", 3: "a"}) == [FIRST, FIRST, DUPLICATE]
    assert append(other, {2: "b", 4: "b"}) == [REDELIVERED, DUPLICATE]  # it has read the table
    assert append(other, {5: "c"}) == [FIRST]
    assert append(one, {5: "c", 6: "d"}) == [
        REDELIVERED,
        FIRST,
    ]  # its stream was finalized: it has taken the bucket again
    assert append(other, {1: "d"}, B) == [DUPLICATE]
    assert ids(place, dataset, "events") == ["a", "b", "c", "d"]
    (left,) = place.warehouse.query(f"SELECT COUNT(*) AS n FROM `{dataset}`.write_streams")
    assert left["n"] == 1


def test_appends_and_queries_at_once(place: Place, dataset: str, retry: RetryPolicy) -> None:
    path, client = made(place, dataset, "busy", SchemaField("id", "STRING")), write_client()
    done = threading.Event()
    seen: list[int] = []

    def ask() -> None:
        while not done.is_set():
            seen.append(len(ids(place, dataset, "busy")))

    def write(number: int) -> None:
        stream = AppendStream.create(client, path, batch().schema, retry)
        for row in range(10):
            assert stream.append(batch(f"{number}-{row}")) == {}

    with ThreadPoolExecutor(5) as pool:
        asking = pool.submit(ask)
        list(pool.map(write, range(4)))
        done.set()
        asking.result()
    assert Counter(ids(place, dataset, "busy")) == Counter(f"{n}-{row}" for n in range(4) for row in range(10))
    assert seen == sorted(seen)


@pytest.mark.differs("a null in a REQUIRED column of an Arrow append")
@pytest.mark.parametrize("nullable", [False, True])
def test_a_null_in_a_required_column_is_refused_alone(
    place: Place, dataset: str, retry: RetryPolicy, nullable: bool
) -> None:
    """Whatever the Arrow schema says of the column."""
    name = f"required_{nullable}"
    path, client = made(place, dataset, name, SchemaField("id", "STRING", "REQUIRED")), write_client()
    stream = AppendStream.create(client, path, batch(nullable=nullable).schema, retry)
    refused = stream.append(batch("a", None, "b", nullable=nullable))
    assert list(refused) == [1]
    assert "id" in refused[1]
    assert ids(place, dataset, name) == ["a", "b"]


def test_records_and_lists_can_be_appended(place: Place, dataset: str) -> None:
    fields = (
        SchemaField("id", "STRING"),
        SchemaField("tags", "STRING", "REPEATED"),
        SchemaField("seller", "RECORD", fields=[SchemaField("city", "STRING")]),
    )
    path, client = made(place, dataset, "nested", *fields), write_client()
    rows = pa.RecordBatch.from_pylist(
        [{"id": "a", "tags": ["x", "y"], "seller": {"city": "Ulm"}}, {"id": "b", "tags": [], "seller": None}],
        schema=pa.schema(
            {
                "id": pa.string(),
                "tags": pa.list_(pa.field("item", pa.string(), nullable=False)),
                "seller": pa.struct({"city": pa.string()}),
            }
        ),
    )
    stream = AppendStream.create(client, path, rows.schema, RetryPolicy(deadline=4))
    assert stream.append(rows) == {}
    found = place.warehouse.query(f"SELECT id, tags, seller.city AS city FROM `{dataset}`.nested ORDER BY id")
    assert found == [{"id": "a", "tags": ["x", "y"], "city": "Ulm"}, {"id": "b", "tags": [], "city": None}]
