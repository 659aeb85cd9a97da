"""The outcome of an implementation, read from its files: keys and refused records. All implementations must agree.

`python -m benchmarks.outcome FOLDER` compares FOLDER/<implementation> for each and exits 1 where they differ.
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl

__all__ = ["IMPLEMENTATIONS", "differences", "main", "read_outcome"]

IMPLEMENTATIONS = ("textbook", "polars_script", "pipeline")


def read_outcome(name: str, folder: Path) -> tuple[pl.Series, pl.Series]:
    """Return the keys of the clean rows and the refused lines, sorted, with repeats."""
    match name:
        case "textbook":
            keys = pl.read_parquet(folder / "clean*", columns=["event_id"])["event_id"]
            refused = _lines(folder, "refused*")
        case "polars_script":
            keys = pl.read_parquet(folder / "clean.parquet", columns=["event_id"])["event_id"]
            refused = pl.read_parquet(folder / "refused.parquet")["raw"]
        case _:
            keys = pl.read_parquet(folder / "processed/**/*.parquet", columns=["event_id"])["event_id"]
            refused = pl.read_parquet(folder / "dead_letters/**/*.parquet", columns=["raw"])["raw"].cast(pl.String)
    return keys.rename("keys").sort(), refused.rename("refused").sort()


def _lines(folder: Path, pattern: str) -> pl.Series:
    files = sorted(folder.glob(pattern))
    schema = {"raw": pl.String}
    return pl.concat(
        [pl.read_csv(file, separator="\x01", quote_char=None, has_header=False, schema=schema) for file in files]
    )["raw"]


def differences(folder: Path) -> list[str]:
    """Return the differences between implementations as lines; empty if all agree and have each key once."""
    found: list[str] = []
    reference: tuple[pl.Series, pl.Series] | None = None
    for name in IMPLEMENTATIONS:
        outcome = read_outcome(name, folder / name)
        if outcome[0].n_unique() != len(outcome[0]):
            found.append(f"{name}: {len(outcome[0]) - outcome[0].n_unique()} keys more than once")
        reference = reference or outcome
        for expected, got in zip(reference, outcome, strict=True):
            if not expected.equals(got):
                found.append(
                    f"{name}: {len(got)} {got.name}, not the same as the {len(expected)} of {IMPLEMENTATIONS[0]}"
                )
    return found


def main(folder: str) -> int:
    """Print the differences; return 1 if there are any."""
    found = differences(Path(folder))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
