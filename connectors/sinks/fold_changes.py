"""Fold changes in a job that continues without its launcher: the job itself does it at intervals, while it runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.utils.timestamp import Duration

from connectors.sinks.endless import Numbers
from connectors.sinks.folder import Folder, Folding

__all__ = ["FoldChanges"]

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class FoldChanges(beam.PTransform[PBegin, PCollection[None]]):
    """Fold changes at intervals until the job ends. The output is empty.

    It is a step besides KeepLeases, because a statement may take longer than a lease lasts. A fold that fails is
    logged: the next one reads the same changes.
    """

    folding: Folding

    def expand(self, pipeline: PBegin) -> PCollection[None]:
        folds: PCollection[None] = (
            pipeline | "Start" >> beam.Impulse() | "Fold" >> beam.ParDo(_FoldChanges(self.folding))
        )
        return folds


class _FoldChanges(beam.DoFn):
    """One element -> nothing, forever."""

    def __init__(self, folding: Folding) -> None:
        self._folding = folding

    def setup(self) -> None:
        self._folder = Folder(self._folding)

    @beam.DoFn.unbounded_per_element()  # type: ignore[untyped-decorator]
    def process(
        self,
        _element: object,
        numbers: Any = beam.DoFn.RestrictionParam(Numbers()),  # noqa: B008  # Beam's way to declare it
    ) -> Iterator[None]:
        """Fold once, and ask to be called again."""
        if numbers.try_claim(numbers.current_restriction().start):
            try:
                self._folder.fold()
            except Exception:
                logger.warning("changes are not merged yet; the next time reads them again", exc_info=True)
            numbers.defer_remainder(Duration(self._folding.seconds))
        return iter(())
