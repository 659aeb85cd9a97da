"""The speed of other forms of files, against that of tidy ones: `python -m benchmarks.forms [--events N]`.

The same user events in several forms run through the batch's own graph, each in its own process. A form costs what its
values cost, so seconds are divided by the bytes of the same events as tidy NDJSON: those that the form stands for. Exit
code 1 if a form loses a record or is slower than a third of the tidy one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
from pyarrow import orc
from rich.console import Console
from rich.table import Table as PrintedTable

from benchmarks.events import event
from contracts.odcs.tables import shipped
from contracts.table import Column, Epoch, Identity, Kind, Table

__all__ = ["FORMS", "main", "table_of"]

EVENTS = 300_000
ROUNDS = 3
LIMIT = 3.0
"""How many times the seconds of the tidy form another may take."""
NAME = "user_events"
Event = dict[str, Any]


def table_of(form: str) -> Table:
    """Return the contract of the events in a form."""
    tidy = shipped()[NAME]
    columns = tidy.columns
    match form:
        case "epochs":
            columns = _changed(columns, "event_timestamp", epoch=Epoch.MICROSECONDS)
        case "json":
            columns = (*columns, Column("details", Kind.JSON))
        case "keyless":
            columns = _changed(columns, "event_id", required=False)
            return replace(tidy, columns=columns, primary_key=(), identity=Identity.POSITION)
    return replace(tidy, columns=columns)


def _changed(columns: Sequence[Column], name: str, **changes: Any) -> tuple[Column, ...]:
    return tuple(replace(column, **changes) if column.name == name else column for column in columns)


def _lines(events: Iterator[Event], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for each in events:
            file.write(json.dumps(each, separators=(",", ":")) + "\n")


def _micros(each: Event) -> int:
    return int(datetime.fromisoformat(each["event_timestamp"]).timestamp() * 1_000_000)


def _avro(events: Iterator[Event], path: Path) -> None:
    fields: list[dict[str, Any]] = [
        {"name": name, "type": ["null", "string"]} for name in json.loads(event(0)) if name != "event_timestamp"
    ]
    fields.append({"name": "event_timestamp", "type": {"type": "long", "logicalType": "timestamp-micros"}})
    with path.open("wb") as file:
        rows = ({**each, "event_timestamp": _micros(each)} for each in events)
        fastavro.writer(file, {"type": "record", "name": "event", "fields": fields}, rows, codec="deflate")


def _orc(events: Iterator[Event], path: Path) -> None:
    rows = pa.Table.from_pylist([{**each, "event_timestamp": _micros(each)} for each in events])
    at = rows.schema.get_field_index("event_timestamp")
    moments = rows.column(at).cast(pa.timestamp("us", "UTC"))
    orc.write_table(rows.set_column(at, "event_timestamp", moments), path, compression="ZSTD")


def _with_details(events: Iterator[Event]) -> Iterator[Event]:
    for each in events:
        yield {**each, "details": {"page": each["page_url"], "tags": ["a", "b"], "n": 12.5}}


FORMS: dict[str, tuple[str, Callable[[Iterator[Event], Path], None]]] = {
    "tidy": ("ndjson", _lines),
    "epochs": ("ndjson", lambda events, path: _lines(({**e, "event_timestamp": _micros(e)} for e in events), path)),
    "json": ("ndjson", lambda events, path: _lines(_with_details(events), path)),
    "keyless": ("ndjson", _lines),
    "avro": ("avro", _avro),
    "orc": ("orc", _orc),
}
"""The ending of the files of each form, and what writes one."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forms", description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args(arguments)
    console = Console()
    printed = PrintedTable(title=f"{options.events:,} events", title_justify="left")
    for heading in ("form", "file MB", "as tidy lines, MB", "seconds", "MB/s", "times the tidy form"):
        printed.add_column(heading, justify="left" if heading == "form" else "right")
    with tempfile.TemporaryDirectory(prefix="bench-forms-") as folder:
        sources = {form: _written(Path(folder), form, options.events) for form in FORMS}
        best = dict.fromkeys(FORMS, float("inf"))
        for _ in range(options.rounds):  # in turn: what else the machine does meets all of them
            for form, source in sources.items():
                best[form] = min(best[form], _seconds(form, source, options.events))
        sizes = {form: source.stat().st_size / 1e6 for form, source in sources.items()}
    lines = {form: _standing_for(form, options.events) / 1e6 for form in FORMS}
    costs = {form: best[form] / lines[form] for form in FORMS}
    times = {form: cost / costs["tidy"] for form, cost in costs.items()}
    for form in FORMS:
        cells = (sizes[form], lines[form], best[form], 1 / costs[form], times[form])
        printed.add_row(form, *(f"{cell:.{digits}f}" for cell, digits in zip(cells, (0, 0, 2, 0, 2), strict=True)))
    console.print(printed)
    met = max(times.values()) <= LIMIT
    console.print(f"at most {LIMIT:g} times the seconds of the tidy form for a byte: {'met' if met else 'NOT met'}")
    return 0 if met else 1


def _events(count: int) -> Iterator[Event]:
    return (json.loads(event(number)) for number in range(count))


def _written(folder: Path, form: str, events: int) -> Path:
    """Write the file of a form; return its path."""
    ending, write = FORMS[form]
    source = folder / form / f"{NAME}.{ending}"
    source.parent.mkdir()
    write(_events(events), source)
    return source


def _standing_for(form: str, events: int) -> int:
    """Return the bytes of the events of a form as tidy lines."""
    tidy = _with_details(_events(events)) if form == "json" else _events(events)
    return sum(len(json.dumps(each, separators=(",", ":"))) + 1 for each in tidy)


def _seconds(form: str, source: Path, events: int) -> float:
    """Run a form in a separate process. Raises RuntimeError if it fails or loses a record."""
    command = [sys.executable, "-m", "benchmarks.form", form, str(source)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{form} failed")
    result = json.loads(done.stdout.splitlines()[-1])
    if result["written"] != events:
        raise RuntimeError(f"{form}: {result['written']} of {events} records are clean")
    return float(result["seconds"])


if __name__ == "__main__":
    sys.exit(main())
