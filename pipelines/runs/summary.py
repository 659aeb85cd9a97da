"""What a run has done, as values, and as the JSON of `--summary`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Generic, Self, TypeVar

from transforms.ledger import State

__all__ = ["Counts", "EndOfRun", "TableSummary", "as_json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Records by door; they balance if every record that was read has left by one door."""

    read: int = 0
    written: int = 0
    duplicate: int = 0
    dead_letter: int = 0

    @property
    def difference(self) -> int:
        """Records read minus records that left by a door; 0 if the counts balance."""
        return self.read - self.written - self.duplicate - self.dead_letter

    @classmethod
    def total(cls, counts: Iterable[Self]) -> Self:
        """Return the sum of several counts."""
        items = list(counts)
        return cls(**{count.name: sum(getattr(item, count.name) for item in items) for count in fields(cls)})


CountsT = TypeVar("CountsT", bound=Counts)


@dataclass(frozen=True, kw_only=True)
class TableSummary(Generic[CountsT]):
    """One table's part of a run."""

    counts: CountsT
    sources: Mapping[str, CountsT]
    """Counts by source: a file's URI or kafka://TOPIC/PARTITION."""
    dead_letter_by_code: Mapping[str, int]
    missing_columns: Mapping[str, Any] | None = None
    """Columns that no file has, and the names that the files have instead; None if there are none."""
    quality: tuple[Mapping[str, Any], ...] = ()
    """What became of each quality rule."""
    service_levels: tuple[Mapping[str, Any], ...] = ()
    """The service levels of the contract: `name`, `seconds` at most, and `sql` that measures it, or its `problem`."""

    def to_json(self) -> dict[str, Any]:
        """Return the value of a table's name under `tables`."""
        return {
            **asdict(self.counts),
            "dead_letter_by_code": dict(self.dead_letter_by_code),
            "sources": {source: asdict(counts) for source, counts in self.sources.items()},
            **({"missing_columns": self.missing_columns} if self.missing_columns else {}),
            **({"quality": list(self.quality)} if self.quality else {}),
            **({"service_levels": list(self.service_levels)} if self.service_levels else {}),
        }


@dataclass
class TableCounter(Generic[CountsT]):
    """Adds up ledger lines of one table."""

    kind: type[CountsT]
    by_source: dict[str, list[CountsT]] = field(default_factory=dict)
    by_code: Counter[str] = field(default_factory=Counter)

    def add(self, line: Mapping[str, Any], counts: CountsT) -> None:
        """Add a line of the ledger, whose numbers are `counts`."""
        self.by_source.setdefault(line["source"], []).append(counts)
        self.by_code.update(line["dead_letter_by_code"] or {})

    def summary(
        self, missing_columns: Mapping[str, Any] | None = None, quality: Iterable[Mapping[str, Any]] = ()
    ) -> TableSummary[CountsT]:
        """Return the sums."""
        sources = {source: self.kind.total(counts) for source, counts in self.by_source.items()}
        return TableSummary(
            counts=self.kind.total(sources.values()),
            sources=sources,
            dead_letter_by_code=dict(sorted(self.by_code.items())),
            missing_columns=missing_columns,
            quality=tuple(quality),
        )


@dataclass(frozen=True, kw_only=True)
class EndOfRun:
    """How a run has ended, whatever its pipeline; a stream's job that its launcher has left is RUNNING."""

    run_id: str
    pipeline: str
    state: State
    why: str | None
    """Why it failed, None if it did not."""
    seconds: float

    def _head(self) -> dict[str, Any]:
        """Return the keys that a summary begins with."""
        head = {"run_id": self.run_id, "pipeline": self.pipeline, "state": self.state.value}
        return {**head, **({"why": self.why} if self.why else {})}


def as_json(summary: Mapping[str, Any]) -> bytes:
    """Return the JSON text of a summary, as it is written to a file. Moments are written as text."""
    return json.dumps(summary, indent=2, default=str).encode() + b"\n"
