"""Balance the ledger of a batch: one element with all that its steps counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.pvalue import PCollection

from transforms.ledger import Balance, Item, balance
from transforms.run import Run

__all__ = ["BalanceLedger"]


@dataclass(eq=False)
class BalanceLedger(beam.PTransform[tuple[PCollection[Item], ...], PCollection[Balance]]):
    """Add up what all steps of a run counted, into one Balance.

    Attributes:
        run: The run; it limits the share of a table's records that may be refused.
    """

    run: Run

    def expand(self, counts: tuple[PCollection[Item], ...]) -> PCollection[Balance]:
        run = self.run
        balances: PCollection[Balance] = (
            counts
            | "Flatten counts" >> beam.Flatten()
            | "Key by run" >> beam.Map(lambda item: (None, item))
            | "Gather counts" >> beam.GroupByKey()
            | "Balance" >> beam.MapTuple(lambda _, items: _balance(items, run))
        )
        return balances


def _balance(items: Iterable[Item], run: Run) -> Balance:
    run.state.progress.loading = True
    return balance(items, run.max_dead_letter_ratio)
