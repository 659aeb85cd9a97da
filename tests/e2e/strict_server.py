"""BigQuery as strict as Google's, in front of the local one: what that refuses or delays, and the local one does not.

Each rule is documented by Google, or reported often:

- A statement takes one to three seconds. Of the statements that change rows of one table (UPDATE, DELETE, MERGE) two
  run at a time and 20 wait; the next one is refused. They are refused for a table that rows were streamed into.
- A table that was just created is unknown to the Storage Write API for a while, and so is a new column.
- An append is refused if it has more than 10 MB, and so is a row whose partition is older than ten years.
- The write streams that a project may create in a while are limited.
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pyarrow as pa
from google.cloud.bigquery_storage_v1 import types
from google.rpc import code_pb2, status_pb2

from tests.e2e.append_proxy import Answer as AppendAnswer
from tests.e2e.append_proxy import AppendProxy, Fail, Fault, Request, rows_of
from tests.e2e.proxies import Answer, Proxy

__all__ = ["Rules", "StrictBigQuery", "strict"]

RUNNING, QUEUED = 2, 20
MAX_REQUEST_BYTES = 10_000_000
OLDEST = timedelta(days=3652)
CHANGE = re.compile(r"\b(?:UPDATE|DELETE FROM|MERGE(?: INTO)?)\s+((?:`[^`]+`|[\w-]+)(?:\.(?:`[^`]+`|[\w-]+))*)")
TABLES = re.compile(r"/datasets/([^/]+)/tables(?:/([^/?]+))?(/insertAll)?(?:\?|$)")
_Reason: Any = types.StorageError.StorageErrorCode


@dataclass(frozen=True)
class Rules:
    """How strict it is."""

    seconds: tuple[float, float] = (1.0, 3.0)
    """How long a statement takes."""
    unknown_seconds: float = 2.0
    """How long a new table or column is unknown to the Storage Write API."""
    streams_in_a_while: int = 40
    """How many write streams may be created in ten seconds."""


RULES = Rules()


@dataclass
class StrictBigQuery:
    """What the two servers know of each other, and what they have refused, by rule."""

    rules: Rules
    refused: Counter[str] = field(default_factory=Counter)
    statements: list[str] = field(default_factory=list)
    created: dict[str, float] = field(default_factory=dict)
    changed: dict[str, float] = field(default_factory=dict)
    """When a table, DATASET.TABLE, was created, and when it got a new schema."""
    partitions: dict[str, str] = field(default_factory=dict)
    streamed: set[str] = field(default_factory=set)
    streams: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    outstanding: Counter[str] = field(default_factory=Counter)
    slots: defaultdict[str, threading.Semaphore] = field(
        default_factory=lambda: defaultdict(lambda: threading.Semaphore(RUNNING))
    )
    chance: random.Random = field(default_factory=lambda: random.Random(1))

    def is_unknown(self, times: Mapping[str, float], table: str) -> bool:
        """Whether something happened to the table so short a time ago that writers do not know it."""
        return time.monotonic() - times.get(table, float("-inf")) < self.rules.unknown_seconds

    def statement(self, sql: str, forward: Callable[[], Answer]) -> Answer:
        """Run a statement."""
        with self.lock:
            self.statements.append(sql)
            seconds = self.chance.uniform(*self.rules.seconds)
        match = CHANGE.search(sql)
        if match is None or sql.startswith("BEGIN"):
            time.sleep(seconds)
            return forward()
        table = ".".join(match[1].replace("`", "").split(".")[-2:])
        if table in self.streamed:
            return self._refuse("streaming buffer", f"{table} would affect rows in the streaming buffer")
        with self.lock:
            if self.outstanding[table] >= RUNNING + QUEUED:
                message = f"Too many DML statements outstanding against table {table}, limit is {QUEUED}."
                return self._refuse("outstanding", f"Resources exceeded during query execution: {message}")
            self.outstanding[table] += 1
            slot = self.slots[table]
        try:
            with slot:
                time.sleep(seconds)
                return forward()
        finally:
            with self.lock:
                self.outstanding[table] -= 1

    def on_call(self, method: str, request: bytes) -> Fail | None:
        """A call of the Storage API."""
        if method != "CreateWriteStream":
            return None
        if self.is_unknown(self.created, _table(types.CreateWriteStreamRequest.deserialize(request).parent)):
            self.refused["new table"] += 1
            return Fail(False, grpc.StatusCode.NOT_FOUND, message="table not found")
        with self.lock:
            now = time.monotonic()
            self.streams = [at for at in self.streams if now - at < 10]
            if len(self.streams) >= self.rules.streams_in_a_while:
                self.refused["quota"] += 1
                return Fail(False, grpc.StatusCode.RESOURCE_EXHAUSTED, message="Quota exceeded: CreateWriteStream")
            self.streams.append(now)
        return None

    def on_append(self, request: Request) -> Fault | None:
        """An append."""
        table = _table(request.write_stream)
        self.streamed.add(table)
        if request.write_stream.endswith("/_default") and self.is_unknown(self.created, table):
            self.refused["new table"] += 1
            return Fail(False, grpc.StatusCode.NOT_FOUND, message="table not found")
        if self.is_unknown(self.changed, table):
            self.refused["new column"] += 1
            return _unknown_fields()
        size = len(Request.serialize(request))
        if size > MAX_REQUEST_BYTES:
            self.refused["size"] += 1
            message = f"AppendRows request too large: {size} limit {MAX_REQUEST_BYTES}"
            return Fail(False, grpc.StatusCode.INVALID_ARGUMENT, message=message)
        return self._out_of_bounds(table, request)

    def _out_of_bounds(self, table: str, request: Request) -> AppendAnswer | None:
        column = self.partitions.get(table)
        rows = rows_of(request)
        if column is None or column not in rows.schema.names:
            return None
        days = rows.column(column).cast(pa.date32()).to_pylist()
        oldest = (datetime.now(UTC) - OLDEST).date()
        bad = [row for row, day in enumerate(days) if day is not None and day < oldest]
        if not bad:
            return None
        self.refused["partition"] += 1
        message = "outside the allowed bounds. You can only stream to date range within 3652 days in the past"
        answer = types.AppendRowsResponse(row_errors=[types.RowError(index=row, message=message) for row in bad])
        answer.error.code = code_pb2.INVALID_ARGUMENT
        return AppendAnswer(answer)

    def _refuse(self, rule: str, message: str) -> Answer:
        self.refused[rule] += 1
        errors = [{"message": message, "domain": "global", "reason": "invalidQuery"}]
        content = json.dumps({"error": {"code": 400, "message": message, "errors": errors}}).encode()
        return Answer(400, [("Content-Type", "application/json; charset=UTF-8")], content)


class _Rest(Proxy):
    """The REST API behind the rules."""

    def __init__(self, backend: str, rules: StrictBigQuery) -> None:
        self._rules = rules
        super().__init__(backend)

    def answer(self, request: str, body: bytes, forward: Callable[[], Answer]) -> Answer:
        method, _, path = request.partition(" ")
        if method == "POST" and re.search(r"/(jobs|queries)(\?|$)", path):
            asked = json.loads(body)
            sql = asked.get("query") or asked.get("configuration", {}).get("query", {}).get("query")
            return self._rules.statement(sql, forward) if isinstance(sql, str) else forward()
        answer = forward()
        table = TABLES.search(path)
        if table is None or answer.status >= 300 or method == "GET":
            return answer
        if table[3]:
            self._rules.streamed.add(f"{table[1]}.{table[2]}")
        elif method == "POST":
            self._created(table[1], json.loads(body))
        elif method in ("PATCH", "PUT") and b'"schema"' in body:
            self._rules.changed[f"{table[1]}.{table[2]}"] = time.monotonic()
        return answer

    def _created(self, dataset: str, table: dict[str, Any]) -> None:
        name = f"{dataset}.{table['tableReference']['tableId']}"
        self._rules.created[name] = time.monotonic()
        if column := (table.get("timePartitioning") or {}).get("field"):
            self._rules.partitions[name] = column


@contextmanager
def strict(environment: Mapping[str, str], rules: Rules = RULES) -> Iterator[tuple[dict[str, str], StrictBigQuery]]:
    """Run the strict server in front of the local one that `environment` names; where it is, and the server."""
    server = StrictBigQuery(rules)
    with (
        _Rest(environment["BIGQUERY_EMULATOR_HOST"], server) as rest,
        AppendProxy(environment["BIGQUERY_STORAGE_EMULATOR_HOST"]) as storage,
    ):
        storage.on_append, storage.on_request = server.on_append, server.on_call
        yield {"BIGQUERY_EMULATOR_HOST": rest.address, "BIGQUERY_STORAGE_EMULATOR_HOST": storage.address}, server


def _table(path: str) -> str:
    """DATASET.TABLE of the path of a table or a write stream."""
    parts = path.split("/")
    return f"{parts[3]}.{parts[5]}"


def _unknown_fields() -> Fail:
    status = status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message="extra fields")
    status.details.add().Pack(types.StorageError.pb(types.StorageError(code=_Reason.SCHEMA_MISMATCH_EXTRA_FIELDS)))
    return Fail(False, grpc.StatusCode.INVALID_ARGUMENT, status.SerializeToString())
