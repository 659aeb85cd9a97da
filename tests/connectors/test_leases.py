"""A lease's heartbeat, without a warehouse."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from google.api_core.exceptions import BadRequest, Forbidden, RetryError

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.heartbeat import Heartbeat
from connectors.bookkeeping.leases import HEARTBEAT_SECONDS, Leases
from connectors.retry import RetryPolicy


class Failing(Leases):
    """Leases that cannot be renewed at first."""

    def __init__(self) -> None:
        super().__init__(Warehouse("p", "US"), "d")
        self.beats = 0
        self.renewed = threading.Event()

    def renew(self, tables: Sequence[str], token: str) -> bool:
        self.beats += 1
        if self.beats == 1:
            raise RetryError("given up", None)
        self.renewed.set()
        return True


@pytest.mark.slow
def test_a_warehouse_that_is_away_stops_no_heartbeat() -> None:
    """The client gives its own retries up with RetryError, which is no GoogleAPICallError."""
    leases = Failing()
    with Heartbeat(leases, ["d.t"], "token", release=False) as heartbeat:
        assert leases.renewed.wait(3 * HEARTBEAT_SECONDS)
        assert not heartbeat.lost.is_set()


def test_a_lost_lease_is_noticed_although_no_heartbeat_can_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    leases = Leases(Warehouse("p", "US"), "d")
    monkeypatch.setattr(leases, "held", lambda *_: False)
    assert not leases.renew(["d.t"], "token")


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (BadRequest("Could not serialize access to table d.leases due to concurrent update"), True),
        (BadRequest("Resources exceeded: Too many DML statements outstanding against table d.leases"), True),
        (BadRequest("Syntax error"), False),
        (Forbidden("Access Denied"), False),
    ],
)
def test_statements_that_compete_are_tried_again(error: Exception, again: bool) -> None:
    sleeps: list[float] = []
    warehouse = Warehouse("p", "US")
    leases = Leases(warehouse, "d", RetryPolicy(60.0, sleep=sleeps.append))
    answers: list[object] = [error, 1]

    def update(sql: str, **_: object) -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return 1

    warehouse.update = update  # type: ignore[method-assign]
    if again:
        leases.release(["d.t"], "token")
        assert len(sleeps) == 1
    else:
        with pytest.raises(type(error)):
            leases.release(["d.t"], "token")
