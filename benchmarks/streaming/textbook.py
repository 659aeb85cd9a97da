"""The same job in the style of Beam's documentation: JSON, state per event_id, WriteToBigQuery by inserts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.coders import BooleanCoder
from apache_beam.io.gcp.bigquery import BigQueryDisposition, WriteToBigQuery
from apache_beam.pvalue import PCollection
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec
from google.cloud import bigquery

from benchmarks.streaming.consumer import make_tables, table_row
from benchmarks.streaming.probe import PROBE
from benchmarks.streaming.task import Task, run_job
from benchmarks.textbook import Rules
from connectors.google.clients import bigquery_client
from connectors.sources.kafka import KafkaRecord
from local.service import PROJECT

__all__ = ["run"]


class Parse(beam.DoFn):
    """Record -> (event_id, row); the bytes of a broken record on `refused`."""

    REFUSED = "refused"

    def __init__(self) -> None:
        self._rules = Rules()

    def start_bundle(self) -> None:
        PROBE.begin()

    def process(self, record: KafkaRecord) -> Iterator[Any]:
        event = self._rules.event(record.value or b"")
        if event is None:
            yield beam.pvalue.TaggedOutput(self.REFUSED, {"raw": (record.value or b"").decode(errors="replace")})
        else:
            yield event["event_id"], table_row(event)


class FirstOnly(beam.DoFn):
    """(event_id, row) -> the row, if it is the first with this id."""

    SEEN = ReadModifyWriteStateSpec("seen", BooleanCoder())

    def process(
        self,
        element: tuple[str, dict[str, Any]],
        seen: Any = beam.DoFn.StateParam(SEEN),  # noqa: B008  # Beam's way to say it
    ) -> Iterator[dict[str, Any]]:
        if seen.read():
            PROBE.add(1)
            return
        seen.write(value=True)
        yield element[1]


class Client:
    """The part of a client that WriteToBigQuery needs for inserts: Beam's client has a fixed address. It pickles."""

    def __init__(self) -> None:
        self._client: bigquery.Client | None = None

    def __getstate__(self) -> dict[str, object]:
        return {"_client": None}

    def insert_rows_json(self, table: str, json_rows: list[dict[str, Any]], **settings: Any) -> Any:
        """Insert rows as Google's client does; notify the probe."""
        self._client = self._client or bigquery_client(PROJECT, "US")
        errors = self._client.insert_rows_json(table, json_rows, **settings)
        PROBE.add(len(json_rows) - len(errors))
        return errors


def run(task: Task) -> None:
    """Read until all events are stored or the task's time is over."""
    make_tables(task)

    def steps(records: PCollection[KafkaRecord]) -> None:
        parsed = records | beam.ParDo(Parse()).with_outputs(Parse.REFUSED, main="events")
        first = beam.ParDo(FirstOnly())  # type: ignore[no-untyped-call]  # beam.DoFn is untyped
        parsed.events | first | "Write events" >> _write(task.table)
        parsed[Parse.REFUSED] | "Write refused" >> _write(f"{PROJECT}.{task.name}.dead_letters")

    run_job(task, steps)


def _write(table: str) -> WriteToBigQuery:
    project, rest = table.split(".", 1)
    return WriteToBigQuery(
        f"{project}:{rest}",
        method=WriteToBigQuery.Method.STREAMING_INSERTS,
        create_disposition=BigQueryDisposition.CREATE_NEVER,
        test_client=Client(),
    )
