"""Feed millions of mutated records to all that reads and decodes them; see `make fuzz`.

    python -m tests.fuzz.campaign [--records N] [--minutes M] [--seed S] [--only N] [--processes P] [--findings FOLDER]

A round is one block or file, made from (seed, number of the round) alone: `--seed S --only N` is round N again. The
bytes of a round that found something are written to --findings, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import secrets
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.checks import SLOW_SECONDS, Checker, Counts, guarded
from tests.fuzz.rounds import Round

__all__ = ["Outcome", "run_rounds"]

FLAT = 400 << 20
"""Memory that a process may grow by once it has warmed up: allocators keep what huge records took."""
MAX_FINDINGS = 20


@dataclass(slots=True)
class Outcome:
    """What some rounds came to."""

    counts: Counts = field(default_factory=Counts)
    findings: list[str] = field(default_factory=list)
    rounds: int = 0
    warm: int = 0
    """Memory in bytes after the first rounds."""
    end: int = 0


def run_rounds(
    seed: int, numbers: Iterator[int], records: int, seconds: float, folder: Path, slow: float = SLOW_SECONDS
) -> Outcome:
    """Rounds until this many records have been fed, or this much time is over, or findings are many."""
    outcome, checkers = Outcome(), dict[tuple[str, int], Checker]()
    until = time.monotonic() + seconds
    for number in numbers:
        fed = sum(checker.counts.records for checker in checkers.values())
        if fed >= records or time.monotonic() > until or len(outcome.findings) >= MAX_FINDINGS:
            break
        one = Round(seed, number, checkers, slow)
        if (wrong := guarded(one.run)) is not None:
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / f"{seed}-{number}-{one.shape}-{one.table.name}"
            file.write_bytes(one.data)
            outcome.findings.append(
                f"round {number} ({one.shape}, {one.table.name}, limit {one.limit}): {wrong}\n  {file}"
            )
        outcome.rounds += 1
        outcome.end = _memory()
        if fed < records / 4 or not outcome.warm:
            outcome.warm = max(outcome.warm, outcome.end)
    for checker in checkers.values():
        outcome.counts.add(checker.counts)
    if outcome.end - outcome.warm > FLAT:
        outcome.findings.append(f"memory grew from {outcome.warm >> 20} to {outcome.end >> 20} MB")
    return outcome


def _memory() -> int:
    """Bytes that this process holds now."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _process(task: tuple[int, int, int, int, float, Path]) -> Outcome:
    seed, first, step, records, seconds, folder = task
    return run_rounds(seed, iter(range(first, sys.maxsize, step)), records, seconds, folder)


def main() -> int:
    """Run a campaign and print what it came to; 1 where something was found."""
    parser = argparse.ArgumentParser(description="Feed mutated records to the readers and decoders.")
    parser.add_argument("--records", type=int, default=10_000_000)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None, help="default: a new one")
    parser.add_argument("--only", type=int, help="this round alone")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--findings", type=Path, default=Path(".fuzz"))
    arguments = parser.parse_args()
    seed = secrets.randbits(32) if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)
    started = time.monotonic()
    if arguments.only is not None:
        outcomes = [run_rounds(seed, iter([arguments.only]), sys.maxsize, 60 * arguments.minutes, arguments.findings)]
    else:
        count = arguments.processes
        share = -(-arguments.records // count)
        tasks = [(seed, at, count, share, 60 * arguments.minutes, arguments.findings) for at in range(count)]
        with multiprocessing.get_context("spawn").Pool(count) as pool:
            outcomes = pool.map(_process, tasks)
    total = Counts()
    for outcome in outcomes:
        total.add(outcome.counts)
    seconds = time.monotonic() - started
    print(
        f"{total.records:,} records in {seconds:,.0f} s ({total.records / seconds:,.0f} a second): {total.rows:,} rows"
    )
    for code, times in sorted(total.codes.items()):
        print(f"  {code:<20} {times:>12,}")
    print("memory, MB: " + ", ".join(f"{each.warm >> 20} to {each.end >> 20}" for each in outcomes))
    findings = [finding for outcome in outcomes for finding in outcome.findings]
    for finding in findings:
        print(f"FOUND: {finding}")
    print(f"{len(findings)} findings; seed {seed}")
    return bool(findings)


if __name__ == "__main__":
    sys.exit(main())
