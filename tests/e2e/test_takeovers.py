"""A table changes hands while what its last owner began is still on its way: no row is lost, doubled or overwritten."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from google.api_core.exceptions import NotFound
from google.cloud.bigquery_storage_v1 import BigQueryWriteClient

from connectors.bigquery.warehouse import JobFailed, Warehouse
from connectors.bookkeeping import leases as leases_module
from connectors.bookkeeping import statements, write_streams
from connectors.bookkeeping.dataset import ensure_operations
from connectors.bookkeeping.leases import Leases
from connectors.bookkeeping.statements import lease_condition, statement_id
from connectors.bookkeeping.write_streams import WriteStreams
from connectors.files.storage import Storage
from connectors.retry import RetryPolicy
from connectors.sinks.attempt import RunStopped
from connectors.sinks.bucket_writer import BucketWriter
from connectors.sinks.bucket_writers import LeaseLost
from connectors.sinks.close import CloseRun, LoadedTable
from connectors.sinks.dead_letter_store import NewDeadLetters
from connectors.sinks.destination import Destination
from connectors.sinks.keep_leases import _SendHeartbeats
from connectors.sinks.load import StagedTable, TableLoad, _Merge
from contracts.table import Column, Kind, Table
from local.service import PROJECT
from local.services import Endpoints
from tests.e2e.bucket_writers import DUPLICATE, FIRST, REDELIVERED, append, events_spec, owner
from tests.graphs.streams import RUN

pytestmark = pytest.mark.e2e
RETRY = RetryPolicy(20, 5)


class Place:
    """A table of a test's own with its leases; the stream's token is `stream`, the batch's `batch`."""

    def __init__(self, dataset: str) -> None:
        self.dataset, self.name = dataset, f"{dataset}.events"
        self.warehouse = Warehouse(PROJECT, "US")
        self.leases = Leases(self.warehouse, dataset)
        self.numbers = itertools.count()
        ensure_operations(self.warehouse, dataset)
        self.warehouse.ensure_table(events_spec(dataset))

    def writer(self) -> BucketWriter:
        """A stream's writer, which looks at the lease as the pipeline's do."""

        def lost() -> None:
            if other := self.leases.other_holder(self.name, "stream"):
                raise LeaseLost(f"held by {other}")

        return owner(self.warehouse, self.dataset, f"run-{next(self.numbers)}", RETRY, lost=lost)

    def lapse(self) -> None:
        """The holder's heartbeats stop for longer than its lease lasts."""
        self.warehouse.update(
            f"UPDATE `{self.dataset}`.leases SET until = TIMESTAMP '2020-01-01 00:00:00 UTC' WHERE TRUE"
        )
        self.warehouse.update(f"DELETE FROM `{self.dataset}`.heartbeats WHERE TRUE")

    def insert(self, key: str, token: str) -> str:
        """The statement of a batch that inserts a row with `key` unless the table has it."""
        lease = lease_condition(f"`{PROJECT}.{self.dataset}.leases`", self.name, token)
        return (
            f"INSERT INTO `{self.dataset}`.events (id, _source, _position, _hash, _ingested_at)"
            f" SELECT '{key}', 'file', 0, 0, CURRENT_TIMESTAMP() FROM (SELECT 1) WHERE {lease} AND NOT EXISTS"
            f" (SELECT 1 FROM `{self.dataset}`.events WHERE id = '{key}')"
        )

    def batch(self, *keys: str) -> None:
        """A batch that takes the table, writes keys and releases it."""
        assert self.merge(self.run("nightly", "batch")).balanced
        for key in keys:
            self.warehouse.execute(self.insert(key, "batch"), f"insert-{self.dataset}-{key}")
        self.leases.release([self.name], "batch")

    def run(self, run_id: str, token: str) -> Destination:
        """One attempt of a run into the table."""
        settings = {"run_id": run_id, "token": token, "operations_dataset": self.dataset}
        run = replace(
            RUN, **settings, project=PROJECT, processed="gs://takeovers/processed", dead_letters="gs://takeovers/d"
        )
        table = Table("events", (Column("id", Kind.STRING, required=True),), ("id",))
        return Destination(run, {"events": table}, {"events": self.dataset}, self.warehouse)

    def merge(self, to: Destination) -> LoadedTable:
        """The merge of a run that has staged nothing."""
        (loaded,) = _Merge(to, NewDeadLetters(to)).process(StagedTable(TableLoad("events", (), {}, ()), "", ""))
        return loaded

    def close(self, to: Destination, loaded: LoadedTable) -> Iterator[str]:
        """The end of a run."""
        return CloseRun(to, Storage(PROJECT)).process((None, [loaded]))

    def ends(self, run_id: str) -> list[str]:
        """How the run has ended, once for each of its last lines."""
        ledger = f"`{self.dataset}`.ledger"
        rows = self.warehouse.query(f"SELECT state FROM {ledger} WHERE kind = 'run' AND run_id = @run", run=run_id)
        return [row["state"] for row in rows]

    def keys(self) -> Counter[str]:
        """The keys of the table."""
        return Counter(row["id"] for row in self.warehouse.query(f"SELECT id FROM `{self.dataset}`.events"))


@pytest.fixture
def place(local_cloud: tuple[Path, Endpoints], request: pytest.FixtureRequest) -> Place:
    return Place(request.node.name.split("[")[0])


def test_a_stream_whose_lease_lapsed_knows_what_a_batch_wrote_meanwhile(place: Place) -> None:
    assert place.leases.take([place.name], "stream", "stream") is None
    writer = place.writer()
    assert append(writer, {1: "a"}) == [FIRST]
    place.lapse()
    place.batch("k")
    assert append(writer, {2: "k", 3: "b"}) == [DUPLICATE, FIRST]
    assert place.keys() == Counter("akb")


def test_a_stream_appends_nothing_while_another_run_holds_its_table(place: Place) -> None:
    assert place.leases.take([place.name], "stream", "stream") is None
    writer = place.writer()
    assert append(writer, {1: "a"}) == [FIRST]
    place.lapse()
    assert place.leases.take([place.name], "nightly", "batch") is None
    WriteStreams(place.warehouse, place.dataset, "nightly", RETRY).fence(place.name)
    with pytest.raises(LeaseLost, match="nightly"):
        append(writer, {2: "k"})
    assert place.keys() == Counter("a")


def test_an_owner_that_looked_at_the_lease_before_the_batch_took_it_looks_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It pauses between its look and the entry of its stream, so the batch does not see the stream."""
    assert place.leases.take([place.name], "stream", "stream") is None
    take = WriteStreams.take

    def after_a_batch_began(streams: WriteStreams, *arguments: object) -> object:
        place.lapse()
        assert place.leases.take([place.name], "nightly", "batch") is None
        WriteStreams(place.warehouse, place.dataset, "nightly", RETRY).fence(place.name)
        return take(streams, *arguments)

    monkeypatch.setattr(WriteStreams, "take", after_a_batch_began)
    with pytest.raises(LeaseLost):
        append(place.writer(), {1: "k"})


def test_a_job_that_takes_its_leases_again_makes_its_writers_read_the_table(place: Place) -> None:
    """Also if who wrote meanwhile has finalized nothing."""
    run = replace(RUN, run_id="stream", token="stream", operations_dataset=place.dataset)
    beats = _SendHeartbeats(place.warehouse, run, (place.name, "group:g"))
    beats._send()
    writer = place.writer()
    assert append(writer, {1: "a"}) == [FIRST]
    place.lapse()
    assert place.leases.take([place.name], "nightly", "batch") is None
    place.warehouse.execute(place.insert("k", "batch"), f"insert-{place.dataset}")
    with pytest.raises(LeaseLost):
        beats._send()
    place.leases.release([place.name], "batch")
    beats._send()
    assert place.leases.held([place.name, "group:g"], "stream")
    assert append(writer, {2: "k"}) == [DUPLICATE]


def test_a_statement_that_comes_late_fails_without_its_lease(place: Place) -> None:
    """Its run was killed with the statement on its way. The next run has come and gone."""
    assert place.leases.take([place.name], "old", "old-token") is None
    statement = place.insert("k", "old-token")
    place.lapse()
    place.batch("k")
    place.warehouse.update(f"DELETE FROM `{place.dataset}`.events WHERE id = 'k'")  # what the next run decided
    with pytest.raises(JobFailed, match=r"lease of .* is lost"):
        place.warehouse.execute(statement, statement_id(place.dataset, place.name, "old", "old-token"))
    assert place.keys() == Counter()


class Running:
    """A job that runs until it is cancelled."""

    def __init__(self, job_id: str, log: list[str]) -> None:
        self.state, self._id, self._log = "PENDING", job_id, log

    def cancel(self) -> None:
        self._log.append(f"cancel {self._id}")

    def reload(self) -> None:
        self.state = "RUNNING" if self.state == "PENDING" else "DONE"


def running(place: Place, monkeypatch: pytest.MonkeyPatch, *jobs: str) -> list[str]:
    """Let BigQuery have these jobs; the calls about them."""
    log: list[str] = []
    known = {job: Running(job, log) for job in jobs}

    def get_job(_: object, job_id: str, **__: object) -> Running:
        if job_id not in known:
            raise NotFound(job_id)
        log.append(f"get {job_id}")
        return known[job_id]

    monkeypatch.setattr("google.cloud.bigquery.Client.get_job", get_job)
    monkeypatch.setattr(statements.time, "sleep", lambda _: None)
    return log


def test_who_takes_a_table_ends_the_statement_that_a_killed_run_left(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = statement_id(place.dataset, place.name, "old", "old-token") + "-1"
    assert place.leases.take([place.name], "old", "old-token") is None
    place.lapse()
    log = running(place, monkeypatch, job)
    assert place.leases.take([place.name], "new", "new-token") is None
    assert log == [f"get {job}", f"cancel {job}", f"cancel {job}"]


def test_a_taker_that_is_killed_leaves_the_statement_to_the_next_one(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert place.leases.take([place.name], "old", "old-token") is None
    place.lapse()
    with monkeypatch.context() as patch:
        patch.setattr(leases_module, "end_statements", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            place.leases.take([place.name], "second", "second-token")
    job = statement_id(place.dataset, place.name, "old", "old-token") + "-1"
    log = running(place, monkeypatch, job)
    assert place.leases.take([place.name], "third", "third-token") is None
    assert f"cancel {job}" in log


def test_an_interrupted_run_releases_its_lease_and_its_statement_is_ended(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert place.leases.take([place.name], "old", "old-token") is None
    place.leases.release([place.name], "old-token")
    log = running(place, monkeypatch, statement_id(place.dataset, place.name, "old", "old-token") + "-1")
    assert place.leases.take([place.name], "new", "new-token") is None
    assert any(call.startswith("cancel") for call in log)


def test_statements_of_two_environments_have_different_ids() -> None:
    arguments = ("run", "token")
    ids = {
        statement_id(operations, f"{dataset}.products", *arguments)
        for operations in ("operations", "operations_dev")
        for dataset in ("shop", "shop_dev")
    }
    assert len(ids) == 4
    assert all(each.startswith("batch-run-products-merge-") for each in ids)


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """BigQuery answers the first finalize with NOT_FOUND, although the stream exists; how often it was asked."""
    asked: list[str] = []
    finalize = BigQueryWriteClient.finalize_write_stream

    def answer(client: BigQueryWriteClient, *, name: str, **options: object) -> object:
        asked.append(name)
        if len(asked) == 1:
            raise NotFound("Requested entity was not found")
        return finalize(client, name=name, **options)

    monkeypatch.setattr(BigQueryWriteClient, "finalize_write_stream", answer)
    return asked


def test_not_found_is_no_proof_that_a_stream_is_finalized(place: Place, forgetful: list[str]) -> None:
    before, now = place.writer(), place.writer()
    assert append(before, {1: "a"}) == [FIRST]
    assert append(now, {2: "b"}) == [FIRST]
    assert len(forgetful) == 2
    assert append(before, {3: "b", 4: "a"}, "kafka://t/1") == [DUPLICATE, DUPLICATE]
    assert place.keys() == Counter("ab")


def test_a_stream_that_stays_unknown_is_gone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_streams, "UNKNOWN_AGE_SECONDS", 1.0)
    monkeypatch.setattr(write_streams, "UNKNOWN_SECONDS", 0.3)
    monkeypatch.setattr(write_streams, "finalize", lambda *_: False)
    assert append(place.writer(), {1: "a"}) == [FIRST]
    began = time.monotonic()
    assert append(place.writer(), {2: "b"}) == [FIRST]
    assert 0.3 <= time.monotonic() - began < 10


def test_many_runs_take_and_renew_their_leases_at_once(place: Place) -> None:
    """One statement to take all tables of a run, one to release them, none to renew."""
    runs = 12
    statements_run: list[str] = []
    lock = threading.Lock()

    class Counting(Warehouse):
        def update(self, sql: str, **parameters: object) -> int:
            with lock:
                statements_run.append(sql.split()[0])
            return super().update(sql, **parameters)

    def live(number: int) -> bool:
        leases, names = Leases(Counting(PROJECT, "US"), place.dataset), [f"d.t{number}", f"d.u{number}"]
        assert leases.take(names, f"run-{number}", f"token-{number}") is None
        renewed = all(leases.renew(names, f"token-{number}") for _ in range(3))
        leases.release(names, f"token-{number}")
        return renewed

    with ThreadPoolExecutor(runs) as pool:
        assert all(pool.map(live, range(runs)))
    assert Counter(statements_run) == {"INSERT": runs, "UPDATE": 2 * runs}


def test_a_lease_of_the_version_before_is_respected(place: Place) -> None:
    """It has `until`, and no heartbeat elsewhere."""
    place.warehouse.update(
        f"INSERT INTO `{place.dataset}`.leases (`table`, run_id, token, until) VALUES"
        " ('d.t', 'before', 'token-before', TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL 20 SECOND))"
    )
    holder = place.leases.take(["d.t"], "now", "token-now")
    assert holder is not None
    assert holder.run_id == "before"
    assert place.leases.take(["d.t"], "before", "token-now", takeover=True) is None


def test_all_leases_are_taken_or_none(place: Place) -> None:
    assert place.leases.take(["d.b"], "other", "other") is None
    holder = place.leases.take(["d.a", "d.b"], "mine", "mine")
    assert holder is not None
    assert holder.table == "d.b"
    assert place.leases.holders(["d.a", "d.b"]) == [holder]


def test_an_older_attempt_that_wakes_after_the_newer_one_touches_nothing(place: Place) -> None:
    """It is neither loaded again, nor does it delete the files of the newer attempt or write to the ledger."""
    old, new = place.run("nightly", "old-token"), place.run("nightly", "new-token")
    assert place.leases.take([place.name], "nightly", "old-token") is None
    assert place.leases.take([place.name], "nightly", "new-token", takeover=True) is None
    with pytest.raises(RunStopped, match="another attempt"):
        place.merge(old)
    loaded = place.merge(new)
    assert list(place.close(new, loaded)) == ["nightly"]
    ends = place.ends("nightly")
    with pytest.raises(RunStopped, match="finished"):
        place.merge(old)
    storage, file = Storage(PROJECT), "gs://takeovers/processed/events/run_id=nightly/newer.parquet"
    storage.client.create_bucket("takeovers")
    storage.write(file, b"")
    assert list(place.close(old, loaded)) == ["nightly"]
    assert storage.read(file) == b""
    assert place.ends("nightly") == ends == ["done"]


def test_two_jobs_with_one_token_write_each_row_once(place: Place) -> None:
    """Two starts of one template: the lease lets both, and they take the bucket from each other."""
    assert place.leases.take([place.name], "stream", "stream") is None
    one, other = place.writer(), place.writer()
    assert append(one, {1: "a"}) == [FIRST]
    assert append(other, {1: "a", 2: "b"}) == [REDELIVERED, FIRST]
    assert append(one, {2: "b", 3: "c"}) == [REDELIVERED, FIRST]
    assert place.keys() == Counter("abc")
