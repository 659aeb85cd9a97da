"""A table as a contract describes it: decoder, Arrow schema and BigQuery schema are made from this one value."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from decimal import Decimal

from contracts.date_format import DateFormat
from contracts.number_format import NumberFormat
from contracts.quality import Rule

__all__ = [
    "DEFAULT_DATASET",
    "Column",
    "CsvDialect",
    "Epoch",
    "Identity",
    "Kind",
    "PartitionBy",
    "ServiceLevel",
    "Table",
    "UnknownFields",
    "WriteDisposition",
]


DEFAULT_DATASET = "ecommerce_data"
"""Dataset of the tables whose contract names none: that of the shipped example."""


class Kind(enum.Enum):
    """The type of a column, named as BigQuery names it."""

    STRING = "STRING"
    INTEGER = "INTEGER"
    FLOAT = "FLOAT"
    NUMERIC = "NUMERIC"
    BIGNUMERIC = "BIGNUMERIC"
    BOOLEAN = "BOOLEAN"
    BYTES = "BYTES"
    DATE = "DATE"
    DATETIME = "DATETIME"
    TIME = "TIME"
    TIMESTAMP = "TIMESTAMP"
    JSON = "JSON"
    RECORD = "RECORD"


class Epoch(enum.Enum):
    """The unit of a date or time that is written as a number since 1970-01-01."""

    DAYS = "days"
    SECONDS = "s"
    MILLISECONDS = "ms"
    MICROSECONDS = "us"
    NANOSECONDS = "ns"


class WriteDisposition(enum.Enum):
    """What happens to a key that the table already holds."""

    APPEND = "append"
    """The row in the table stays; the incoming one is a duplicate."""
    MERGE = "merge"
    """The row is updated where the incoming one differs in more than lineage."""
    REPLACE = "replace"
    """The table holds what the run brings and nothing else."""


class Identity(enum.Enum):
    """What tells the records of a table apart."""

    KEY = "key"
    """The primary key."""
    POSITION = "position"
    """Where a record was read: source, generation of the source, and position. Equal records are two rows."""
    RECORD = "record"
    """The values of all columns that are read: equal records are duplicates."""


class PartitionBy(enum.Enum):
    """The span of one partition, named as BigQuery names it."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    YEAR = "year"


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
    """A regular expression (polars', see patterns.py) that must be found in the value, unanchored as in JSON Schema."""
    email: bool = False
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    exclusive_minimum: Decimal | None = None
    exclusive_maximum: Decimal | None = None
    earliest: str | None = None
    """Lower bound (inclusive) of a DATE or TIMESTAMP, ISO 8601."""
    latest: str | None = None
    multiple_of: Decimal | None = None
    precision: int | None = None
    """Of NUMERIC(p, s) and BIGNUMERIC(p, s): digits in all."""
    scale: int = 0
    """Digits behind the point; of use with `precision` only."""
    length: int | None = None
    """The n of STRING(n)."""
    date_format: DateFormat | None = None
    """How dates and times are written; None means ISO 8601."""
    epoch: Epoch | None = None
    """A date or time is a number of units since 1970."""
    time_zone: str | None = None
    """IANA name of the zone of a TIMESTAMP that is written without one; None means UTC."""
    number_format: NumberFormat | None = None
    """How numbers are written in text; None means with a decimal point and nothing else."""
    trim: bool = False
    """Blanks around the value of a CSV field are not part of it."""
    path_part: str | None = None
    """The value is that of the folder `path_part=value` of the file."""
    file_name: bool = False
    """The value is the name of the file."""
    description: str = ""
    classification: str = ""
    """How far its values may be known, in the contract's word; classification.py says what is masked."""

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
    trim: bool = False
    """Blanks around the value of every field are not part of it."""
    header: bool = True
    """Whether the first record has the names of the fields; if not, they are the columns in the contract's order."""
    skip_lines: int = 0
    """Lines before the header, or before the first record if there is no header."""
    escape: str = ""
    """The character before one that is meant literally; "" for none."""
    comment: str = ""
    """The character that begins lines that are no records; "" for none."""
    ragged: bool = False
    """Whether a record may have fewer fields than the header; the missing ones are null."""


@dataclass(frozen=True, slots=True)
class ServiceLevel:
    """A limit of the age of a table's data (freshness), or of the time until it is there (latency)."""

    name: str
    is_latency: bool
    seconds: float
    """The most that is allowed."""
    path: tuple[str, ...] = ()
    """The column that says when a row's thing happened; empty: freshness counts from the last load."""
    problem: str = ""
    """Why it cannot be measured; "" if it can."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a contract.

    `primary_key`, `partition` and `clustering` name columns. `dataset` is the BigQuery dataset
    where the table lives unless the command line names another.
    """

    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    """Empty unless `identity` is KEY."""
    partition: str | None = None
    partition_by: PartitionBy = PartitionBy.DAY
    partition_expiration_days: int | None = None
    """BigQuery drops a partition this many days after its span; None for never."""
    require_partition_filter: bool = False
    """Whether BigQuery refuses queries of the table without a condition on the partition column."""
    clustering: tuple[str, ...] = ()
    disposition: WriteDisposition = WriteDisposition.APPEND
    unknown_fields: UnknownFields = UnknownFields.IGNORE
    version_by: str | None = None
    """Of rows with the same key the one with the greatest value here is kept; null loses against any. Within a run, and
    where the disposition is `merge` against the row that the table holds, too."""
    dataset: str = DEFAULT_DATASET
    csv: CsvDialect = field(default_factory=CsvDialect)
    contract_id: str = ""
    contract_version: str = ""
    description: str = ""
    identity: Identity = Identity.KEY
    records_path: tuple[str, ...] = ()
    """In JSON files: where the array of records is in a document; empty if the document is the array, or a line."""
    notes: tuple[str, ...] = ()
    """What the contract states and a run neither does nor checks, one sentence each."""
    service_levels: tuple[ServiceLevel, ...] = ()
    """What the contract promises about the age of the data."""
    rules: tuple[Rule, ...] = ()
    """What is checked after a load: quality rules and relationships."""
    files: tuple[str, ...] = ()
    """Globs of the files of the table below the input; empty for files with the name of the table."""

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
