"""A table or a column that was just created: the Storage Write API may not know it for a while, and is waited for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pytest
from google.api_core.exceptions import NotFound
from google.cloud.bigquery_storage_v1 import types
from google.rpc import code_pb2, status_pb2

from connectors.bigquery.append_stream import AppendStream
from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.dataset import ensure_operations
from connectors.google.clients import write_client
from connectors.retry import RetryPolicy
from local.service import PROJECT
from local.services import Endpoints
from tests.e2e.append_proxy import AppendProxy, Fail, Fault
from tests.e2e.bucket_writers import FIRST, append, events_spec, owner, rows_at, stored

pytestmark = pytest.mark.e2e
LONG, SHORT = RetryPolicy(20, 5, longest_pause=0.2), RetryPolicy(0.5, 5)
_Reason: Any = types.StorageError.StorageErrorCode


@pytest.fixture
def proxy(local_cloud: tuple[Path, Endpoints], monkeypatch: pytest.MonkeyPatch) -> Iterator[AppendProxy]:
    with AppendProxy(local_cloud[1].environment()["BIGQUERY_STORAGE_EMULATOR_HOST"]) as proxy:
        monkeypatch.setenv("BIGQUERY_STORAGE_EMULATOR_HOST", proxy.address)
        yield proxy


@pytest.fixture
def table(proxy: AppendProxy, request: pytest.FixtureRequest) -> tuple[Warehouse, str]:
    warehouse, dataset = Warehouse(PROJECT, "US"), request.node.name
    ensure_operations(warehouse, dataset)
    warehouse.ensure_table(events_spec(dataset))
    return warehouse, dataset


def unknown_fields() -> Fail:
    """What BigQuery answers about a column that its writers do not know yet."""
    status = status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message="extra fields")
    error = types.StorageError(code=_Reason.SCHEMA_MISMATCH_EXTRA_FIELDS)
    status.details.add().Pack(types.StorageError.pb(error))
    return Fail(False, grpc.StatusCode.INVALID_ARGUMENT, status.SerializeToString())


def test_a_stream_of_a_new_table_is_asked_for_again(proxy: AppendProxy, table: tuple[Warehouse, str]) -> None:
    answers = [Fail(False, grpc.StatusCode.NOT_FOUND)] * 3
    proxy.on_call = lambda method: answers.pop() if method == "CreateWriteStream" and answers else None
    assert append(owner(*table, "run", LONG), {1: "a"}) == [FIRST]
    assert answers == []


def test_a_table_that_does_not_exist_is_not_waited_for(proxy: AppendProxy, table: tuple[Warehouse, str]) -> None:
    warehouse, dataset = table
    warehouse.drop(dataset, "events")
    with pytest.raises(NotFound):
        append(owner(warehouse, dataset, "run", LONG), {1: "a"})


def test_a_new_column_is_waited_for(proxy: AppendProxy, table: tuple[Warehouse, str]) -> None:
    answers: list[Fault] = [unknown_fields()] * 3
    proxy.on_append = lambda _: answers.pop() if answers else None
    checks: list[None] = []
    writer = owner(*table, "run", LONG, check=lambda: checks.append(None))
    assert append(writer, {1: "a"}) == [FIRST]
    assert (answers, len(checks)) == ([], 3)


def test_a_column_that_the_table_lacks_is_not_waited_for(proxy: AppendProxy, table: tuple[Warehouse, str]) -> None:
    proxy.on_append = lambda _: unknown_fields()

    def lacks() -> None:
        raise ValueError("the table lacks the column")

    with pytest.raises(ValueError, match="lacks the column"):
        append(owner(*table, "run", LONG, check=lacks), {1: "a"})


def test_the_default_stream_of_a_new_table_is_waited_for(proxy: AppendProxy, table: tuple[Warehouse, str]) -> None:
    warehouse, dataset = table
    answers: list[Fault] = [Fail(False, grpc.StatusCode.NOT_FOUND)] * 3
    proxy.on_append = lambda _: answers.pop() if answers else None
    path = f"projects/{PROJECT}/datasets/{dataset}/tables/events"
    batch = stored(rows_at({1: "a"}), owner(warehouse, dataset, "run", SHORT)._clock())
    stream = AppendStream.default(write_client(), path, pa.schema(batch.schema), LONG)
    assert stream.append(batch) == {}
    assert answers == []
    stream.close()
