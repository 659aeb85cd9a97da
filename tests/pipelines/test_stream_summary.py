"""A stream's summary: the sums of the ledger's lines, and its JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from pipelines.runs.summary import as_json
from pipelines.stream.summary import LostOffsets, StreamCounts, StreamSummary, add_up
from transforms.ledger import State


def line(table: str, source: str, **counts: Any) -> dict[str, Any]:
    zero = dict.fromkeys(("read", "written", "duplicate", "dead_letter"), 0)
    return {"table": table, "source": source, **zero, "dead_letter_by_code": None, "detail": None, **counts}


def test_lines_add_up_by_table_and_source() -> None:
    tables, latency = add_up(
        ["t", "u"],
        [
            line("t", "a", read=4, written=1, duplicate=3, detail={"latency": {"8": 1}, "duplicate_differs": 2}),
            line(
                "t",
                "b",
                read=2,
                duplicate=1,
                dead_letter=1,
                dead_letter_by_code={"x": 1},
                detail={"latency": {}, "duplicate_unknown": 1},
            ),
            line("t", "a", read=1, written=1, detail={"latency": {"8": 1}}),
        ],
    )
    assert tables["t"].counts == StreamCounts(
        read=7, written=2, duplicate=4, dead_letter=1, duplicate_differs=2, duplicate_unknown=1
    )
    assert tables["t"].dead_letter_by_code == {"x": 1}
    sources = tables["t"].sources
    assert (sources["a"].read, sources["b"].duplicate_unknown) == (5, 1)
    assert (tables["u"].counts.read, tables["u"].sources) == (0, {})
    assert latency == {8: 2}


def test_lines_of_an_earlier_start_under_the_same_run_id_that_wrote_other_tables_are_left_out() -> None:
    tables, _ = add_up(["t"], [line("other", "a", read=3, written=3), line("t", "b", read=1, written=1)])
    assert list(tables) == ["t"]
    assert tables["t"].counts.read == 1


def test_the_json_of_a_summary() -> None:
    tables, _ = add_up(["t"], [line("t", "a", read=3, written=2, dead_letter=1, dead_letter_by_code={"x": 1})])
    summary = StreamSummary(
        run_id="r",
        pipeline="stream",
        state=State.FAILED,
        why="no reason given",
        seconds=1.5004,
        tables=tables,
        lag={"a": 4},
        lost=[LostOffsets("a", 1, 2)],
        latency_ms={"p50": 8.0, "p95": None},
        stream_tables=("d.t",),
    )
    counts = {"read": 3, "written": 2, "duplicate": 0, "dead_letter": 1, "duplicate_differs": 0, "duplicate_unknown": 0}
    assert json.loads(as_json(summary.to_json())) == {
        "run_id": "r",
        "pipeline": "stream",
        "state": "failed",
        "why": "no reason given",
        "tables": {"t": {**counts, "dead_letter_by_code": {"x": 1}, "sources": {"a": counts}}},
        "lag": {"a": 4},
        "lost": [{"source": "a", "first": 1, "last": 2}],
        "latency_ms": {"p50": 8.0, "p95": None},
        "records_per_second": 2.0,
        "seconds": 1.5,
        "output": {"tables": ["d.t"]},
    }
    assert "why" not in replace(summary, why=None).to_json()
