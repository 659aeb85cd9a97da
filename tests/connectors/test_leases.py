"""A lease's heartbeat, without a warehouse."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from google.api_core.exceptions import RetryError

from connectors.leases import HEARTBEAT_SECONDS, Heartbeat, Leases
from connectors.warehouse import Warehouse


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


def test_a_warehouse_that_is_away_stops_no_heartbeat() -> None:
    """The client gives its own retries up with RetryError, which is no GoogleAPICallError."""
    leases = Failing()
    with Heartbeat(leases, ["d.t"], "token", release=False) as heartbeat:
        assert leases.renewed.wait(3 * HEARTBEAT_SECONDS)
        assert not heartbeat.lost.is_set()
