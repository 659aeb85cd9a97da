"""What was sent about alarms, so that each is sent once, however many look: `notices` of an operations dataset.

Two checks may see an alarm at once. A check claims the change of an alarm's row before it sends it: one MERGE changes
the row only if it is still as it was read. BigQuery lets one of two such statements fail, and it is tried again.
"""

from __future__ import annotations

import enum

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.leases import CONCURRENT_UPDATES, is_contention
from connectors.retry import RetryPolicy
from contracts.bookkeeping import NOTICES

__all__ = ["About", "NoticeState", "Notices"]

About = tuple[str, str]
"""An alarm: its kind, and what it is about."""


class NoticeState(enum.Enum):
    """What was sent last about an alarm."""

    OPEN = "open"
    OVER = "over"


class Notices:
    """The notices of one operations dataset, as one check sees them."""

    def __init__(self, warehouse: Warehouse, dataset: str, token: str, retry: RetryPolicy = CONCURRENT_UPDATES) -> None:
        """`token` names the check."""
        self._warehouse, self._token, self._retry = warehouse, token, retry
        self._reference = warehouse.reference(dataset, NOTICES.name)
        self._name = f"`{warehouse.project}.{dataset}.{NOTICES.name}`"

    def open(self) -> set[About]:
        """Return the alarms that were sent and are not over, as far as was said. It asks no statement of BigQuery."""
        rows = (dict(row.items()) for row in self._warehouse.client.list_rows(self._reference))
        return {(row["alarm"], row["about"]) for row in rows if row["state"] == NoticeState.OPEN.value}

    def claim(self, alarm: About, state: NoticeState) -> bool:
        """Put an alarm into this state. Return False if it is in it already: another check was first."""
        insert = "NOT MATCHED THEN INSERT (alarm, about, state, token, changed_at)"
        sql = (
            f"MERGE {self._name} AS noticed USING (SELECT @alarm AS alarm, @about AS about) AS seen"
            " ON noticed.alarm = seen.alarm AND noticed.about = seen.about"
            " WHEN MATCHED AND noticed.state != @state THEN"
            " UPDATE SET state = @state, token = @token, changed_at = CURRENT_TIMESTAMP()"
            f" WHEN {insert} VALUES (@alarm, @about, @state, @token, CURRENT_TIMESTAMP())"
        )
        return self._update(sql, alarm, state) == 1

    def give_back(self, alarm: About, state: NoticeState) -> None:
        """Put an alarm that this check has claimed into the state before, for the next check to send it."""
        before = NoticeState.OVER if state is NoticeState.OPEN else NoticeState.OPEN
        self._update(
            f"UPDATE {self._name} SET state = @state WHERE alarm = @alarm AND about = @about AND token = @token",
            alarm,
            before,
        )

    def _update(self, sql: str, alarm: About, state: NoticeState) -> int:
        kind, about = alarm
        return self._retry.call(
            f"BigQuery refuses an update of {self._name.strip('`')}",
            lambda: self._warehouse.update(sql, alarm=kind, about=about, state=state.value, token=self._token),
            retryable=is_contention,
        )
