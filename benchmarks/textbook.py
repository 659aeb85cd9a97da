"""The same job in the style of Beam's documentation: an element per record, JSON, GroupByKey by event_id, Parquet."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.io import ReadFromText, WriteToParquet, WriteToText
from apache_beam.pvalue import TaggedOutput
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

__all__ = ["Rules", "run", "utc"]

EVENT_TYPES = {"page_view", "add_to_cart", "remove_from_cart", "purchase", "search"}
REQUIRED = ("event_id", "customer_id", "event_type", "event_timestamp")
OPTIONAL = ("product_id", "session_id", "page_url", "user_agent")
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d(:?\d\d)?)?", re.ASCII)
ROW = pa.schema(
    [(name, pa.string()) for name in (*REQUIRED[:3], *OPTIONAL)]
    + [("event_timestamp", pa.timestamp("us", "UTC")), ("event_hour", pa.int64())]
)


class Rules:
    """The rules of the contract for the fields of a user event."""

    def __init__(self) -> None:
        self._earliest = datetime(1960, 1, 1, tzinfo=UTC)
        self._latest = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=2)

    def event(self, line: str | bytes) -> dict[str, Any] | None:
        """Return the event of a line, with its hour; None if the line breaks a rule."""
        try:
            event: dict[str, Any] = json.loads(line)
            for name in REQUIRED:
                if not isinstance(event[name], str) or not event[name].strip():
                    return None
            for name in OPTIONAL:
                if not isinstance(event.get(name), str | None):
                    return None
            if event["event_type"] not in EVENT_TYPES or not TIMESTAMP.fullmatch(event["event_timestamp"]):
                return None
            moment = utc(event["event_timestamp"])
        except (ValueError, KeyError, TypeError):
            return None
        event["event_hour"] = moment.hour
        return event if self._earliest <= moment < self._latest else None


class Validate(beam.DoFn):
    """Line -> (event_id, event); the line itself on `refused`."""

    REFUSED = "refused"

    def __init__(self) -> None:
        self._rules = Rules()

    def process(self, line: str) -> Iterator[tuple[str, dict[str, Any]] | TaggedOutput[str, str]]:
        event = self._rules.event(line)
        if event is None:
            yield TaggedOutput(self.REFUSED, line)
        else:
            yield event["event_id"], event


def utc(text: str) -> datetime:
    """Parse a timestamp; without an offset it is UTC."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def first(_: str, events: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return one of the events that share an event_id, as a row. Groups hold strings, which Beam need not pickle."""
    event = next(iter(events))
    return {**event, "event_timestamp": utc(event["event_timestamp"])}


def run(source: Path, folder: Path) -> None:
    """Run from the events in `source` to `clean-*.parquet` and `refused-*.ndjson` in `folder`."""
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        checked = (
            pipeline | ReadFromText(str(source)) | beam.ParDo(Validate()).with_outputs(Validate.REFUSED, main="clean")
        )
        (
            checked.clean
            | beam.GroupByKey()
            | beam.MapTuple(first)
            | "Write clean" >> WriteToParquet(str(folder / "clean"), ROW, file_name_suffix=".parquet")
        )
        checked[Validate.REFUSED] | "Write refused" >> WriteToText(str(folder / "refused"), ".ndjson")
