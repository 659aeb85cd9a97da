"""A table as a contract describes it: decoder, Arrow schema and BigQuery schema are made from this one value."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from decimal import Decimal

__all__ = ["Column", "CsvDialect", "Kind", "Table", "UnknownFields", "WriteDisposition"]


class Kind(enum.Enum):
    """The type of a column, named as BigQuery names it."""

    STRING = "STRING"
    INTEGER = "INTEGER"
    FLOAT = "FLOAT"
    NUMERIC = "NUMERIC"
    BOOLEAN = "BOOLEAN"
    DATE = "DATE"
    TIMESTAMP = "TIMESTAMP"
    RECORD = "RECORD"


class WriteDisposition(enum.Enum):
    """What happens to a key that the table already holds."""

    APPEND = "append"
    """The row in the table stays; the incoming one is a duplicate."""
    MERGE = "merge"
    """The row is updated where the incoming one differs in more than lineage."""
    REPLACE = "replace"
    """The table holds what the run brings and nothing else."""


class UnknownFields(enum.Enum):
    """What happens to a field that the contract does not name."""

    IGNORE = "ignore"
    REJECT = "reject"
    KEEP = "keep"
    """It goes into the JSON column `_extra`."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its type, where its value comes from and which values are clean.

    A `repeated` column holds a list of `kind`; a RECORD has `fields`. A column with `derived` has no
    source: its value is that SQL expression over the row.
    """

    name: str
    kind: Kind
    required: bool = False
    repeated: bool = False
    fields: tuple[Column, ...] = ()
    source: tuple[str, ...] = ()
    """Path of the value in the record, `("user", "id")`; empty means `(name,)`."""
    derived: str | None = None
    enum: tuple[str, ...] = ()
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    """A regular expression (Python's `re`) that must be found in the value, unanchored as in JSON Schema."""
    email: bool = False
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    exclusive_minimum: Decimal | None = None
    exclusive_maximum: Decimal | None = None
    earliest: str | None = None
    """Lower bound (inclusive) of a DATE or TIMESTAMP, ISO 8601."""
    latest: str | None = None
    description: str = ""

    @property
    def path(self) -> tuple[str, ...]:
        """Where the value is in the source record."""
        return self.source or (self.name,)

    @property
    def element(self) -> Column:
        """The column that one element of a repeated column is."""
        return replace(self, repeated=False, required=False)


@dataclass(frozen=True, slots=True)
class CsvDialect:
    """How a table's CSV files are written."""

    delimiter: str = ","
    quote: str = '"'
    encoding: str = "utf-8"
    nulls: tuple[str, ...] = ()
    """Texts that stand for null, besides the empty field."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a contract.

    `primary_key`, `partition` and `clustering` name columns. `dataset` is the BigQuery data set
    where the table lives unless the command line names another.
    """

    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    partition: str | None = None
    clustering: tuple[str, ...] = ()
    disposition: WriteDisposition = WriteDisposition.APPEND
    unknown_fields: UnknownFields = UnknownFields.IGNORE
    version_by: str | None = None
    """Within a run, of rows with the same key the one with the greatest value here is kept."""
    dataset: str = "ecommerce_data"
    csv: CsvDialect = field(default_factory=CsvDialect)
    contract_id: str = ""
    contract_version: str = ""
    description: str = ""

    def column(self, name: str) -> Column:
        """The column called `name`; KeyError if there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    @property
    def read_columns(self) -> tuple[Column, ...]:
        """The columns whose values are read from the record, in the contract's order."""
        return tuple(column for column in self.columns if column.derived is None)

    @property
    def derived_columns(self) -> tuple[Column, ...]:
        """The columns that are computed from the others, in the contract's order."""
        return tuple(column for column in self.columns if column.derived is not None)
