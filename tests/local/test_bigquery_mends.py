"""bqemulator with its mends behaves as BigQuery does where the pipeline depends on it."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.api_core.exceptions import BadRequest, Conflict
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import types

from local.services import Endpoints
from tests.local.clients import PROJECT, Appender, rows_of, storage_client

pytestmark = pytest.mark.e2e

ALREADY_EXISTS, OUT_OF_RANGE = 6, 11


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

    def append(number: int) -> list[types.AppendRowsResponse]:
        return appender(path).append(ids(number, rows), [batch * rows for batch in range(batches)])

    with ThreadPoolExecutor(streams + 2) as pool:
        questions = [pool.submit(ask) for _ in range(2)]
        answers = [answer for appended in pool.map(append, range(streams), timeout=30) for answer in appended]
        done.set()
        for question in questions:
            question.result(timeout=10)
    assert [answer.error.code for answer in answers] == [0] * streams * batches
    assert rows_of(client, f"SELECT COUNT(*) FROM `{path}`") == [(streams * batches * rows,)]
    assert len(set(seen)) > 1  # they really were at once


def test_forty_connections_can_be_open_at_once(
    client: bigquery.Client, dataset: str, appender: Callable[..., Appender]
) -> None:
    path = table(client, dataset, "events", ("id", "INTEGER"))
    streams = 40
    all_open = threading.Barrier(streams, timeout=20)

    class Waiting(list[int]):
        def __iter__(self):  # type: ignore[no-untyped-def]
            yield 0
            all_open.wait()
            yield 1

    with ThreadPoolExecutor(streams) as pool:
        made = [appender(path) for _ in range(streams)]
        answers = list(pool.map(lambda one: one.append(ids(1, 1), Waiting()), made, timeout=30))
    assert [answer.error.code for both in answers for answer in both] == [0] * 2 * streams
