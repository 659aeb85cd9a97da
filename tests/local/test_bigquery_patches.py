"""bqemulator with its patches behaves as BigQuery does where the pipeline depends on it."""

from __future__ import annotations

import io
import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.api_core.exceptions import BadRequest, Conflict, NotFound
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import types

from local.services import Endpoints
from tests.local.clients import PROJECT, Appender, rows_of, storage_client

pytestmark = pytest.mark.e2e

INVALID_ARGUMENT, ALREADY_EXISTS, OUT_OF_RANGE = 3, 6, 11


def table(client: bigquery.Client, dataset: str, name: str, *fields: tuple[str, str]) -> str:
    """Make a table; its full name."""
    path = f"{PROJECT}.{dataset}.{name}"
    client.create_table(bigquery.Table(path, [bigquery.SchemaField(*field) for field in fields]))
    return path


def ids(first: int, count: int) -> pa.RecordBatch:
    """A batch with the column id."""
    return pa.RecordBatch.from_pydict({"id": pa.array(range(first, first + count), pa.int64())})


def test_appends_and_queries_at_once_do_not_block_each_other(
    client: bigquery.Client, dataset: str, appender: Callable[..., Appender]
) -> None:
    path = table(client, dataset, "events", ("id", "INTEGER"))
    batches, rows, streams = 25, 20, 6
    done = threading.Event()
    seen: list[object] = []

    def ask() -> None:
        while not done.is_set():
            seen.append(rows_of(client, f"SELECT COUNT(*) FROM `{path}`")[0][0])
            client.get_table(path)

    def append(number: int) -> list[int]:
        return appender(path).append(ids(number, rows), *range(0, batches * rows, rows))

    with ThreadPoolExecutor(streams + 2) as pool:
        questions = [pool.submit(ask) for _ in range(2)]
        answers = list(pool.map(append, range(streams), timeout=30))
        done.set()
        for question in questions:
            question.result(timeout=10)
    assert answers == [[0] * batches] * streams
    assert rows_of(client, f"SELECT COUNT(*) FROM `{path}`") == [(streams * batches * rows,)]
    assert len(set(seen)) > 1  # they really were at once


def test_answers_to_requests_at_once_are_not_mixed_up(client: bigquery.Client, dataset: str) -> None:
    path = table(client, dataset, "events", ("id", "INTEGER"))
    client.query(f"INSERT INTO `{path}` SELECT * FROM UNNEST(GENERATE_ARRAY(1, 5000))", job_retry=None).result()

    def ask(_: int) -> object:
        return rows_of(client, f"SELECT 7, COUNT(*) FROM `{path}`")

    def list_rows(_: int) -> object:
        return len(list(client.list_rows(path, max_results=5000, retry=None)))

    with ThreadPoolExecutor(6) as pool:
        asked, listed = pool.map(ask, range(60)), pool.map(list_rows, range(60))
        assert list(asked) == [[(7, 5000)]] * 60
        assert list(listed) == [5000] * 60


def test_forty_connections_can_be_open_at_once(
    client: bigquery.Client, dataset: str, appender: Callable[..., Appender]
) -> None:
    path = table(client, dataset, "events", ("id", "INTEGER"))
    connections = 40
    all_answered = threading.Barrier(connections, timeout=20)

    def hold(one: Appender) -> int:
        requests: queue.Queue[types.AppendRowsRequest | None] = queue.Queue()
        requests.put(one.request(ids(1, 1), 0))
        answers = one.client.append_rows(iter(requests.get, None))
        code: int = next(iter(answers)).error.code
        all_answered.wait()  # and none was closed so far
        requests.put(None)
        return code

    made = [appender(path) for _ in range(connections)]
    with ThreadPoolExecutor(connections) as pool:
        assert list(pool.map(hold, made, timeout=30)) == [0] * connections


def test_an_append_stores_what_is_appended_and_no_copy_of_the_table(
    cloud: Endpoints, client: bigquery.Client, dataset: str, appender: Callable[..., Appender]
) -> None:
    path = table(client, dataset, "events", ("id", "INTEGER"))
    rows = "UNNEST(GENERATE_ARRAY(1, 1000000))"
    client.query(f"INSERT INTO `{path}` SELECT CAST(RAND() * 1e15 AS INT64) FROM {rows}", job_retry=None).result()
    before = stored_bytes(cloud)
    assert appender(path).append(ids(1, 1), *range(10)) == [0] * 10
    assert stored_bytes(cloud) - before < 8_000_000  # one copy would have as many


def stored_bytes(cloud: Endpoints) -> int:
    """What the warehouse's folder takes on the disk."""
    return sum(file.stat().st_size for file in (cloud.directory / "bigquery").iterdir())


def test_a_failed_append_to_a_committed_stream_can_be_made_again(
    client: bigquery.Client, dataset: str, appender: Callable[..., Appender]
) -> None:
    path = table(client, dataset, "events", ("id", "INTEGER"))
    one = appender(path)
    assert one.append(ids(1, 2), 0) == [0]
    client.query(f"ALTER TABLE `{path}` RENAME TO away", job_retry=None).result()
    assert one.append(ids(3, 2), 2) == [INVALID_ARGUMENT]
    client.query(f"ALTER TABLE `{PROJECT}.{dataset}.away` RENAME TO events", job_retry=None).result()
    assert one.append(ids(3, 2), 2) == [0]
    assert one.append(ids(3, 2), 2) == [ALREADY_EXISTS]
    assert one.append(ids(3, 2), 9) == [OUT_OF_RANGE]
    assert rows_of(client, f"SELECT id FROM `{path}` ORDER BY id") == [(1,), (2,), (3,), (4,)]
    assert one.client.finalize_write_stream(name=one.stream).row_count == 4


def test_a_job_id_is_used_once(client: bigquery.Client, dataset: str) -> None:
    path = table(client, dataset, "events", ("id", "INTEGER"))
    insert = f"INSERT INTO `{path}` (id) VALUES (1), (2)"
    client.query(insert, job_id="once", job_retry=None).result()
    with pytest.raises(Conflict):
        client.query(insert, job_id="once", retry=None, job_retry=None)
    assert client.get_job("once").num_dml_affected_rows == 2
    assert rows_of(client, f"SELECT COUNT(*) FROM `{path}`") == [(2,)]


def test_a_failed_job_is_recorded_and_changes_nothing(client: bigquery.Client, dataset: str) -> None:
    path = table(client, dataset, "events", ("id", "INTEGER"))
    with pytest.raises(BadRequest):
        client.query(f"INSERT INTO `{path}` SELECT ERROR('no')", job_id="failed", job_retry=None).result()
    assert client.get_job("failed").error_result["reason"] == "invalidQuery"
    with pytest.raises(Conflict):
        client.query("SELECT 1", job_id="failed", retry=None, job_retry=None)
    assert rows_of(client, f"SELECT COUNT(*) FROM `{path}`") == [(0,)]


def test_parquet_is_loaded_by_name_and_only_its_rows_are_counted(
    cloud: Endpoints, client: bigquery.Client, dataset: str
) -> None:
    path = table(client, dataset, "prices", ("id", "INTEGER"), ("name", "STRING"), ("price", "NUMERIC"))
    uris = put_parquet(cloud, dataset, {"price": ["1.5"], "id": [1]}, {"name": ["b", "c"], "id": [2, 3]})
    config = bigquery.LoadJobConfig(source_format="PARQUET", write_disposition="WRITE_APPEND")
    for loaded in (1, 2):
        job = client.load_table_from_uri(uris, path, job_config=config, job_id=f"load-{loaded}")
        assert job.result().output_rows == 3
        recorded = client.get_job(f"load-{loaded}")
        assert isinstance(recorded, bigquery.LoadJob)
        assert recorded.output_rows == 3
    found = rows_of(client, f"SELECT DISTINCT id, name, price FROM `{path}` ORDER BY id")
    assert found == [(1, None, Decimal("1.5")), (2, "b", None), (3, "c", None)]


def test_a_load_whose_second_file_is_broken_loads_nothing(
    cloud: Endpoints, client: bigquery.Client, dataset: str
) -> None:
    path = table(client, dataset, "prices", ("id", "INTEGER"))
    uris = put_parquet(cloud, dataset, {"id": [1]}, {"id": ["no number"]})
    config = bigquery.LoadJobConfig(source_format="PARQUET", write_disposition="WRITE_TRUNCATE")
    client.query(f"INSERT INTO `{path}` (id) VALUES (7)", job_retry=None).result()
    with pytest.raises(BadRequest):
        client.load_table_from_uri(uris, path, job_config=config, job_id="broken").result()
    assert client.get_job("broken").error_result
    assert rows_of(client, f"SELECT id FROM `{path}`") == [(7,)]


def test_a_column_that_is_added_to_a_table_can_be_written_and_read(client: bigquery.Client, dataset: str) -> None:
    path = table(client, dataset, "events", ("id", "INTEGER"))
    client.query(f"INSERT INTO `{path}` (id) VALUES (1)", job_retry=None).result()
    found = client.get_table(path)
    found.schema = [*found.schema, bigquery.SchemaField("tags", "STRING", "REPEATED", description="words")]
    client.update_table(found, ["schema"])
    client.query(f"INSERT INTO `{path}` (id, tags) VALUES (2, ['a'])", job_retry=None).result()
    assert rows_of(client, f"SELECT id, ARRAY_LENGTH(tags) FROM `{path}` WHERE id = 2") == [(2, 1)]
    assert client.get_table(path).schema[1].description == "words"


def put_parquet(cloud: Endpoints, folder: str, *files: dict[str, list[object]]) -> list[str]:
    """Upload one Parquet file for each of the column sets, under a path with `key=value` in it; their URIs."""
    bucket = storage_client(cloud).bucket("lake")
    if not bucket.exists():
        bucket.create()
    uris = []
    for number, columns in enumerate(files):
        written = io.BytesIO()
        pq.write_table(pa.table(columns), written)
        blob = bucket.blob(f"{folder}/run_id=x/{number}.parquet")
        blob.upload_from_string(written.getvalue())
        uris.append(f"gs://lake/{blob.name}")
    return uris


def test_a_write_stream_of_an_earlier_server_is_finalized(
    client: bigquery.Client, dataset: str, appender: Callable[..., Appender]
) -> None:
    """But nothing can be appended to it."""
    connection = appender(table(client, dataset, "earlier", ("id", "INTEGER")))
    connection.stream = connection.stream.rpartition("/")[0] + "/0123456789abcdef"
    connection.client.finalize_write_stream(name=connection.stream)
    with pytest.raises(NotFound):
        connection.append(ids(0, 1), 0)


def test_an_array_is_indexed_by_any_expression(client: bigquery.Client) -> None:
    indexed = "a[OFFSET(i)], a[ORDINAL(i + 1)], a[SAFE_OFFSET(i + 1)], a[OFFSET(2)], @p[OFFSET(i)]"
    config = bigquery.QueryJobConfig(query_parameters=[bigquery.ArrayQueryParameter("p", "INT64", [1, 2, 3])])
    sql = f"SELECT {indexed} FROM (SELECT [7, 8, 9] AS a) CROSS JOIN UNNEST([0, 1, 2]) AS i ORDER BY i"
    rows = [tuple(row.values()) for row in client.query(sql, job_config=config).result()]
    assert rows == [(7, 7, 8, 9, 1), (8, 8, 9, 9, 2), (9, 9, None, 9, 3)]
