"""Quality rules and relationships of a contract, as a run checks them after a load."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from decimal import Decimal

__all__ = ["OPERATORS", "PAIRS", "Bound", "Listed", "Metric", "Rule", "Severity", "Target"]

OPERATORS = {
    "mustBe": "must be",
    "mustNotBe": "must not be",
    "mustBeGreaterThan": "must be greater than",
    "mustBeGreaterOrEqualTo": "must be at least",
    "mustBeLessThan": "must be less than",
    "mustBeLessOrEqualTo": "must be at most",
    "mustBeBetween": "must be between",
    "mustNotBeBetween": "must not be between",
}
"""The standard's operators, each as words. Both ends of `Between` are included."""
PAIRS = ("mustBeBetween", "mustNotBeBetween")
Listed = str | Decimal | None
"""A value of `validValues` or `missingValues`."""


class Severity(enum.Enum):
    """What a broken rule does to the run."""

    ERROR = "error"
    """The run ends with an exit code of its own, after the load."""
    WARNING = "warning"
    """The summary says so."""
    INFO = "info"
    """As WARNING."""


class Metric(enum.Enum):
    """What a rule measures: the library of the standard, a query, or rows that refer to none."""

    NULL_VALUES = "nullValues"
    MISSING_VALUES = "missingValues"
    INVALID_VALUES = "invalidValues"
    DUPLICATE_VALUES = "duplicateValues"
    ROW_COUNT = "rowCount"
    SQL = "sql"
    ORPHANS = "orphans"


@dataclass(frozen=True, slots=True)
class Bound:
    """An operator and its number, or its two numbers."""

    operator: str
    numbers: tuple[Decimal, ...]

    def holds(self, value: Decimal) -> bool:
        """Return whether a measured value is within the bound."""
        first, last = self.numbers[0], self.numbers[-1]
        return {
            "mustBe": value == first,
            "mustNotBe": value != first,
            "mustBeGreaterThan": value > first,
            "mustBeGreaterOrEqualTo": value >= first,
            "mustBeLessThan": value < first,
            "mustBeLessOrEqualTo": value <= first,
            "mustBeBetween": first <= value <= last,
            "mustNotBeBetween": not first <= value <= last,
        }[self.operator]

    def __str__(self) -> str:
        return f"{OPERATORS[self.operator]} {' and '.join(format(number, 'f') for number in self.numbers)}"


@dataclass(frozen=True, slots=True)
class Target:
    """The columns that a relationship refers to."""

    table: str
    columns: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a table. Paths are names of columns in the warehouse, `("address", "city")`."""

    name: str
    """Unique in its table."""
    metric: Metric
    bounds: tuple[Bound, ...]
    """All must hold."""
    severity: Severity = Severity.ERROR
    columns: tuple[tuple[str, ...], ...] = ()
    """The paths that the rule is about; empty for the table."""
    percent: bool = False
    """Whether the bounds are about per cent of the rows."""
    values: tuple[Listed, ...] = ()
    """Valid values of INVALID_VALUES, or those that count as missing."""
    pattern: str | None = None
    """Of INVALID_VALUES, as in Column."""
    query: str = ""
    """Of SQL, with `{object}` and `{property}`."""
    target: Target | None = None
    """Of ORPHANS."""

    def holds(self, value: Decimal) -> bool:
        """Return whether a measured value is within all bounds."""
        return all(bound.holds(value) for bound in self.bounds)

    @property
    def expected(self) -> str:
        """The bounds in words."""
        return " and ".join(map(str, self.bounds)) + (" per cent" if self.percent else "")
