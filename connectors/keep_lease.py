"""The leases of a job that outlives its launcher: the job itself gives the signs of life, as long as it runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.utils.timestamp import Duration
from google.api_core.exceptions import GoogleAPIError
from requests.exceptions import RequestException

from connectors.bigquery_append import LeaseLost
from connectors.leases import HEARTBEAT_SECONDS, Leases
from connectors.warehouse import Warehouse
from transforms.run import Run

__all__ = ["KeepLeases"]


class _Beats(RestrictionProvider):
    """Numbers of heartbeats, without an end."""

    def initial_restriction(self, element: object) -> OffsetRange:
        return OffsetRange(0, sys.maxsize)

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, element: object, restriction: OffsetRange) -> int:
        return 1


class KeepLeases(beam.DoFn):
    """Anything, once -> nothing; takes the leases, and renews them until the job ends.

    It fails where another run holds one: at the start, since the job may not write, and later, since its own leases
    have lapsed and it was overtaken. A source without an end, for a timer would end with its input (a bounded one lets
    the watermark pass the window).
    """

    def __init__(self, warehouse: Warehouse, run: Run, names: Sequence[str]) -> None:
        """`names` are what leases are of, see `leases_spec`."""
        self._warehouse, self._run, self._names = warehouse, run, tuple(names)

    @beam.DoFn.unbounded_per_element()  # type: ignore[untyped-decorator]
    def process(
        self,
        element: object,
        beats: Any = beam.DoFn.RestrictionParam(_Beats()),  # noqa: B008  # Beam's way to say it
    ) -> Iterator[None]:
        """Give one sign of life, and ask to be called again."""
        number = beats.current_restriction().start
        if beats.try_claim(number):
            self._beat()
            beats.defer_remainder(Duration(HEARTBEAT_SECONDS))
        return iter(())

    def _beat(self) -> None:
        run = self._run
        leases = Leases(self._warehouse, run.operations_dataset)
        try:
            if leases.renew(self._names, run.token):
                return
            for name in self._names:
                if holder := leases.take(name, run.run_id, run.token):
                    raise LeaseLost(f"{name} is held by run {holder.run_id}")
        except (GoogleAPIError, RequestException):
            pass  # a lease outlives three missed beats
