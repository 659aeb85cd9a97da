"""The same job as a polars script for one machine: whole columns, all threads, no provenance and no error codes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

__all__ = ["run"]

EVENT_TYPES = ("page_view", "add_to_cart", "remove_from_cart", "purchase", "search")
REQUIRED = ("event_id", "customer_id", "event_type", "event_timestamp")
COLUMNS = (
    "event_id",
    "customer_id",
    "product_id",
    "event_type",
    "event_timestamp",
    "session_id",
    "page_url",
    "user_agent",
)
EVENT = pl.Struct({name: pl.String for name in COLUMNS})
TEXT = r'"[^"\\]*"'
FLAT = rf"^\{{{TEXT}:(?:{TEXT}|null)(?:,{TEXT}:(?:{TEXT}|null))*\}}$"
"""A flat object of strings. Other lines do not go to polars' JSON reader, which refuses a column for one bad line."""


def run(source: Path, folder: Path) -> None:
    """Run from the events in `source` to clean.parquet and refused.parquet in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    lines = pl.read_csv(source, separator="\x01", quote_char=None, has_header=False, schema={"raw": pl.String})
    event = pl.col("event")
    moment = event.struct.field("event_timestamp").str.to_datetime(
        "%Y-%m-%dT%H:%M:%S%.fZ", strict=False, time_unit="us"
    )
    rules = [
        *(event.struct.field(name).str.contains(r"\S") for name in REQUIRED),
        event.struct.field("event_type").is_in(EVENT_TYPES),
        pl.col("moment")
        .dt.replace_time_zone("UTC")
        .is_between(datetime(1960, 1, 1, tzinfo=UTC), today + timedelta(days=2), "left"),
    ]
    flat = (
        lines.lazy().filter(pl.col("raw").str.contains(FLAT)).with_columns(event=pl.col("raw").str.json_decode(EVENT))
    )
    odd = lines.filter(~pl.col("raw").str.contains(FLAT))  # a few, decoded one by one
    read = odd.with_columns(pl.Series("event", [_event(raw) for raw in odd["raw"]], dtype=EVENT)).lazy()
    checked = (
        pl.concat([flat, read])
        .with_columns(moment=moment)
        .with_columns(clean=pl.all_horizontal(rules).fill_null(False))
        .collect(engine="streaming")
    )
    checked.filter(~pl.col("clean")).select("raw").write_parquet(folder / "refused.parquet", compression_level=1)
    clean = (
        checked.lazy()
        .filter("clean")
        .select(event.struct.unnest(), "moment")
        .with_columns(
            event_timestamp=pl.col("moment").dt.replace_time_zone("UTC"), event_hour=pl.col("moment").dt.hour()
        )
        .drop("moment")
        .unique("event_id", keep="any")
        .collect(engine="streaming")
    )
    clean.write_parquet(folder / "clean.parquet", compression_level=1)


def _event(line: str) -> dict[str, str | None] | None:
    """Return the fields of an event, None for a field that is not a string; None if the line is not an object."""
    try:
        event = json.loads(line)
        fields = {name: event.get(name) for name in COLUMNS}
    except (ValueError, AttributeError):
        return None
    return fields if all(value is None or isinstance(value, str) for value in fields.values()) else None
