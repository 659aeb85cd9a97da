"""The tables that the pipelines keep in the operations dataset: ledger, dead letters, leases and more.

Each is described here once. Its Arrow schema, its BigQuery schema and DDL (connectors/bookkeeping/specs.py) and
its documentation are derived from this value. In existing datasets names and types must not change; a column may be
added if it is not required.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

__all__ = [
    "DEAD_LETTERS",
    "HEARTBEATS",
    "LEASES",
    "LEDGER",
    "NOTICES",
    "OPERATIONS_DATASET",
    "REPLAYED",
    "TABLES",
    "WRITE_STREAMS",
    "BookkeepingTable",
    "Field",
    "FieldType",
    "documentation",
]


OPERATIONS_DATASET = "pipeline_operations"
"""Where the tables are by default."""


class FieldType(enum.Enum):
    """The type of a column, named as BigQuery's API names it."""

    STRING = "STRING"
    INTEGER = "INTEGER"
    BOOLEAN = "BOOLEAN"
    BYTES = "BYTES"
    TIMESTAMP = "TIMESTAMP"
    JSON = "JSON"
    """In Arrow a string."""


ARROW_TYPES: dict[FieldType, pa.DataType] = {
    FieldType.STRING: pa.string(),
    FieldType.INTEGER: pa.int64(),
    FieldType.BOOLEAN: pa.bool_(),
    FieldType.BYTES: pa.binary(),
    FieldType.TIMESTAMP: pa.timestamp("us", "UTC"),
    FieldType.JSON: pa.string(),
}


@dataclass(frozen=True, slots=True)
class Field:
    """One column."""

    name: str
    type: FieldType
    description: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class BookkeepingTable:
    """A table of the operations dataset, partitioned by the day of `partition`, if that is given."""

    name: str
    description: str
    fields: tuple[Field, ...]
    partition: str | None = None
    clustering: tuple[str, ...] = ()
    days: int | None = None
    """After how many days BigQuery drops a partition; None: never."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, in their order."""
        return tuple(field.name for field in self.fields)

    def arrow_schema(self, names: Sequence[str] | None = None) -> pa.Schema:
        """The schema of rows of this table, or of the columns called `names` in that order."""
        by_name = {field.name: field for field in self.fields}
        chosen = [by_name[name] for name in (by_name if names is None else names)]
        return pa.schema([pa.field(each.name, ARROW_TYPES[each.type], nullable=not each.required) for each in chosen])


def _required(name: str, type: FieldType, description: str) -> Field:
    return Field(name, type, description, required=True)


STRING, INTEGER, BOOLEAN = FieldType.STRING, FieldType.INTEGER, FieldType.BOOLEAN
BYTES, TIMESTAMP, JSON = FieldType.BYTES, FieldType.TIMESTAMP, FieldType.JSON

LEDGER = BookkeepingTable(
    "ledger",
    "read = written + duplicate + dead_letter, by run, table and source; see ledger_current",
    (
        _required("run_id", STRING, "The run that the line is about"),
        _required("pipeline", STRING, "batch, stream or replay"),
        _required(
            "kind", STRING, "input, passed_over, missing_columns, staged, loaded, quality, run, offsets, lost, folded"
        ),
        Field("state", STRING, "Of a run: how it ended; of a quality rule: kept, broken or failed"),
        Field("table", STRING, "The contract's table"),
        Field("source", STRING, "URI of the file, or kafka://topic/partition; of a quality rule: its name"),
        Field("generation", INTEGER, "Of the file, as pinned at the run's start"),
        Field("size", INTEGER, "Of the file, in bytes"),
        Field("first_offset", INTEGER, "Of a line of a stream: its first Kafka offset"),
        Field("last_offset", INTEGER, "Of a line of a stream: its last Kafka offset"),
        Field("read", INTEGER, "Records, counted upstream of decode"),
        Field("staged", INTEGER, "Clean rows in the run's Parquet shards"),
        Field("written", INTEGER, "Rows of this run that the table holds"),
        Field("duplicate", INTEGER, "Records whose key was written already"),
        Field("dead_letter", INTEGER, "Refused records"),
        Field("dead_letter_by_code", JSON, "Refused records by error code"),
        Field(
            "detail",
            JSON,
            "Of a run: why it ended so, its files, its jobs; of a quality rule: its value; of offsets: latencies",
        ),
        Field("pipeline_version", STRING, "Version of the code that wrote the line"),
        Field("started_at", TIMESTAMP, "When the run began"),
        _required("recorded_at", TIMESTAMP, "When the line was written; of two lines about the same the newer counts"),
        Field("dataset", STRING, "Dataset of the table; null in lines of versions before"),
        Field("cluster", STRING, "Of a line of a stream: the id of Kafka's cluster"),
        Field("topic_id", STRING, "Of a line of a stream: the id of the topic, which a recreated topic does not share"),
        Field("first_recorded_at", TIMESTAMP, "Of a line that stands for several: when the first was written"),
    ),
    partition="recorded_at",
    clustering=("run_id",),
)

DEAD_LETTERS = BookkeepingTable(
    "dead_letters",
    "Every refused record, whole, once",
    (
        _required("dead_letter_id", STRING, "Digest of table, source, position and raw: a record is one row"),
        _required("table", STRING, "The contract's table"),
        _required("source", STRING, "URI of the file, or kafka://topic/partition"),
        _required("position", INTEGER, "Byte offset, row number or Kafka offset"),
        _required("stage", STRING, "decode, validate, deduplicate or write"),
        _required("error_code", STRING, "Stable code"),
        _required("error_message", STRING, "What is wrong with the record"),
        Field("field", STRING, "Path of the value at fault, if one is"),
        _required("recoverable", BOOLEAN, "Whether the same bytes could be clean under another contract"),
        _required("raw", BYTES, "The record as it was read, at most 8 MB of it"),
        _required("truncated", BOOLEAN, "Whether raw is only the beginning of the record"),
        Field("attributes", JSON, "What else is needed to decode raw again"),
        Field("contract_version", STRING, "Version of the contract that refused the record"),
        Field("pipeline_version", STRING, "Version of the code that refused the record"),
        _required("run_id", STRING, "The run that refused the record"),
        _required("retry_count", INTEGER, "How often the record was sent again"),
        _required("first_failed_at", TIMESTAMP, "When the record was refused for the first time"),
        _required("failed_at", TIMESTAMP, "When the record was refused"),
    ),
    partition="failed_at",
    clustering=("table", "error_code"),
)

REPLAYED = BookkeepingTable(
    "replayed_dead_letters",
    "What became of dead letters that were sent again or given up: one row for each run that took one",
    (
        _required("dead_letter_id", STRING, "As in `dead_letters`"),
        _required("run_id", STRING, "The run that sent the record again"),
        _required("state", STRING, "written, duplicate (its key was there), refused, sent (to a topic) or given_up"),
        Field("error_code", STRING, "Of a record that was refused again: the code"),
        Field("error_message", STRING, "Of a record that was refused again: what is wrong with it"),
        Field("field", STRING, "Of a record that was refused again: path of the value at fault, if one is"),
        Field("contract_version", STRING, "Version of the contract that decided"),
        _required("replayed_at", TIMESTAMP, "When it was decided, by BigQuery's clock"),
    ),
    partition="replayed_at",
    clustering=("dead_letter_id",),
)

LEASES = BookkeepingTable(
    "leases",
    "One writer a table",
    (
        _required("table", STRING, "dataset.table, or group:NAME of a Kafka consumer group"),
        Field("run_id", STRING, "The run that may write, null if none"),
        Field("token", STRING, "The attempt of that run"),
        Field("until", TIMESTAMP, "Until when the holder counts as alive without a heartbeat in `heartbeats`"),
        Field("earlier", STRING, "Holders before, a line each (run, token), whose last statement may still be running"),
    ),
)

HEARTBEATS = BookkeepingTable(
    "heartbeats",
    "Heartbeats of the runs that hold leases",
    (
        _required("token", STRING, "The attempt of a run, as in `leases`"),
        _required("beat_at", TIMESTAMP, "When the run was alive, by BigQuery's clock"),
    ),
    partition="beat_at",
    days=3,
)

WRITE_STREAMS = BookkeepingTable(
    "write_streams",
    "Write streams of a stream pipeline, by bucket; the bucket's next owner finalizes them",
    (
        _required("table", STRING, "dataset.table that the stream appends to"),
        _required("lane", STRING, "Whose rows: dataset.table of the stream pipeline"),
        _required("buckets", INTEGER, "Number of buckets that the keys are split into"),
        _required("bucket", INTEGER, "Number of the bucket, from 0"),
        _required("stream", STRING, "Name of the write stream"),
        _required("run_id", STRING, "The run that created it"),
        _required("created_at", TIMESTAMP, "When it was created"),
    ),
)

NOTICES = BookkeepingTable(
    "notices",
    "What was sent about alarms, a row for each alarm that there ever was",
    (
        _required("alarm", STRING, "Its kind, such as run_failed"),
        _required("about", STRING, "What it is about: a pipeline and its tables, a table, or a table and a level"),
        _required("state", STRING, "open or over: what was sent last"),
        _required("token", STRING, "The check that sent it"),
        _required("changed_at", TIMESTAMP, "When it was sent, by BigQuery's clock"),
    ),
)

TABLES = (LEDGER, DEAD_LETTERS, REPLAYED, LEASES, HEARTBEATS, WRITE_STREAMS, NOTICES)

DOCUMENT_HEAD = """# The operations dataset

The tables that the pipelines keep about themselves, from `contracts/bookkeeping.py`, by
`python -m contracts.bookkeeping`. The view `ledger_current` shows the newest line about each thing, and each offset in
one line: earlier lines keep the offsets that no later line covers. Such a line is `shared`: its counts are its share.
The view `dead_letters_current` shows each dead letter with its `state` (open, written, duplicate, sent, given_up), the
newest code and reason, how often it was sent again, and by which run last.

"""


def documentation() -> str:
    """Return docs/reference/bookkeeping.md: the tables in Markdown, a row for each column."""
    return DOCUMENT_HEAD + "\n".join(map(_markdown, TABLES))


def _markdown(table: BookkeepingTable) -> str:
    lines = [f"## {table.name}", "", f"{table.description}."]
    layout = [f"partitioned by day of `{table.partition}`"] if table.partition else []
    layout += [f"kept for {table.days} days"] if table.days else []
    layout += [f"clustered by {', '.join(f'`{name}`' for name in table.clustering)}"] if table.clustering else []
    lines += ["", f"{', '.join(layout).capitalize()}."] if layout else []
    lines += ["", "| column | type | required | description |", "| --- | --- | --- | --- |"]
    lines += [
        f"| `{field.name}` | {field.type.value} | {'yes' if field.required else ''} | {field.description} |"
        for field in table.fields
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(documentation(), end="")
