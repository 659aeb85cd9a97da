"""Keep the leases of a job that continues without its launcher: the job itself sends the heartbeats while it runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.utils.timestamp import Duration
from google.api_core.exceptions import GoogleAPIError
from requests.exceptions import RequestException

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.leases import HEARTBEAT_SECONDS, Leases
from connectors.bookkeeping.write_streams import WriteStreams
from connectors.retry import DeadlineExceeded, RetryPolicy
from connectors.sinks.bucket_writers import LeaseLost
from connectors.sinks.endless import Numbers
from transforms.run import Run

__all__ = ["KeepLeases"]

logger = logging.getLogger(__name__)
UPKEEP_BEATS = 90
"""How many heartbeats there are between two times of upkeep."""
FENCE = RetryPolicy(60.0)
"""How long one heartbeat waits for BigQuery when the leases had to be taken again."""


@dataclass(eq=False)
class KeepLeases(beam.PTransform[PBegin, PCollection[None]]):
    """Take leases, and renew them until the job ends. The output is empty.

    It raises LeaseLost if another run holds one: at the start, because the job may not write; later, because its own
    leases lapsed and another run took them. It is a source without an end: a timer would stop when its input ends,
    because the watermark of a bounded input passes the end of the window.

    Attributes:
        warehouse: Where the leases are.
        run: The run that holds them.
        names: What the leases are about, see LEASES of contracts/bookkeeping.py.
        upkeep: Called every ten minutes or so: see pipelines/stream/progress.py.
    """

    warehouse: Warehouse
    run: Run
    names: tuple[str, ...]
    upkeep: Callable[[], None] | None = None

    def expand(self, pipeline: PBegin) -> PCollection[None]:
        heartbeats: PCollection[None] = (
            pipeline
            | "Start" >> beam.Impulse()
            | "Send heartbeats" >> beam.ParDo(_SendHeartbeats(self.warehouse, self.run, self.names, self.upkeep))
        )
        return heartbeats


class _SendHeartbeats(beam.DoFn):
    """One element -> nothing, forever."""

    def __init__(
        self, warehouse: Warehouse, run: Run, names: tuple[str, ...], upkeep: Callable[[], None] | None = None
    ) -> None:
        self._warehouse, self._run, self._names = warehouse, run, names
        self._upkeep = upkeep

    @beam.DoFn.unbounded_per_element()  # type: ignore[untyped-decorator]
    def process(
        self,
        _element: object,
        numbers: Any = beam.DoFn.RestrictionParam(Numbers()),  # noqa: B008  # Beam's way to declare it
    ) -> Iterator[None]:
        """Send one heartbeat, and ask to be called again."""
        number = numbers.current_restriction().start
        if numbers.try_claim(number):
            self._send()
            if self._upkeep and number % UPKEEP_BEATS == UPKEEP_BEATS - 1:
                try:
                    self._upkeep()
                except Exception:  # they are kept for days: the next time is soon enough
                    logger.info("idle offsets are not committed again", exc_info=True)
            numbers.defer_remainder(Duration(HEARTBEAT_SECONDS))
        return iter(())

    def _send(self) -> None:
        run = self._run
        leases = Leases(self._warehouse, run.operations_dataset)
        try:
            if leases.renew(self._names, run.token):
                return
            if holder := leases.take(self._names, run.run_id, run.token):
                raise LeaseLost(f"{holder.table} is held by run {holder.run_id}")
            # Another run may have written meanwhile: no worker may use what it knew of the tables.
            streams = WriteStreams(self._warehouse, run.operations_dataset, run.run_id, FENCE)
            for name in self._names:
                streams.fence(name)
        except (GoogleAPIError, RequestException, DeadlineExceeded):
            pass  # a lease outlives three missed heartbeats, and no append relies on it
