"""One writer a table: a lease with a heartbeat, kept in BigQuery's `leases`.

A table's row names the run that may write it and until when. A lease is taken by one UPDATE, which BigQuery
runs one after the other; it is held if every row of the table then carries the taker's token (the row itself
is inserted without a lock, so two may exist for a moment). The same run takes its own lease over: the newer
attempt holds it, and the older one finds out before it writes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from google.api_core.exceptions import BadRequest, GoogleAPIError
from google.cloud.bigquery import SchemaField
from requests.exceptions import RequestException

from connectors.warehouse import TableSpec, Warehouse

__all__ = ["HEARTBEAT_SECONDS", "LEASE_SECONDS", "Heartbeat", "Holder", "Leases", "leases_spec"]

LEASE_SECONDS = 30
"""How long a lease outlives the last sign of life of its holder."""
HEARTBEAT_SECONDS = 7


@dataclass(frozen=True, slots=True)
class Holder:
    """Who may write a table, and until when."""

    table: str
    run_id: str
    token: str
    until: datetime


def leases_spec(dataset: str) -> TableSpec:
    """The table `leases`. `table` is dataset.table, or group:NAME for a Kafka consumer group."""
    return TableSpec(
        dataset,
        "leases",
        (
            SchemaField("table", "STRING", "REQUIRED", description="dataset.table, or group:NAME of a consumer group"),
            SchemaField("run_id", "STRING", description="The run that may write, null if none"),
            SchemaField("token", "STRING", description="The attempt of that run"),
            SchemaField("until", "TIMESTAMP", description="When the lease lapses without a heartbeat"),
        ),
        description="One writer a table",
    )


class Leases:
    """Takes, keeps and gives back leases."""

    def __init__(self, warehouse: Warehouse, dataset: str) -> None:
        self._warehouse = warehouse
        self._name = f"`{warehouse.project}.{dataset}.leases`"

    def take(self, table: str, run_id: str, token: str, takeover: bool = False) -> Holder | None:
        """Take or renew the lease on `table`; None if `token` holds it now, else who does.

        With `takeover` an older attempt of the same run loses it at once; a new attempt begins so.
        """
        self._warehouse.update(
            f"INSERT INTO {self._name} (`table`) SELECT @name FROM (SELECT 1) WHERE NOT EXISTS"
            f" (SELECT 1 FROM {self._name} WHERE `table` = @name)",
            name=table,
        )
        self._update(
            f"UPDATE {self._name} SET run_id = @run, token = @token,"
            f" until = TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL {LEASE_SECONDS} SECOND)"
            " WHERE `table` = @name AND (until IS NULL OR until < CURRENT_TIMESTAMP() OR token = @token"
            " OR (@takeover = 'yes' AND run_id = @run))",
            name=table, run=run_id, token=token, takeover="yes" if takeover else "no",
        )  # fmt: skip
        return next((holder for holder in self.holders([table]) if holder.token != token), None)

    def renew(self, tables: Sequence[str], token: str) -> bool:
        """Sign of life: the leases that carry `token` last a while longer. False where one is not its any more."""
        touched = [
            self._update(
                f"UPDATE {self._name} SET until = TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL {LEASE_SECONDS} SECOND)"
                " WHERE `table` = @name AND token = @token",
                name=table, token=token,
            )
            for table in tables
        ]  # fmt: skip
        return all(touched)

    def release(self, tables: Sequence[str], token: str) -> None:
        """Give the leases that carry `token` back."""
        for table in tables:
            self._update(
                f"UPDATE {self._name} SET run_id = NULL, token = NULL, until = NULL"
                " WHERE `table` = @name AND token = @token",
                name=table, token=token,
            )  # fmt: skip

    def holders(self, tables: Sequence[str]) -> list[Holder]:
        """Who holds the tables now; a free table has no entry."""
        rows = self._warehouse.query(
            f"SELECT `table` AS name, run_id, token, until FROM {self._name}"
            " WHERE `table` IN UNNEST(@names) AND until >= CURRENT_TIMESTAMP()",
            names=list(tables),
        )
        return [Holder(row["name"], row["run_id"], row["token"], row["until"]) for row in rows]

    def wait_for(self, table: str, run_id: str, token: str, waiting: Callable[[Holder], None]) -> Holder | None:
        """Take the lease for a new attempt, waiting for a holder without a sign of life; the holder if it shows one."""
        first = self.take(table, run_id, token, takeover=True)
        holder = first
        if first is not None:
            waiting(first)
        while first is not None and holder is not None:
            if holder.token != first.token or holder.until > first.until:
                return holder
            time.sleep(1)
            holder = self.take(table, run_id, token, takeover=True)
        return holder

    def _update(self, sql: str, **parameters: str) -> int:
        """An UPDATE, again where BigQuery could not put it in line with another one; the rows that it touched."""
        for attempt in range(5):
            try:
                return self._warehouse.update(sql, **parameters)
            except BadRequest as error:
                if "concurrent update" not in str(error) or attempt == 4:
                    raise
                time.sleep(1 + attempt)
        return 0


class Heartbeat:
    """Keeps leases alive in a thread of its own while a `with` block runs, and, unless told otherwise, gives them back
    at its end."""

    def __init__(self, leases: Leases, tables: Sequence[str], token: str, release: bool = True) -> None:
        self._leases, self._tables, self._token, self._release = leases, tables, token, release
        self.lost = threading.Event()
        """Set when another run has taken one of the leases."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease-heartbeat", daemon=True)

    def hand_over(self) -> None:
        """From the end of the block on someone else gives the signs of life: the leases are not given back."""
        self._release = False

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._release:
            self._leases.release(self._tables, self._token)

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            try:
                if not self._leases.renew(self._tables, self._token):
                    self.lost.set()
            except (GoogleAPIError, RequestException):
                continue  # the lease outlives three missed beats; a lapsed one is noticed before anything is written
