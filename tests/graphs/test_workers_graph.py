"""The batch's graph with its bundles elsewhere: the same as in this process, in any number of bundles."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest

from connectors.upstream.beam_workers import Bundle, BundleWorker, Processed, WorkerRunner
from contracts.table import Column, Kind, Table
from pipelines.batch.graph import LAUNCHER_STEPS, Batch
from tests.graphs.batches import Loaded, batch_over, run_batch
from transforms.parts import PartsInFiles

ITEMS = Table("items", (Column("id", Kind.STRING, required=True), Column("v", Kind.STRING)), ("id",))
TABLES = {"items": ITEMS, "parts": replace(ITEMS, name="parts")}


class Elsewhere:
    """A worker that takes one bundle at a time, with all that it needs as bytes."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self._worker, self._lock = BundleWorker(), threading.Lock()

    def process(self, bundle: Bundle, descriptor: bytes) -> Processed:
        """Process a bundle."""
        with self._lock:
            if bundle.descriptor not in self.stages:
                self._worker.learn(descriptor)
            self.stages.append(bundle.descriptor)
            return self._worker.process(bundle)


def loaded_elsewhere(batch: Batch, bundles: int) -> tuple[Loaded, Elsewhere]:
    """Run a batch with a warehouse in memory, each stage but the launcher's in up to `bundles` bundles."""
    loaded, elsewhere = Loaded(), Elsewhere()
    with beam.Pipeline(runner=WorkerRunner(bundles, elsewhere.process, LAUNCHER_STEPS)) as pipeline:
        replace(batch, load=beam.Map(loaded.load)).build(pipeline)
    return loaded, elsewhere


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of two tables, with broken lines; the keys of items come in several files."""
    raw = tmp_path_factory.mktemp("raw")
    for file in range(6):
        lines = [json.dumps({"id": str(n % 250), "v": f"{file}-{n}"}) for n in range(file, 1000, 6)]
        (raw / f"items_{file}.ndjson").write_text("\n".join([*lines, "{"]))
    (raw / "parts.csv").write_text("id,v\na,1\na,2\nb\n")
    return raw


def contents(loaded: Loaded) -> Any:
    """All that a run brings to its warehouse, but for what may differ from run to run."""
    rows = {
        table: sorted((row["_source"], row["_position"], repr(sorted(row.items()))) for row in rows)
        for table, rows in loaded.rows.items()
    }
    letters = [
        {name: value for name, value in letter.items() if name not in ("first_failed_at", "failed_at")}
        for letter in loaded.dead_letters
    ]
    return rows, sorted(letters, key=repr), loaded.balance.counts, loaded.balance.state


@pytest.mark.parametrize(("bundles", "keep_duplicates"), [(1, False), (2, False), (5, True), (40, False)])
def test_the_same_as_in_this_process(bundles: int, keep_duplicates: bool, folder: Path, tmp_path: Path) -> None:
    here = contents(run_batch(batch_over(folder, TABLES, keep_duplicates=keep_duplicates)))
    batch = batch_over(folder, TABLES, keep_duplicates=keep_duplicates)
    loaded, elsewhere = loaded_elsewhere(replace(batch, parts=PartsInFiles(str(tmp_path))), bundles)
    assert [one == other for one, other in zip(contents(loaded), here, strict=True)] == [True] * 4  # a short failure
    assert (len(elsewhere.stages) > len(set(elsewhere.stages))) == (bundles > 1)
    assert list(tmp_path.glob("*.arrow"))


def test_an_error_of_a_step_keeps_its_text(tmp_path: Path) -> None:
    file = tmp_path / "items.csv"
    file.write_text("id\na\n")
    batch = batch_over(tmp_path, {"items": ITEMS})
    file.write_text("id\na\nb\n")
    with pytest.raises(Exception, match="was changed while the run was reading it"):
        loaded_elsewhere(batch, 2)
