"""Measure the memory of a key: `python -m benchmarks.streaming.index KEYS` prints JSON.

The keys are entered as a stream does: blocks of 2,048 rows into one index a bucket, 8 buckets.
{"bytes_per_key": growth of the resident size a key, "arrays_per_key": bytes of the index's own arrays a key}
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from benchmarks.streaming.probe import resident_bytes
from contracts.decoding.decoder import HASH_LOW
from contracts.lineage import HASH, POSITION, SOURCE
from transforms.key_index import KeyIndex

__all__ = ["main"]

BUCKETS = 8
BLOCK = 2_048


def main(keys: int) -> None:
    """Fill indices with random digests; print the memory that they take."""
    chance = np.random.default_rng(1)
    now = datetime.now(UTC)

    def block(start: int, count: int) -> pl.DataFrame:
        digests = chance.integers(-(2**63), 2**63 - 1, size=(2, count), dtype=np.int64)
        return pl.DataFrame(
            {
                HASH: digests[0],
                HASH_LOW: digests[1],
                SOURCE: ["kafka://user-events/0"] * count,
                POSITION: np.arange(start, start + count),
            }
        )

    KeyIndex(timedelta(hours=24)).add(block(0, BLOCK), now)  # libraries that the first use loads do not count
    before = resident_bytes()
    indices = [KeyIndex(timedelta(hours=24)) for _ in range(BUCKETS)]
    for number, start in enumerate(range(0, keys, BLOCK)):
        indices[number % BUCKETS].add(block(start, min(BLOCK, keys - start)), now)
    grown = resident_bytes() - before
    arrays = sum(index.nbytes for index in indices)
    print(json.dumps({"bytes_per_key": grown / keys, "arrays_per_key": arrays / keys}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
