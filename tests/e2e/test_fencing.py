"""Each key once in the table, whatever becomes of appends and their answers, and however many own a bucket."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import grpc
import polars as pl
import pyarrow as pa
import pytest
from google.api_core.exceptions import InvalidArgument
from google.cloud.bigquery_storage_v1 import types
from google.rpc import code_pb2, status_pb2

from connectors.bigquery.append_reply import Rejected
from connectors.bigquery.append_stream import MAX_ROW_BYTES, AppendStream, StreamLost, finalize
from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.dataset import ensure_operations
from connectors.google.clients import write_client
from connectors.retry import SAME_ERROR_SECONDS, DeadlineExceeded, RetryPolicy, Unrecoverable
from connectors.sinks.bucket_writer import BucketWriter
from contracts.lineage import POSITION, SOURCE
from contracts.refusal import ErrorCode
from local import services
from local.service import PROJECT
from local.services import Endpoints
from tests.e2e.append_proxy import Answer, AppendProxy, Fail, Fault, Hold, Request, rows_of
from tests.e2e.bucket_writers import (
    DUPLICATE,
    FIRST,
    HORIZON,
    REDELIVERED,
    SCHEMA,
    A,
    append,
    events_spec,
    owner,
    rows_at,
    stored,
)
from tests.waits_for_google import waits_for_google

pytestmark = pytest.mark.e2e
UNAVAILABLE, EXHAUSTED = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED
B = "kafka://t/1"


@dataclass
class Site:
    """A table of a test's own, behind a proxy."""

    dataset: str
    warehouse: Warehouse
    proxy: AppendProxy
    committed: dict[str, int] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def lane(
        self,
        deadline: float = 20,
        answer: float = 5,
        horizon: timedelta = HORIZON,
        check: Callable[[], None] = lambda: None,
        same_error: float = SAME_ERROR_SECONDS,
    ) -> BucketWriter:
        """An owner of the table's one bucket."""
        run_id, retry = f"run-{next(self.numbers)}", RetryPolicy(deadline, answer, same_error=same_error)
        return owner(self.warehouse, self.dataset, run_id, retry, horizon, lambda: self.committed, check)

    def rows(self) -> Counter[tuple[str, str, int]]:
        """What the table holds: key, source and position."""
        found = self.warehouse.query(f"SELECT id, _source, _position FROM `{self.dataset}`.events")
        return Counter((row["id"], row[SOURCE], row[POSITION]) for row in found)

    def keys(self) -> Counter[str]:
        """The keys that it holds."""
        return Counter(row["id"] for row in self.warehouse.query(f"SELECT id FROM `{self.dataset}`.events"))

    def streams(self) -> int:
        """Write streams that may still be appended to."""
        return int(self.warehouse.query(f"SELECT COUNT(*) AS n FROM `{self.dataset}`.write_streams")[0]["n"])


@pytest.fixture
def site(
    local_cloud: tuple[Path, Endpoints], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    warehouse = Warehouse(PROJECT, "US")
    dataset = request.node.name.split("[")[0]
    if warehouse.existing(dataset, "events"):
        dataset += f"_{time.monotonic_ns()}"
    ensure_operations(warehouse, dataset)
    warehouse.ensure_table(events_spec(dataset))
    with AppendProxy(local_cloud[1].environment()["BIGQUERY_STORAGE_EMULATOR_HOST"]) as proxy:
        monkeypatch.setenv("BIGQUERY_STORAGE_EMULATOR_HOST", proxy.address)
        yield Site(dataset, warehouse, proxy)


def first(number: int, fault: Fault) -> Callable[[Request], Fault | None]:
    """The number of appends that meet the fault, from the first one on."""
    left = itertools.count()
    return lambda _: fault if next(left) < number else None


def test_an_append_is_in_once_and_known_afterwards(site: Site) -> None:
    lane = site.lane()
    assert append(lane, {1: "a", 2: "b", 3: "a"}) == [FIRST, FIRST, DUPLICATE]
    assert append(lane, {2: "b", 9: "b", 10: "c"}) == [REDELIVERED, DUPLICATE, FIRST]
    assert site.rows() == Counter([("a", A, 1), ("b", A, 2), ("c", A, 10)])
    other = site.lane()
    assert append(other, {1: "a", 3: "a"}) == [REDELIVERED, DUPLICATE]
    assert append(other, {1: "a", 2: "c"}, B) == [DUPLICATE, DUPLICATE]
    assert site.streams() == 1


@pytest.mark.parametrize("code", [UNAVAILABLE, grpc.StatusCode.INTERNAL, None])
@pytest.mark.parametrize("applied", [True, False])
def test_a_dropped_answer_is_asked_for_again(site: Site, code: grpc.StatusCode | None, applied: bool) -> None:
    lane = site.lane(answer=1)
    site.proxy.on_append = first(1, Fail(applied, code))
    assert append(lane, {1: "a", 2: "b"}) == [FIRST, FIRST]
    assert append(lane, {1: "a", 3: "c"}) == [REDELIVERED, FIRST]
    assert site.keys() == Counter("abc")
    assert site.proxy.appends == 3  # the same offset again, on the same stream, then the next one
    assert site.streams() == 1


@pytest.mark.parametrize("applied", [True, False])
def test_without_an_answer_until_the_deadline_the_next_append_takes_the_bucket_again(site: Site, applied: bool) -> None:
    lane = site.lane(deadline=1.5, answer=0.5)
    site.proxy.on_append = lambda _: Fail(applied, None)
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        append(lane, {1: "a", 2: "b"})
    assert time.monotonic() - began < 10
    site.proxy.on_append = lambda _: None
    assert append(lane, {1: "a", 2: "b"}) == ([REDELIVERED, REDELIVERED] if applied else [FIRST, FIRST])
    assert site.rows() == Counter([("a", A, 1), ("b", A, 2)])


def test_a_late_append_of_an_owner_before_is_refused(site: Site) -> None:
    one, other, held = site.lane(), site.lane(), Hold()
    assert append(one, {1: "a"}) == [FIRST]
    site.proxy.on_append = first(1, held)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(append, one, {2: "b", 3: "c", 4: "d"})
        assert held.came.wait(10)
        assert append(other, {3: "c"}) == [FIRST]  # the same record, read again by another worker
        assert append(other, {7: "b"}, B) == [FIRST]
        held.let_go.set()
        assert late.result(30) == [DUPLICATE, REDELIVERED, FIRST]
    assert held.answer is not None
    assert held.answer.error.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
    assert site.rows() == Counter([("a", A, 1), ("c", A, 3), ("b", B, 7), ("d", A, 4)])
    assert append(other, {1: "a", 4: "d", 8: "e"}) == [REDELIVERED, REDELIVERED, FIRST]
    assert site.keys() == Counter("abcde")


def test_an_append_whose_owner_gave_up_and_took_the_bucket_again_is_refused(site: Site) -> None:
    lane, held = site.lane(deadline=1, answer=0.5), Hold()
    site.proxy.on_append = lambda _: held
    with pytest.raises(DeadlineExceeded):
        append(lane, {1: "a", 2: "b"})
    site.proxy.on_append = lambda _: None
    assert append(lane, {1: "a", 2: "b"}) == [FIRST, FIRST]
    held.let_go.set()
    assert held.applied.wait(10)
    time.sleep(0.3)  # all the calls that had been held
    assert site.rows() == Counter([("a", A, 1), ("b", A, 2)])


@pytest.mark.parametrize("owners", [2, 4])
def test_owners_that_take_a_bucket_at_the_same_moment(site: Site, owners: int) -> None:
    """All append the same keys, each from its own source, again and again as new owners."""
    rounds, names = 6, [f"key-{n}" for n in range(30)]
    barrier = threading.Barrier(owners, timeout=60)
    random = Random(1)
    orders = [[random.sample(names, len(names)) for _ in range(rounds)] for _ in range(owners)]

    def own(number: int) -> list[int]:
        fates: list[int] = []
        for turn in range(rounds):
            lane = site.lane()
            barrier.wait()
            order = orders[number][turn]
            for part in range(0, len(order), 10):
                keys = {turn * 100 + part + n: f"{turn}-{key}" for n, key in enumerate(order[part : part + 10])}
                fates += append(lane, keys, f"kafka://t/{number}")
        return fates

    with ThreadPoolExecutor(owners) as pool:
        fates = Counter(itertools.chain.from_iterable(pool.map(own, range(owners))))
    assert site.keys() == Counter(f"{turn}-{key}" for turn in range(rounds) for key in names)
    # An append that was refused for good is made again and written; one that was in counts as written, too.
    assert fates[FIRST] + fates[REDELIVERED] == rounds * len(names)


def test_half_of_the_appends_that_fail_were_applied(site: Site) -> None:
    random, lane = Random(2), site.lane()
    faults = [Fail(applied, code) for applied in (True, False) for code in (UNAVAILABLE, EXHAUSTED)]
    site.proxy.on_append = lambda _: random.choice(faults) if random.random() < 0.5 else None
    site.proxy.on_call = lambda _: random.choice(faults) if random.random() < 0.5 else None
    names = [f"key-{random.randrange(60)}" for _ in range(150)]
    fates: list[int] = []
    for start in range(0, len(names), 10):
        if start == 70:
            lane = site.lane()  # a new owner, while calls fail
        fates += append(lane, {start + n: name for n, name in enumerate(names[start : start + 10])})
    assert site.keys() == Counter(set(names))
    assert Counter(fates) == {FIRST: len(set(names)), DUPLICATE: len(names) - len(set(names))}


def test_no_answer_to_other_calls_is_retried_to_the_deadline(site: Site) -> None:
    lane = site.lane(deadline=2, answer=0.5)
    site.proxy.on_call = lambda method: Fail(False, None) if method == "CreateWriteStream" else None
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        append(lane, {1: "a"})
    assert time.monotonic() - began < 10
    site.proxy.on_call = lambda _: None
    assert append(lane, {1: "a"}) == [FIRST]
    other = site.lane(deadline=2, answer=0.5)
    site.proxy.on_call = lambda method: Fail(False, UNAVAILABLE) if method == "FinalizeWriteStream" else None
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        append(other, {2: "b"})
    assert time.monotonic() - began < 10
    assert append(lane, {2: "b"}) == [FIRST]
    site.proxy.on_call = lambda _: None
    assert append(other, {2: "b", 3: "c"}) == [REDELIVERED, FIRST]
    assert site.keys() == Counter("abc")


def rejected(message: str) -> Rejected:
    """A row that BigQuery refuses by name."""
    return Rejected(ErrorCode.WAREHOUSE_REJECTED, message)


def refusing(*ids: str) -> Callable[[pa.RecordBatch], dict[int, str]]:
    """Rows with these keys are refused."""
    return lambda rows: {n: f"no {key}" for n, key in enumerate(rows.column("id").to_pylist()) if key in ids}


def test_rows_that_the_warehouse_refuses_come_back_and_the_others_are_written(site: Site) -> None:
    lane = site.lane()
    site.proxy.refused = refusing("bad", "worse")
    done = lane.append(rows_at({1: "a", 2: "bad", 3: "b", 4: "a", 5: "worse"}), stored)
    assert done.refused == {1: rejected("no bad"), 4: rejected("no worse")}
    assert done.outcomes.to_list() == [FIRST, FIRST, FIRST, DUPLICATE, FIRST]
    assert site.rows() == Counter([("a", A, 1), ("b", A, 3)])
    done = lane.append(rows_at({6: "bad"}), stored)
    assert done.refused == {0: rejected("no bad")}
    assert append(lane, {1: "a", 7: "c"}) == [REDELIVERED, FIRST]  # at the right offset
    assert append(site.lane(), {3: "b", 7: "c"}) == [REDELIVERED, REDELIVERED]
    assert site.keys() == Counter("abc")


def test_one_row_is_refused_and_another_of_the_same_key_is_not(site: Site) -> None:
    """A refused row has no key in the table: whether another record with it is good is for BigQuery to say."""
    lane = site.lane()
    site.proxy.refused = lambda rows: {
        n: "no" for n, at in enumerate(rows.column(POSITION).to_pylist()) if at in (1, 2)
    }
    done = lane.append(rows_at({1: "a", 2: "a", 3: "a", 4: "a", 5: "b"}), stored)
    assert done.refused == {0: rejected("no"), 1: rejected("no")}
    assert done.outcomes.to_list() == [FIRST, FIRST, FIRST, DUPLICATE, FIRST]
    assert site.rows() == Counter([("a", A, 3), ("b", A, 5)])
    assert append(lane, {3: "a", 5: "b", 6: "a"}) == [REDELIVERED, REDELIVERED, DUPLICATE]


def test_rows_are_refused_while_answers_are_lost(site: Site) -> None:
    random, lane = Random(4), site.lane()
    site.proxy.refused = refusing("bad")
    site.proxy.on_append = lambda _: Fail(random.random() < 0.5, UNAVAILABLE) if random.random() < 0.5 else None
    for start in range(0, 40, 4):
        names = {start: f"a{start}", start + 1: "bad", start + 2: f"b{start}", start + 3: "bad"}
        done = lane.append(rows_at(names), stored)
        assert dict(done.refused) == {1: rejected("no bad"), 3: rejected("no bad")}
    assert site.keys() == Counter(f"{letter}{start}" for start in range(0, 40, 4) for letter in "ab")


def test_a_refusal_does_not_settle_an_append_without_an_answer(site: Site) -> None:
    """The same rows are refused, and then the append that nobody has heard of is in after all."""
    lane, held = site.lane(answer=1), Hold()

    def fault(request: Request) -> Fault | None:
        if site.proxy.appends == 1:
            return held
        if site.proxy.appends == 3:
            held.let_go.set()
            assert held.applied.wait(10)
        return None

    site.proxy.on_append = fault
    site.proxy.refused = lambda rows: refusing("bad")(rows) if site.proxy.appends == 2 else {}
    assert append(lane, {1: "a", 2: "bad", 3: "c"}) == [REDELIVERED, REDELIVERED, REDELIVERED]
    assert append(lane, {4: "d", 5: "e"}) == [FIRST, FIRST]
    assert site.rows() == Counter([("a", A, 1), ("bad", A, 2), ("c", A, 3), ("d", A, 4), ("e", A, 5)])


@pytest.mark.parametrize("named", [True, False])
def test_a_row_that_is_refused_cannot_come_in_later(site: Site, named: bool) -> None:
    lane, held, unnamed = site.lane(answer=1), Hold(), Unnamed("bad")
    if named:
        site.proxy.refused = lambda rows: refusing("bad")(rows) if site.proxy.appends > 1 else {}
    site.proxy.on_append = lambda request: held if site.proxy.appends == 1 else None if named else unnamed(request)
    assert list(lane.append(rows_at({1: "bad"}), stored).refused) == [0]
    held.let_go.set()
    assert held.applied.wait(10)
    assert append(lane, {2: "b"}) == [FIRST]
    assert site.keys() == Counter("b")


def test_a_batch_larger_than_a_request_goes_in_pieces_that_fit(site: Site) -> None:
    client = write_client()
    path = f"projects/{PROJECT}/datasets/{site.dataset}/tables/events"
    stream = AppendStream.create(client, path, SCHEMA, RetryPolicy(10))
    sizes: list[int] = []

    def measured(request: Request) -> None:
        sizes.append(len(Request.serialize(request)))

    site.proxy.on_append = measured
    big = 7_900_000
    texts = [*("s" for _ in range(50)), "x" * big, "y" * big, "z" * big, *("t" for _ in range(50))]
    site.proxy.refused = lambda rows: {
        n: "no" for n, key in enumerate(rows.column("id").to_pylist()) if str(key)[0] == "y"
    }
    refused = stream.append(stored(rows_at(dict(enumerate(texts))), datetime.now(UTC)))
    assert refused == {51: rejected("no")}
    assert max(sizes) < 10_000_000
    held = [(row[1:]) for row in site.rows()]
    assert sorted(position for _, position in held) == [n for n in range(len(texts)) if n != 51]


def test_a_stream_that_was_finalized_or_is_unknown_is_lost(site: Site) -> None:
    client = write_client()
    path = f"projects/{PROJECT}/datasets/{site.dataset}/tables/events"
    stream = AppendStream.create(client, path, SCHEMA, RetryPolicy(10))
    finalize(client, stream.name, RetryPolicy(10))
    finalize(client, stream.name, RetryPolicy(10))
    with pytest.raises(StreamLost):
        stream.append(stored(rows_at({1: "a"}), datetime.now(UTC)))
    finalize(client, f"{path}/streams/unknown", RetryPolicy(10))
    with pytest.raises(StreamLost):
        AppendStream(client, f"{path}/streams/unknown", SCHEMA, RetryPolicy(10)).append(
            stored(rows_at({1: "a"}), datetime.now(UTC))
        )
    assert site.rows() == Counter()


def finalized() -> status_pb2.Status:
    """As BigQuery may say it: the code is the caller's fault in general, the reason is in the details."""
    status = status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message="The stream is finalized.")
    reason = types.StorageError(code=types.StorageError.StorageErrorCode.STREAM_FINALIZED)
    status.details.add().Pack(types.StorageError.pb(reason))
    return status


@pytest.mark.parametrize("inside", [True, False])
def test_a_stream_is_lost_also_where_only_the_details_say_so(site: Site, inside: bool) -> None:
    lane = site.lane()
    assert append(lane, {1: "a"}) == [FIRST]
    answer = types.AppendRowsResponse()
    types.AppendRowsResponse.pb(answer).error.CopyFrom(finalized())
    closed = Fail(False, grpc.StatusCode.INVALID_ARGUMENT, finalized().SerializeToString())
    site.proxy.on_append = first(1, Answer(answer) if inside else closed)
    assert append(lane, {1: "a", 2: "b"}) == [REDELIVERED, FIRST]
    assert site.keys() == Counter("ab")


class Unnamed:
    """Refuses every request in which one of some rows is, and names no row; counts what it refuses."""

    def __init__(
        self, *ids: str, code: grpc.StatusCode = grpc.StatusCode.INVALID_ARGUMENT, details: bytes = b""
    ) -> None:
        self._ids, self._fail = set(ids), Fail(False, code, details)
        self.refused = 0

    def __call__(self, request: Request) -> Fault | None:
        if self._ids.isdisjoint(rows_of(request).column("id").to_pylist()):
            return None
        self.refused += 1
        return self._fail


def test_a_request_that_is_refused_as_a_whole_loses_only_the_rows_at_fault(site: Site) -> None:
    lane, unnamed = site.lane(), Unnamed("bad", "worse")
    site.proxy.on_append = unnamed
    names = {n: f"k{n}" for n in range(200)} | {17: "bad", 18: "k3", 120: "worse", 199: "bad"}
    done = lane.append(rows_at(names), stored)
    # The second "bad" is no duplicate of a row that is not there: it is tried, and refused, too.
    assert dict(done.refused) == dict.fromkeys((17, 120, 199), rejected("the proxy says so"))
    assert unnamed.refused < 60
    assert append(lane, {300: "more", 301: "k5"}) == [FIRST, DUPLICATE]  # at the right offset
    good = {name: at for at, name in reversed(names.items()) if name not in ("bad", "worse")} | {"more": 300}
    assert site.rows() == Counter((name, A, at) for name, at in good.items())
    site.proxy.on_append = lambda _: None
    assert append(site.lane(), {17: "bad", 18: "k3", 19: "k19"}) == [FIRST, DUPLICATE, REDELIVERED]


def test_rows_are_refused_as_a_whole_while_answers_are_lost(site: Site) -> None:
    random, lane, unnamed = Random(6), site.lane(), Unnamed("bad")
    lost = [Fail(applied, code) for applied in (True, False) for code in (UNAVAILABLE, EXHAUSTED)]
    site.proxy.on_append = lambda request: unnamed(request) or (random.choice(lost) if random.random() < 0.4 else None)
    for start in range(0, 64, 8):
        names = {start + n: "bad" if n == start // 8 else f"a{start + n}" for n in range(8)}
        assert list(lane.append(rows_at(names), stored).refused) == [start // 8]
    assert site.keys() == Counter(f"a{n}" for n in range(64) if n % 8 != n // 8)


def test_a_request_that_is_too_large_for_the_server_is_halved(site: Site) -> None:
    lane = site.lane()
    site.proxy.on_append = lambda request: (
        Fail(False, EXHAUSTED, message="Received message larger than max (9 vs. 1)")
        if len(Request.serialize(request)) > 300_000
        else None
    )
    texts = {n: f"{n}" * 90_000 for n in range(8)} | {8: "x" * 400_000}
    done = lane.append(rows_at(texts), stored)
    assert {row: reason.code for row, reason in done.refused.items()} == {8: ErrorCode.RECORD_TOO_LARGE}
    assert len(site.rows()) == 8


def test_a_quota_is_no_reason_to_refuse_a_small_row(site: Site) -> None:
    site.proxy.on_append = first(2, Fail(False, EXHAUSTED, message="Concurrent connections exceeds maximum"))
    assert append(site.lane(), {1: "a"}) == [FIRST]
    assert site.keys() == Counter("a")


def test_a_row_over_the_limit_is_refused_before_it_is_sent(site: Site) -> None:
    lane = site.lane()
    done = lane.append(rows_at({1: "a", 2: "x" * MAX_ROW_BYTES, 3: "b"}), stored)
    assert {row: reason.code for row, reason in done.refused.items()} == {1: ErrorCode.RECORD_TOO_LARGE}
    assert site.proxy.appends == 2
    assert site.keys() == Counter("ab")


def test_a_row_that_cannot_be_encoded_is_refused_alone(site: Site) -> None:
    def narrow(rows: pl.DataFrame, now: datetime) -> pa.RecordBatch:
        if "bad" in rows["id"]:
            raise pa.ArrowInvalid("would lose data")
        return stored(rows, now)

    lane = site.lane()
    done = lane.append(rows_at({n: "bad" if n in (0, 5) else f"k{n}" for n in range(9)}), narrow)
    assert dict(done.refused) == dict.fromkeys((0, 5), rejected("no row of the table: would lose data"))
    assert append(lane, {9: "a"}) == [FIRST]
    assert site.keys() == Counter([f"k{n}" for n in range(9) if n not in (0, 5)] + ["a"])


def test_a_table_that_is_at_fault_costs_no_row(site: Site) -> None:
    """What is wrong with the table, or said to be about the stream or the schema, is no reason to refuse a record."""
    lane = site.lane(check=misfit)
    site.proxy.on_append = first(1, Fail(False, grpc.StatusCode.INVALID_ARGUMENT))
    with pytest.raises(ValueError, match="the table is another one"):
        append(lane, {1: "a"})
    assert append(lane, {1: "a"}) == [FIRST]
    status = status_pb2.Status(code=code_pb2.INVALID_ARGUMENT)
    reason = types.StorageError(code=types.StorageError.StorageErrorCode.INVALID_STREAM_TYPE)
    status.details.add().Pack(types.StorageError.pb(reason))
    site.proxy.on_append = first(1, Fail(False, grpc.StatusCode.INVALID_ARGUMENT, status.SerializeToString()))
    with pytest.raises(InvalidArgument):
        append(lane, {2: "b"})
    assert append(lane, {2: "b"}) == [FIRST]


def misfit() -> None:
    """A check of a table that fails."""
    raise ValueError("the table is another one")


def test_row_errors_that_name_no_row_of_the_request_end(site: Site) -> None:
    answer = types.AppendRowsResponse(row_errors=[types.RowError(index=7, message="which?")])
    answer.error.code = code_pb2.INVALID_ARGUMENT
    site.proxy.on_append = lambda request: (
        Answer(answer) if "bad" in rows_of(request).column("id").to_pylist() else None
    )
    done = site.lane().append(rows_at({1: "a", 2: "bad", 3: "c"}), stored)
    assert list(done.refused) == [1]
    assert site.keys() == Counter("ac")


def test_the_same_internal_error_for_too_long_is_the_end(site: Site) -> None:
    lane = site.lane(deadline=60, same_error=1.0)
    site.proxy.on_append = lambda _: Fail(False, grpc.StatusCode.INTERNAL)
    with pytest.raises(
        Unrecoverable, match=r"BigQuery refuses the appends to .*events, for more than 1 s: INTERNAL the proxy"
    ):
        append(lane, {1: "a"})
    assert waits_for_google() == []


def test_a_bucket_that_is_given_up_is_no_wait_any_more(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.sinks.bucket_writer.MAX_TAKES", 2)
    monkeypatch.setattr("transforms.waits.SAY_AFTER_SECONDS", 0.0)
    site.proxy.on_append = lambda _: Fail(False, grpc.StatusCode.NOT_FOUND)
    with pytest.raises(DeadlineExceeded, match="2 times in a row"):
        append(site.lane(), {1: "a"})
    assert waits_for_google() == []


def test_a_warehouse_that_knows_no_stream_any_more(site: Site, local_cloud: tuple[Path, Endpoints]) -> None:
    lane = site.lane()
    assert append(lane, {1: "a", 2: "b"}) == [FIRST, FIRST]
    services.down(local_cloud[0])
    assert services.up(local_cloud[0], ("gcs", "bigquery")).environment() == local_cloud[1].environment()
    assert append(lane, {2: "b", 3: "c"}) == [REDELIVERED, FIRST]
    assert append(site.lane(), {3: "c", 4: "d"}) == [REDELIVERED, FIRST]
    assert site.keys() == Counter("abcd")


def test_what_is_read_again_from_before_the_horizon_is_known(site: Site) -> None:
    """Records whose offsets are not committed may be read again at any time: their keys are never forgotten."""
    lane = site.lane(horizon=timedelta(seconds=0.4))
    assert append(lane, {1: "a", 2: "b"}) == [FIRST, FIRST]
    for position in range(3, 8):
        time.sleep(0.2)
        assert append(lane, {position: f"c{position}"}) == [FIRST]
    assert append(lane, {1: "a", 2: "b", 3: "c3"}) == [REDELIVERED, REDELIVERED, REDELIVERED]
    assert append(lane, {8: "c7"}) == [DUPLICATE]
    assert set(site.keys().values()) == {1}


def test_what_an_engine_reads_again_from_behind_the_committed_offset_is_known(site: Site) -> None:
    """A recovered checkpoint may be older than the last commit, and the worker that wrote the rows may be gone."""
    horizon = timedelta(seconds=0.2)
    lane = site.lane(horizon=horizon)
    for position in range(1, 5):
        assert append(lane, {position: f"a{position}"}) == [FIRST]
        time.sleep(0.3)
    site.committed = {A: 5}
    other = site.lane(horizon=horizon)
    assert append(other, {4: "a4"}) == [REDELIVERED]
    assert append(other, {2: "a2", 3: "a3", 5: "a5"}) == [REDELIVERED, REDELIVERED, FIRST]
    assert append(other, {1: "a1"}) == [REDELIVERED]
    assert append(other, {1: "n"}, B) == [FIRST]
    assert set(site.keys().values()) == {1}
