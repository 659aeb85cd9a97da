"""Appends and refusals in any order of events: what is said of a row is what the table holds in the end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random

import grpc
import pyarrow as pa
import pytest

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.dataset import ensure_operations
from connectors.retry import DeadlineExceeded, RetryPolicy
from connectors.sinks.bucket_writer import Appended, BucketWriter
from contracts.lineage import SOURCE
from local.service import PROJECT
from local.services import Endpoints
from tests.e2e.append_proxy import AppendProxy, Fail, Fault, Hold, Request, rows_of
from tests.e2e.bucket_writers import DUPLICATE, FIRST, A, events_spec, owner, rows_at, stored

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
LOST = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL)
TURNS, ATTEMPTS = 14, 20
CLOSE_SECONDS = 1.0


@dataclass
class Events:
    """What happens to appends: answers that are lost, appends that take effect late, refusals that are not always
    given.
    """

    random: Random
    proxy: AppendProxy
    held: list[Hold] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rate = self.random.choice([0.1, 0.3, 0.5])
        self.always = self.random.random() < 0.3
        self.named = self.random.random() < 0.5
        self.proxy.on_append = self.append
        if self.named:
            self.proxy.refused = lambda rows: dict.fromkeys(self._refused(rows), "no")

    def append(self, request: Request) -> Fault | None:
        """The fault of one append."""
        for one in self.held:
            if not one.let_go.is_set() and self.random.random() < 0.15:
                one.let_go.set()
                one.applied.wait(CLOSE_SECONDS)  # never, where its call is gone
        chance = self.random.random()
        if chance < self.rate / 3:
            self.held.append(Hold())
            return self.held[-1]
        if chance < self.rate:
            return Fail(self.random.random() < 0.5, self.random.choice(LOST))
        if not self.named and self._refused(rows_of(request)):
            return Fail(False, grpc.StatusCode.INVALID_ARGUMENT)
        return None

    def end(self) -> None:
        """Whatever is held takes effect, if it can."""
        for one in self.held:
            one.let_go.set()
            one.applied.wait(CLOSE_SECONDS)

    def _refused(self, rows: pa.RecordBatch) -> list[int]:
        keys = rows.column("id").to_pylist()
        return [n for n, key in enumerate(keys) if str(key)[0] == "x" and (self.always or self.random.random() < 0.6)]


@pytest.fixture
def proxy(local_cloud: tuple[Path, Endpoints], monkeypatch: pytest.MonkeyPatch) -> Iterator[AppendProxy]:
    monkeypatch.setattr("connectors.sinks.bucket_writer.PAUSE_SECONDS", 0.01)
    with AppendProxy(local_cloud[1].environment()["BIGQUERY_STORAGE_EMULATOR_HOST"]) as found:
        monkeypatch.setenv("BIGQUERY_STORAGE_EMULATOR_HOST", found.address)
        yield found


@pytest.mark.parametrize("seed", [0, 11, 12, 13])
def test_what_is_said_of_a_row_is_what_the_table_holds(proxy: AppendProxy, seed: int) -> None:
    random, dataset, warehouse = Random(seed), f"campaign_{seed}", Warehouse(PROJECT, "US")
    ensure_operations(warehouse, dataset)
    warehouse.ensure_table(events_spec(dataset))
    events = Events(Random(seed), proxy)
    retry, day = RetryPolicy(3, 0.15, first_pause=0.01, longest_pause=0.05), timedelta(days=1)
    owners = [owner(warehouse, dataset, f"run-{n}", retry, day) for n in range(2)]
    said: dict[int, tuple[str, int | None]] = {}  # by position: its key, and its fate (None: it is refused)
    for _ in range(TURNS):
        names = {
            len(said) + n: f"x{random.randrange(30)}" if random.random() < 0.25 else f"k{random.randrange(60)}"
            for n in range(random.randrange(1, 9))
        }
        done = append_until_answered(random.choice(owners), names)
        fates = done.outcomes.to_list()
        said |= {at: (key, None if n in done.refused else fates[n]) for n, (at, key) in enumerate(names.items())}
    events.end()
    rows = warehouse.query(f"SELECT id, _source, _position FROM `{dataset}`.events")
    found = Counter((row["id"], row[SOURCE], row["_position"]) for row in rows)
    keys = Counter(row["id"] for row in rows)
    assert set(keys.values()) == {1}
    assert FIRST in {fate for _, fate in said.values()}
    for at, (key, fate) in said.items():
        assert ((key, A, at) in found) == (fate not in (None, DUPLICATE)), (at, key, fate)
        assert fate is None or key in keys


def append_until_answered(lane: BucketWriter, names: dict[int, str]) -> Appended:
    """As an engine does, which begins a bundle again."""
    for _ in range(ATTEMPTS):
        try:
            return lane.append(rows_at(names), stored)
        except DeadlineExceeded:
            time.sleep(0.01)
    raise AssertionError("no answer")
