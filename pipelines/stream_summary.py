"""What the ledger says of a stream's run, in the form of `--summary`."""

from __future__ import annotations

from collections import Counter
from typing import Any

from connectors.ledger_table import LOST, OFFSETS, LedgerTable
from pipelines.stream_preflight import PreparedStream
from transforms.latency import quantile
from transforms.ledger import State

__all__ = ["stream_summary"]

SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def stream_summary(prepared: PreparedStream, state: State, why: str | None, seconds: float) -> dict[str, Any]:
    """Counts by table and source, lag, latency from Kafka's timestamp to `_ingested_at` in milliseconds, rate."""
    to, run = prepared.stream.destination, prepared.stream.destination.run
    ledger = LedgerTable(to.warehouse, run.operations_dataset)
    tables: dict[str, Any] = {
        name: {"read": 0, "written": 0, "duplicate": 0, "dead_letter": 0, "dead_letter_by_code": {}, "sources": {}}
        for name in to.tables
    }
    latency: Counter[int] = Counter()
    for line in ledger.lines(run.run_id, OFFSETS):
        table = tables[line["table"]]
        source = table["sources"].setdefault(
            line["source"], dict.fromkeys(("read", "written", "duplicate", "dead_letter"), 0)
        )
        for name in ("read", "written", "duplicate", "dead_letter"):
            source[name] += line[name]
            table[name] += line[name]
        codes = Counter(table["dead_letter_by_code"])
        codes.update(line["dead_letter_by_code"] or {})
        table["dead_letter_by_code"] = dict(sorted(codes.items()))
        latency.update({int(key): count for key, count in (line["detail"] or {}).get("latency", {}).items()})
    broken = [
        f"{source}: {counts['read'] - counts['written'] - counts['duplicate'] - counts['dead_letter']:+d} records"
        for table in tables.values()
        for source, counts in table["sources"].items()
        if counts["read"] != counts["written"] + counts["duplicate"] + counts["dead_letter"]
    ]
    if broken and state is State.DONE:
        state, why = State.LEDGER_BROKEN, f"the ledger does not hold (read minus doors): {'; '.join(broken[:5])}"
    read = sum(table["read"] for table in tables.values())
    return {
        "run_id": run.run_id,
        "pipeline": run.pipeline,
        "state": state.value,
        **({"why": why} if why else {}),
        "tables": tables,
        "lag": _lag(prepared),
        "lost": [
            {"source": line["source"], "first": line["first_offset"], "last": line["last_offset"]}
            for line in ledger.lines(run.run_id, LOST)
        ],
        "latency_ms": {name: quantile(latency, share) for name, share in SHARES.items()},
        "records_per_second": round(read / seconds, 1) if seconds else 0.0,
        "seconds": round(seconds, 3),
        "output": {"tables": [to.lane_name(name) for name in to.tables]},
    }


def _lag(prepared: PreparedStream) -> dict[str, int]:
    """Offsets that are left to read, by source."""
    offsets, sources = prepared.offsets, prepared.sources()
    committed, ends = offsets.committed(sources), offsets.ends(sources)
    return {source: max(0, ends[source] - (committed[source] or 0)) for source in sources}
