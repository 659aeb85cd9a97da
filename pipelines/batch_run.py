"""A batch from its options to its exit code; what happened is read from the run's ledger."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, StandardOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.runners.runner import PipelineRunner

from connectors.leases import Heartbeat, Leases
from connectors.ledger_table import LOADED, RUN, STAGED
from contracts.errors import Misuse
from pipelines.dataflow import dataflow_options, is_dataflow, submit
from pipelines.options import OperationsOptions
from pipelines.preflight import Prepared, prepare, refuse_held
from transforms.ledger import State
from transforms.run import Run

__all__ = ["EXIT_CODES", "as_json", "refuse_unless_free", "run_batch", "summary"]

EXIT_CODES = {
    State.RUNNING: 0,
    State.DONE: 0,
    State.FAILED: 1,
    State.REFUSED: 2,
    State.LEDGER_BROKEN: 3,
    State.TOO_MANY_DEAD_LETTERS: 4,
}
logger = logging.getLogger(__name__)


def run_batch(
    options: PipelineOptions,
    log: Callable[[str], None],
    write_shards: beam.DoFn | None = None,
    shown: Callable[[int], AbstractContextManager[None]] | None = None,
) -> dict[str, Any]:
    """Run a batch to its end; the summary of what happened. Misuse for what is refused before it starts.

    `write_shards` is another end in place of WriteShards; `shown(bytes)` shows the progress of a run that has pinned
    so many bytes, while its block lasts.
    """
    ours = options.view_as(OperationsOptions)
    started, began = time.monotonic(), datetime.now(UTC)
    if is_dataflow(options):
        dataflow_options(options)
    prepared = prepare(ours, options.view_as(GoogleCloudOptions).project, log)
    run = prepared.batch.run
    why = None
    if prepared.finished:
        log(f"run {run.run_id} is done already; nothing to do")
    elif prepared.batch.inputs:
        log(f"run {run.run_id}: {len(prepared.batch.inputs)} files, tables {', '.join(prepared.batch.tables)}")
        with shown(sum(file.size for file in prepared.batch.inputs)) if shown else nullcontext():
            why = _execute(prepared, options, log, write_shards)
    return summary(prepared, began, why, time.monotonic() - started)


def _execute(
    prepared: Prepared, options: PipelineOptions, log: Callable[[str], None], write_shards: beam.DoFn | None
) -> str | None:
    """Run the graph under the tables' leases; why it failed, None where it did not."""
    target, run = prepared.target, prepared.batch.run
    leases = Leases(target.warehouse, run.operations_dataset)
    names = [f"{target.datasets[name]}.{name}" for name in prepared.batch.tables]
    refuse_unless_free(leases, names, run, log)
    with Heartbeat(leases, names, run.token):
        pipeline = beam.Pipeline(runner=_runner(options, log), options=options)
        prepared.batch.build(pipeline, target, write_shards)
        try:
            submit(pipeline, log).wait_until_finish()
        except Misuse:
            raise
        except KeyboardInterrupt:
            if is_dataflow(options):
                log("the job goes on without this launcher: the graph loads, merges and closes the run by itself")
            raise
        except Exception as error:
            logger.debug("the job failed", exc_info=True)
            why = str(error).strip().splitlines()[-1]
            if why.startswith(KeyboardInterrupt.__name__):  # FnApiRunner takes it for an error of the step
                raise KeyboardInterrupt from None
            return why
    return None


def refuse_unless_free(leases: Leases, names: Sequence[str], run: Run, log: Callable[[str], None]) -> None:
    """Take the leases on `names` for an attempt of `run`, all or none of them. Misuse where another run holds one.

    One that has given no sign of life for a while is waited for: it lapses.
    """
    taken: list[str] = []
    try:
        for name in names:
            holder = leases.wait_for(
                name, run.run_id, run.token,
                lambda held: log(f"{held.table}: waiting for the lease of run {held.run_id} to lapse, {held.until}"),
            )  # fmt: skip
            if holder:
                raise refuse_held(name, holder)
            taken.append(name)
    except BaseException:
        leases.release(taken, run.token)
        raise


def _runner(options: PipelineOptions, log: Callable[[str], None]) -> PipelineRunner | None:
    """DirectRunner is a switch between engines in Beam; here it is always FnApiRunner."""
    if (options.view_as(StandardOptions).runner or "DirectRunner") == "DirectRunner":
        log("DirectRunner: running in this process, on Beam's FnApiRunner")
        return FnApiRunner()
    return None


def summary(prepared: Prepared, began: datetime, why: str | None, seconds: float) -> dict[str, Any]:
    """What the ledger says of a run, in the form of `--summary`. An attempt that left no end line has failed."""
    target, run = prepared.target, prepared.batch.run
    end = next(iter(target.ledger.lines(run.run_id, RUN)), None)
    if end is None or (end["recorded_at"] < began and not prepared.finished):
        if prepared.batch.inputs and not why:
            why = "the job ended, and no step of it has closed the run"
        state = State.FAILED if why else State.DONE
        target.ledger.record_end(run, state, {"why": why} if why else {})
        end = target.ledger.lines(run.run_id, RUN)[0]
    detail = end["detail"] or {}
    lines = target.ledger.lines(run.run_id, LOADED)
    loaded = {line["table"] for line in lines}
    lines += [line for line in target.ledger.lines(run.run_id, STAGED) if line["table"] not in loaded]
    tables: dict[str, Any] = {}
    for line in lines:
        table = tables.setdefault(
            line["table"],
            {"read": 0, "written": 0, "duplicate": 0, "dead_letter": 0, "dead_letter_by_code": {}, "sources": {}},
        )
        counts = {name: line[name] or 0 for name in ("read", "written", "duplicate", "dead_letter")}
        table["sources"][line["source"]] = counts
        for name, count in counts.items():
            table[name] += count
        for code, count in (line["dead_letter_by_code"] or {}).items():
            table["dead_letter_by_code"][code] = table["dead_letter_by_code"].get(code, 0) + count
    return {
        "run_id": run.run_id,
        "pipeline": run.pipeline,
        "state": end["state"],
        **({"why": detail["why"]} if detail.get("why") else {}),
        "tables": tables,
        "seconds": round(seconds, 3),
        "output": {name: detail.get(name, []) for name in ("processed", "dead_letters", "tables", "jobs")},
    }


def as_json(found: dict[str, Any]) -> bytes:
    """The summary as it is written to a file."""
    return json.dumps(found, indent=2, default=str).encode() + b"\n"
