"""BigQuery, a topic and a group in memory, and the processes that use them, one step at a time.

Each process is a thread that runs the real code. It waits before and after the effect of each call, until the test lets
it go on or kills it. So the test decides the order of all effects. The call of a killed process may take effect later.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, TypeVar

import polars as pl
import pyarrow as pa
from google.api_core.exceptions import NotFound
from google.cloud.bigquery_storage_v1 import types
from google.rpc import code_pb2

from connectors.bigquery.warehouse import JobFailed, Warehouse
from tests.e2e.append_proxy import rows_of

__all__ = ["SOURCE", "TABLE", "Killed", "Process", "World"]

SOURCE, TABLE = "kafka://t/0", "d.events"
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
Result = TypeVar("Result")


class Killed(BaseException):
    """The process is killed."""


class Process:
    """A program that runs in a thread, and only when the test lets it."""

    def __init__(self, name: str, world: World, program: Callable[[Process], None]) -> None:
        self.name, self.world = name, world
        self.killed = self.ended = self.idle = False
        self.error: BaseException | None = None
        self._go, self._waits = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, args=(program,), daemon=True)
        self._thread.start()
        self._waits.acquire()

    def step(self) -> None:
        """Let it run to its next point."""
        if not self.ended:
            self.idle = False
            self._go.release()
            self._waits.acquire()

    def run(self, steps: int = 300) -> None:
        """Let it run until it ends or has nothing to do."""
        for _ in range(steps):
            self.step()
            if self.ended or self.idle:
                return

    def kill(self) -> None:
        """Kill it at its present step."""
        self.killed = True
        while not self.ended:
            self.step()

    def point(self, idle: bool = False) -> None:
        """Called by the program: wait until the test lets it go on."""
        if self.killed:
            raise Killed
        self.idle = idle
        self._waits.release()
        self._go.acquire()
        if self.killed:
            raise Killed

    def _run(self, program: Callable[[Process], None]) -> None:
        self.world.current.process = self
        try:
            self.point()
            program(self)
        except BaseException as error:
            self.error = error
        self.ended = True
        self._waits.release()


@dataclass
class Stream:
    """A write stream. Until `known_at` BigQuery may not know it when it is asked to finalize it."""

    finalized: bool = False
    rows: int = 0
    hidden: bool = False


@dataclass
class Job:
    """A statement: it reads the table when it begins, and takes effect when it ends."""

    statement: Statement
    state: str = "PENDING"
    failed: str = ""
    insert: list[tuple[str, str, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Statement:
    """INSERT of keys that the table does not have, with the SQL of its lease."""

    keys: tuple[str, ...]
    lease: str


@dataclass
class World:
    """All that the processes share."""

    now: float = 0.0
    rows: list[tuple[str, str, int, float]] = field(default_factory=list)
    """Key, source, position and time."""
    streams: dict[str, Stream] = field(default_factory=dict)
    entries: list[dict[str, Any]] = field(default_factory=list)
    leases: dict[str, dict[str, Any]] = field(default_factory=dict)
    beats: dict[str, float] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    """The keys of the topic."""
    committed: int = 0
    anchor: datetime | None = None
    late: list[Callable[[], None]] = field(default_factory=list)
    """Effects of calls of killed processes, which may still come."""
    hide_next: bool = False
    """Whether BigQuery does not know the next write stream for a while."""
    current: threading.local = field(default_factory=threading.local)

    def time(self) -> datetime:
        """BigQuery's time."""
        return BEGINNING + timedelta(seconds=self.now)

    def sleep(self, seconds: float) -> None:
        """A process sleeps: the clock moves, because nothing else may."""
        self.now += seconds
        if process := getattr(self.current, "process", None):
            process.point()

    def call(self, effect: Callable[[], Result]) -> Result:
        """A call of the current process to a service."""
        process: Process | None = getattr(self.current, "process", None)
        if process is None:
            return effect()
        try:
            process.point()
        except Killed:
            self.late.append(lambda: _ignoring(effect))
            raise
        result = effect()
        process.point()
        return result

    def advance(self, job: Job) -> None:
        """Let a statement begin, or take effect."""
        if job.state == "PENDING":
            table, token = re.findall(r'= "([^"]*)"', job.statement.lease) or (TABLE, None)
            holder = self.leases.get(table, {}).get("token")
            if token is not None and token != holder:
                job.state, job.failed = "DONE", "the lease is lost"
                return
            held = {row[0] for row in self.rows}
            job.insert = [(key, "file", n) for n, key in enumerate(job.statement.keys) if key not in held]
            job.state = "RUNNING"
        elif job.state == "RUNNING":
            self.rows += [(*row, self.now) for row in job.insert]
            job.state = "DONE"


def _ignoring(effect: Callable[[], object]) -> None:
    try:
        effect()
    except Exception:
        return


class FakeWarehouse(Warehouse):
    """The statements of leases and write streams, each recognized by its beginning."""

    def __init__(self, world: World) -> None:
        super().__init__("p", "US")
        self._world = world

    @property
    def client(self) -> Any:
        return FakeClient(self._world)

    def query(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        return self._world.call(lambda: self._query(sql, parameters))

    def update(self, sql: str, **parameters: Any) -> int:
        return self._world.call(lambda: self._update(sql, parameters))

    def execute(self, sql: Any, job: str) -> Any:
        """Submit a statement and wait for its end, as the real one does."""
        world, job_id = self._world, f"{job}-1"
        world.call(lambda: world.jobs.setdefault(job_id, Job(sql)))
        while world.jobs[job_id].state != "DONE":
            world.current.process.point(idle=True)
        if world.jobs[job_id].failed:
            raise JobFailed(world.jobs[job_id].failed)

    def _query(self, sql: str, given: Mapping[str, Any]) -> list[dict[str, Any]]:
        world = self._world
        if sql.startswith("SELECT CURRENT_TIMESTAMP"):
            return [{"now": world.time()}]
        if sql.startswith("SELECT holder AS token"):
            beats = {token: world.beats.get(token) for token in given["tokens"]}
            return [
                {
                    "token": token,
                    "now": world.time(),
                    "beat_at": None if beat is None else BEGINNING + timedelta(seconds=beat),
                }
                for token, beat in beats.items()
            ]
        assert sql.startswith(("SELECT stream,", "SELECT bucket, stream,")), sql
        asked = ("bucket", "stream", "age")[0 if "bucket," in sql else 1 :]
        found = [{**entry, "age": world.now - entry["created_at"]} for entry in world.entries]
        return [{name: entry[name] for name in asked} for entry in found]

    def _update(self, sql: str, given: Mapping[str, Any]) -> int:
        world = self._world
        if "INSERT INTO" in sql and "leases`" in sql:
            for name in given["names"]:
                world.leases.setdefault(name, {"table": name, "token": None, "run_id": None, "until": None})
        elif "leases` SET earlier = IF(" in sql:
            for row in map(world.leases.__getitem__, given["names"]):
                if row["token"] in (None, given["token"], *given["replaced"]):
                    if row["token"] not in (None, given["token"]):
                        row["earlier"] = f"{row.get('earlier') or ''}{row['run_id']} {row['token']}\n"
                    row |= {
                        "token": given["token"],
                        "run_id": given["run"],
                        "until": world.time() + timedelta(seconds=30),
                    }
        elif "leases` SET earlier = " in sql:
            for row in map(world.leases.__getitem__, given["names"]):
                if row["token"] == given["token"]:
                    if "SET earlier = ''" in sql:
                        row["earlier"] = ""
                    elif "CONCAT" in sql:
                        row["earlier"] = f"{row['run_id']} {row['token']}\n"
                    row |= {"token": None, "run_id": None, "until": None}
        elif "INSERT INTO" in sql:
            world.entries.append({"bucket": given["bucket_0"], "stream": given["stream_0"], "created_at": world.now})
        else:
            assert sql.startswith("DELETE"), sql
            world.entries = [entry for entry in world.entries if entry["stream"] not in given["streams"]]
        return 1


class FakeClient:
    """The calls of BigQuery's API that are no statements."""

    def __init__(self, world: World) -> None:
        self._world = world

    def list_rows(self, _: object) -> list[dict[str, Any]]:
        return self._world.call(lambda: [dict(row) for row in self._world.leases.values()])

    def insert_rows_json(self, _: object, rows: list[dict[str, Any]], **__: object) -> list[object]:
        def effect() -> list[object]:
            for row in rows:
                self._world.beats[row["token"]] = (datetime.fromisoformat(row["beat_at"]) - BEGINNING).total_seconds()
            return []

        return self._world.call(effect)

    def get_job(self, job_id: str, location: str) -> Any:
        def effect() -> Any:
            if job_id not in self._world.jobs:
                raise NotFound(job_id)
            return FakeJob(self._world, self._world.jobs[job_id])

        return self._world.call(effect)


class FakeJob:
    """A job as its client sees it."""

    def __init__(self, world: World, job: Job) -> None:
        self._world, self._job = world, job
        self.state = job.state

    def cancel(self) -> None:
        def effect() -> None:
            if self._job.state == "PENDING":
                self._job.state, self._job.failed = "DONE", "cancelled"
            elif self._job.state == "RUNNING":  # too late: it takes effect
                self._world.advance(self._job)

        self._world.call(effect)

    def reload(self) -> None:
        self.state = self._world.call(lambda: self._job.state)


class FakeWriteClient:
    """The Storage Write API."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.transport = SimpleNamespace(append_rows=self._append_rows, close=lambda: None)

    def create_write_stream(self, parent: str, **_: object) -> Any:
        def effect() -> Any:
            world = self._world
            name = f"{parent}/streams/{len(world.streams)}"
            world.streams[name] = Stream(hidden=world.hide_next)
            world.hide_next = False
            return SimpleNamespace(name=name)

        return self._world.call(effect)

    def finalize_write_stream(self, name: str, **_: object) -> None:
        def effect() -> None:
            stream = self._world.streams[name]
            if stream.hidden:
                stream.hidden = False
                raise NotFound(name)
            stream.finalized = True

        self._world.call(effect)

    def _append_rows(self, requests: Iterator[types.AppendRowsRequest], metadata: object) -> FakeCall:
        return FakeCall(self._world, requests)


class FakeCall:
    """An open AppendRows call."""

    def __init__(self, world: World, requests: Iterator[types.AppendRowsRequest]) -> None:
        self._world, self._requests = world, requests

    def __next__(self) -> types.AppendRowsResponse:
        request = next(self._requests)
        return self._world.call(lambda: self._append(request))

    def cancel(self) -> None:
        return

    def _append(self, request: types.AppendRowsRequest) -> types.AppendRowsResponse:
        world = self._world
        stream, response = world.streams[request.write_stream], types.AppendRowsResponse()
        if stream.finalized:
            response.error.code = code_pb2.FAILED_PRECONDITION
        elif request.offset < stream.rows:
            response.error.code = code_pb2.ALREADY_EXISTS
        elif request.offset > stream.rows:
            response.error.code = code_pb2.OUT_OF_RANGE
        else:
            for row in rows_of(request).to_pylist():
                at = (row["_ingested_at"] - BEGINNING).total_seconds()
                world.rows.append((row["id"], row["_source"], row["_position"], at))
                stream.rows += 1
        return response


def stored(world: World, restriction: str, newest: timedelta | None) -> pl.DataFrame:
    """What a read session returns for a restriction on time, source and position; with `newest` as before anchors."""
    (since,) = re.findall(r"_ingested_at >= TIMESTAMP '([^']+)'", restriction)
    oldest = (datetime.fromisoformat(since) - BEGINNING).total_seconds()
    if newest is not None:
        oldest = max((row[3] for row in world.rows), default=world.now) - newest.total_seconds()
    floors = re.findall(r"_source = '([^']+)' AND _position >= (\d+)", restriction)
    rows = [
        row
        for row in world.rows
        if row[3] >= oldest or any(row[1] == source and row[2] >= int(floor) for source, floor in floors)
    ]
    return pl.DataFrame(
        {
            "id": [row[0] for row in rows],
            "_hash": [0] * len(rows),
            "_source": [row[1] for row in rows],
            "_position": [row[2] for row in rows],
            "_ingested_at": [BEGINNING + timedelta(seconds=row[3]) for row in rows],
        },
        schema={
            "id": pl.String,
            "_hash": pl.Int64,
            "_source": pl.String,
            "_position": pl.Int64,
            "_ingested_at": pl.Datetime("us", "UTC"),
        },
    )


@dataclass(frozen=True)
class FakeGroup:
    """The offsets of the group: an Offsets."""

    world: World

    def committed(self, sources: Iterable[str]) -> dict[str, int | None]:
        return self.world.call(lambda: {SOURCE: self.world.committed})

    def anchors(self, sources: Iterable[str]) -> dict[str, datetime | None]:
        return self.world.call(lambda: {SOURCE: self.world.anchor})

    def ends(self, sources: Iterable[str]) -> dict[str, int]:
        return self.world.call(lambda: {SOURCE: len(self.world.log)})

    def beginnings(self, sources: Iterable[str]) -> dict[str, int]:
        return {SOURCE: 0}

    def next_record(self, source: str, offset: int) -> int:
        return offset

    def commit(self, offsets: Mapping[str, int], anchors: Mapping[str, datetime | None] | None = None) -> None:
        def effect() -> None:
            if offsets[SOURCE] > self.world.committed:
                self.world.committed = offsets[SOURCE]
                self.world.anchor = (anchors or {}).get(SOURCE) or self.world.anchor

        self.world.call(effect)


def batch_of(rows: pl.DataFrame, now: datetime, schema: pa.Schema) -> pa.RecordBatch:
    """Rows as they are appended."""
    at = pl.lit(now, dtype=pl.Datetime("us", "UTC")).alias("_ingested_at")
    table = rows.with_columns(at).select(schema.names).to_arrow().cast(schema)
    return table.combine_chunks().to_batches()[0]
