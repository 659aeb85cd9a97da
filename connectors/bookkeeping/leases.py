"""One writer a table: a lease is the name of an owner in BigQuery's `leases`, and a heartbeat says that it is alive.

A run takes all its leases by one UPDATE, and releases them by another: BigQuery runs few such statements of a table at
a time. Heartbeats are rows that are only appended, to `heartbeats`. Who is alive is decided by BigQuery's clock.
Whether a lease was lost is read from the rows of `leases`, which is free.

A lease keeps runs from competing. It is no fence: its holder may sleep for an hour, and write before it looks. What
guards the rows is in the append and in the statement itself: a taker finalizes the write streams of the tables before
it reads them (write_streams.py), and the statement of a batch reads its own lease (statements.py).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from google.api_core.exceptions import BadRequest, Forbidden, NotFound, ServiceUnavailable
from google.cloud.bigquery.retry import DEFAULT_RETRY

from connectors.bigquery.clock import BigQueryClock
from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.statements import dead_letters_id, end_numbered, end_statements, fold_id, statement_id
from connectors.retry import DeadlineExceeded, RetryPolicy

__all__ = ["CONCURRENT_UPDATES", "HEARTBEAT_SECONDS", "LEASE_SECONDS", "Holder", "Leases", "is_contention"]

LEASE_SECONDS = 30
"""How long a lease lasts after the last heartbeat of its holder."""
HEARTBEAT_SECONDS = 7
HEARTBEAT_TIMEOUT = 5.0
ONE_HEARTBEAT = DEFAULT_RETRY.with_timeout(HEARTBEAT_TIMEOUT)
"""The next heartbeat comes soon: Google's clients would retry for ten minutes."""
POLL_SECONDS = 1.0
OLDEST_HEARTBEAT = "INTERVAL 1 HOUR"
"""How far back heartbeats are read: at most the partitions of two days."""
TRIES = 5
"""How often a run that lost a race for its leases, but finds nobody who holds them, tries again."""
CONTENTION = ("concurrent update", "Too many DML statements", "too many concurrent")
"""Messages of BigQuery about statements that compete for one table. The reasons, such as `invalidQuery`, say less."""


OWN_STATEMENT = "CONCAT(run_id, ' ', token, '\\n')"
"""The value of `earlier` if only the holder's own statement may be running: it has ended those before it."""
EARLIER_STATEMENTS = "earlier"
"""The same if the holder never came to begin one."""


def _sleep(seconds: float) -> None:
    time.sleep(seconds * random.uniform(0.5, 1.5))  # runs that collided do not collide again


CONCURRENT_UPDATES = RetryPolicy(deadline=180.0, first_pause=0.5, longest_pause=10.0, sleep=_sleep)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who may write a table, and until when without another heartbeat."""

    table: str
    run_id: str
    token: str
    until: datetime


class Leases:
    """Takes, renews and releases the leases of one operations dataset."""

    def __init__(self, warehouse: Warehouse, dataset: str, retry: RetryPolicy = CONCURRENT_UPDATES) -> None:
        """`retry` is for updates that BigQuery refuses because of concurrent ones."""
        self._warehouse, self._dataset, self._retry = warehouse, dataset, retry
        self._name = f"`{warehouse.project}.{dataset}.leases`"
        self._heartbeats = f"`{warehouse.project}.{dataset}.heartbeats`"
        self._clock = BigQueryClock.of(warehouse)

    def take(self, tables: Sequence[str], run_id: str, token: str, takeover: bool = False) -> Holder | None:
        """Take the leases on all `tables` or none; return None if `token` holds them, else a holder of one of them.

        With `takeover` an older attempt of the same run loses its leases at once. When this returns None, no statement
        of an earlier holder can take effect any more. Raises DeadlineExceeded.
        """
        for _ in range(TRIES):
            rows = self._rows(tables)
            if _all_held(rows, tables, token):
                self._end_earlier(rows, token)
                return None
            others = _others(rows, token)
            for holder in self._alive(others):
                if not (takeover and holder.run_id == run_id):
                    return holder
            try:
                self._replace(tables, rows, [row["token"] for row in others], run_id, token)
                rows = self._rows(tables)
                if _all_held(rows, tables, token):
                    self._end_earlier(rows, token)
                    return None
            except BaseException:
                self._release(tables, token, EARLIER_STATEMENTS)
                raise
            self._release(tables, token, EARLIER_STATEMENTS)
            if alive := self._alive(_others(rows, token)):
                return alive[0]
            self._retry.sleep(POLL_SECONDS)
        raise DeadlineExceeded(f"the leases of {', '.join(tables)} are taken by others, again and again")

    def renew(self, tables: Sequence[str], token: str) -> bool:
        """Send a heartbeat. Return False if `token` has lost any of its leases on `tables`."""
        if not self.held(tables, token):
            return False
        self._beat(token)
        return True

    def held(self, tables: Sequence[str], token: str) -> bool:
        """Return whether `token` holds the leases on all tables. It asks no statement of BigQuery."""
        owners = {row["table"] for row in self._rows(tables) if row["token"] == token}
        return owners >= set(tables)

    def known(self, names: Sequence[str]) -> set[str]:
        """Return those of `names` whose lease somebody has held, now or before."""
        return {row["table"] for row in self._rows(names)}

    def other_holder(self, table: str, token: str) -> str | None:
        """Return the run whose name is on the lease of `table`, dead or alive, if it is not `token`; else None."""
        return next((row["run_id"] for row in _others(self._rows([table]), token)), None)

    def release(self, tables: Sequence[str], token: str, finished: bool = False) -> None:
        """Release the leases that `token` holds; ignore others. `finished`: no statement of it can be running."""
        self._release(tables, token, "''" if finished else OWN_STATEMENT)

    def holders(self, tables: Sequence[str] | None = None) -> list[Holder]:
        """Return the holders of the tables that are alive, of all with None; a free table has none."""
        return self._alive([row for row in self._rows(tables) if row["token"] is not None])

    def wait_for(
        self,
        tables: Sequence[str],
        run_id: str,
        token: str,
        waiting: Callable[[Holder], None],
        sleep: Callable[[float], None] = time.sleep,
    ) -> Holder | None:
        """Take the leases for a new attempt, and wait until those of dead holders expire.

        Returns None if `token` holds all of them now, or a holder that sends a heartbeat meanwhile. Calls `waiting`
        with each holder before it waits.
        """
        first: dict[str, Holder] = {}
        while holder := self.take(tables, run_id, token, takeover=True):
            before = first.setdefault(holder.table, holder)
            if before is holder:
                waiting(holder)
            elif holder.token != before.token or holder.until > before.until:
                return holder
            sleep(POLL_SECONDS)
        return None

    def _rows(self, tables: Sequence[str] | None) -> list[dict[str, Any]]:
        """Return the rows of `tables`, None for all, read without a statement."""
        listed = self._warehouse.client.list_rows(self._warehouse.reference(self._dataset, "leases"))
        rows = [dict(each.items()) for each in listed]
        return rows if tables is None else [row for row in rows if row["table"] in set(tables)]

    def _alive(self, rows: Sequence[Mapping[str, Any]]) -> list[Holder]:
        """Return the holders among rows with a token that are alive by BigQuery's clock."""
        if not rows:
            return []
        try:
            beats = self._warehouse.query(
                "SELECT holder AS token, CURRENT_TIMESTAMP() AS now, MAX(beat_at) AS beat_at FROM UNNEST(@tokens) AS"
                f" holder LEFT JOIN (SELECT token, beat_at FROM {self._heartbeats} WHERE beat_at >"
                f" TIMESTAMP_SUB(CURRENT_TIMESTAMP(), {OLDEST_HEARTBEAT})) AS recent ON recent.token = holder"
                " GROUP BY holder",
                tokens=sorted({row["token"] for row in rows}),
            )
            now = beats[0]["now"]
        except NotFound:  # an operations dataset of the version before
            beats, now = [], self._clock.now()
        last = {beat["token"]: beat["beat_at"] for beat in beats}
        long_ago = datetime.min.replace(tzinfo=UTC)
        holders = []
        for row in rows:
            beat = last.get(row["token"])
            until = max(row["until"] or long_ago, beat + timedelta(seconds=LEASE_SECONDS) if beat else long_ago)
            if until >= now:
                holders.append(Holder(row["table"], row["run_id"], row["token"], until))
        return holders

    def _replace(
        self, tables: Sequence[str], rows: Sequence[Mapping[str, Any]], replaced: list[str], run_id: str, token: str
    ) -> None:
        """Put our name on the leases that are free or held by one of the tokens `replaced`, if nobody else did so."""
        missing = sorted(set(tables) - {row["table"] for row in rows})
        if missing:
            self._update(
                f"INSERT INTO {self._name} (`table`) SELECT name FROM UNNEST(@names) AS name"
                f" WHERE name NOT IN (SELECT `table` FROM {self._name})",
                names=missing,
            )
        self._update(
            f"UPDATE {self._name} SET earlier = IF(token IS NULL OR token = @token, earlier,"
            " CONCAT(IFNULL(earlier, ''), run_id, ' ', token, '\\n')), run_id = @run, token = @token,"
            f" until = TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL {LEASE_SECONDS} SECOND)"
            " WHERE `table` IN UNNEST(@names) AND (token IS NULL OR token = @token OR token IN UNNEST(@replaced))",
            names=list(tables),
            run=run_id,
            token=token,
            replaced=replaced,
        )

    def _end_earlier(self, rows: Sequence[Mapping[str, Any]], token: str) -> None:
        """End the statements that earlier holders may have left."""
        earlier = {(table, run_id, other) for table, run_id, other in _earlier(rows) if other != token}
        statements = {statement_id(self._dataset, table, run_id, other) for table, run_id, other in earlier}
        statements |= {dead_letters_id(self._dataset, run_id, other) for _, run_id, other in earlier}
        for statement in sorted(statements):
            end_statements(self._warehouse, statement)
        for table, run_id, other in sorted(earlier):
            end_numbered(self._warehouse, fold_id(self._dataset, table, run_id, other))

    def _release(self, tables: Sequence[str], token: str, earlier: str) -> None:
        """Release leases; `earlier` is an expression for the holders that may have left a statement."""
        self._update(
            f"UPDATE {self._name} SET earlier = {earlier},"
            " run_id = NULL, token = NULL, until = NULL WHERE `table` IN UNNEST(@names) AND token = @token",
            names=list(tables),
            token=token,
        )

    def _beat(self, token: str) -> None:
        row = {"token": token, "beat_at": self._clock.now().isoformat()}
        errors = self._warehouse.client.insert_rows_json(
            self._warehouse.reference(self._dataset, "heartbeats"),
            [row],
            retry=ONE_HEARTBEAT,
            timeout=HEARTBEAT_TIMEOUT,
        )
        if errors:
            raise ServiceUnavailable(f"BigQuery refuses a heartbeat: {errors[0]}")

    def _update(self, sql: str, **parameters: str | list[str]) -> int:
        """Run a statement, again if BigQuery refuses it because of concurrent ones; return the number of its rows."""
        return self._retry.call(
            f"BigQuery refuses an update of {self._name.strip('`')}",
            lambda: self._warehouse.update(sql, **parameters),
            retryable=is_contention,
        )


def _all_held(rows: Sequence[Mapping[str, Any]], tables: Sequence[str], token: str) -> bool:
    """Return whether all rows carry the token, and each table has one. Two takers at once may insert two rows."""
    return {row["table"] for row in rows} == set(tables) and all(row["token"] == token for row in rows)


def _others(rows: Sequence[Mapping[str, Any]], token: str) -> list[Mapping[str, Any]]:
    """Return the rows that carry another token."""
    return [row for row in rows if row["token"] not in (None, token)]


def _earlier(rows: Sequence[Mapping[str, Any]]) -> set[tuple[str, str, str]]:
    """Return table, run and token of the holders before, if they may have left a statement."""
    lines = ((row["table"], line) for row in rows for line in (row.get("earlier") or "").splitlines())
    return {(table, *line.rpartition(" ")[::2]) for table, line in lines if not table.startswith("group:")}


def is_contention(error: Exception) -> bool:
    """Return whether BigQuery refuses a statement only because of others of the same table, see CONTENTION."""
    text = str(error)
    return isinstance(error, (BadRequest, Forbidden)) and any(part in text for part in CONTENTION)
