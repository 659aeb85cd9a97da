"""The tickets of tests of replay: a contract that is narrow or wide, an input folder, and the commands on them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tests import launching
from tests.e2e.clouds import Cloud
from tests.e2e.reconciled import reconciled
from tests.launching import Launched

__all__ = ["FEW", "MANY", "RECORDS", "Site", "contract"]

PLACE = ("--project=local-project", "--location=US", "--processed=gs://replay/p", "--dead_letters=gs://replay/d")
FEW, MANY = ("low", "high"), ("low", "high", "urgent")
RECORDS = [
    {"ticket_id": "1", "level": "low", "text": "one"},
    {"ticket_id": "2", "level": "urgent", "text": "two"},
    {"ticket_id": "3", "level": "urgent", "text": "three"},
    {"ticket_id": "4", "level": "broken", "text": "four"},
    {"ticket_id": "5", "text": "five"},
]


def contract(folder: Path, levels: tuple[str, ...], *custom: str, key: bool = True, table: str = "tickets") -> Path:
    """The contract of a table whose column `level` has one of `levels`."""
    folder.mkdir(parents=True, exist_ok=True)
    properties = "".join(f"\n      - {{{each}}}" for each in custom)
    (folder / f"{table}.odcs.yaml").write_text(f"""
apiVersion: v3.1.0
kind: DataContract
id: {table}
version: 1.0.{len(levels)}
schema:
  - name: {table}
    customProperties:{properties or " []"}
    properties:
      - {{name: ticket_id, logicalType: string, required: true{", primaryKey: true" if key else ""}}}
      - name: level
        logicalType: string
        required: true
        enum: [{", ".join(f"{{value: {level}}}" for level in levels)}]
      - {{name: text, logicalType: string}}
""")
    return folder


class Site:
    """The tickets of one test: an input folder, a contract, and datasets."""

    def __init__(self, cloud: Cloud, folder: Path, name: str) -> None:
        self._cloud, self._folder, self.name = cloud, folder, name
        (folder / "raw").mkdir()

    def batch(self, levels: tuple[str, ...], *custom: str, **records: list[dict[str, Any]]) -> dict[str, Any]:
        """Load files of records, by name."""
        self._write("tickets", records)
        folder = contract(self._folder / "contracts", levels, *custom)
        return self._cloud.batch(
            self._folder / "raw", f"--contracts={folder}", *self.datasets, "--max_dead_letter_ratio=1"
        )

    @property
    def datasets(self) -> tuple[str, str]:
        """The options that name its datasets."""
        return f"--dataset={self.name}", f"--operations_dataset={self.name}_operations"

    def start_batch(self, table: str, bigquery: str, *arguments: str, **records: list[dict[str, Any]]) -> Launched:
        """Start a batch of another table under the narrow contract, whose BigQuery is at another address."""
        raw = self._write(table, records)
        folder = contract(self._folder / table, FEW, table=table)
        options = ("--runner=DirectRunner", f"--input={raw}", f"--contracts={folder}", "--max_dead_letter_ratio=1")
        return launching.start(
            ["batch", *options, *PLACE, *self.datasets, *arguments], {**os.environ, "BIGQUERY_EMULATOR_HOST": bigquery}
        )

    def _write(self, table: str, records: dict[str, list[dict[str, Any]]]) -> Path:
        """Write files of records, by name, and return the folder."""
        raw = self._folder / ("raw" if table == "tickets" else f"raw_{table}")
        (raw / table).mkdir(exist_ok=True, parents=True)
        for name, rows in records.items():
            (raw / table / f"{name}.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return raw

    def start(self, levels: tuple[str, ...], bigquery: str, *arguments: str) -> Launched:
        """Start a replay whose BigQuery is at another address."""
        folder = contract(self._folder / "contracts", levels)
        return launching.start(
            ["replay", *PLACE, f"--contracts={folder}", *self.datasets, *arguments],
            {**os.environ, "BIGQUERY_EMULATOR_HOST": bigquery},
        )

    def replay(
        self,
        levels: tuple[str, ...],
        *arguments: str,
        code: int = 0,
        custom: tuple[str, ...] = (),
        key: bool = True,
        table: str = "tickets",
    ) -> str:
        """Replay under a contract; what it printed."""
        folder = self._folder / ("contracts" if table == "tickets" else table)
        contract(folder, levels, *custom, key=key, table=table)
        options = ("replay", "--local", f"--contracts={folder}", *self.datasets, *arguments)
        done = self._cloud.launch(*options, code=code)
        return done.stdout + done.stderr

    def launch(self, *arguments: str, code: int = 0) -> str:
        """What another command printed."""
        done = self._cloud.launch(*arguments, "--local", code=code)
        return done.stdout if code == 0 else done.stderr

    def letters_json(self, action: str, *arguments: str, code: int = 0) -> str:
        """What `dead-letters ACTION` printed."""
        form = () if action == "retry" or any("--format" in each for each in arguments) else ("--format=json",)
        contracts = f"--contracts={self._folder / 'contracts'}"
        return self.launch("dead-letters", action, contracts, *self.datasets, *form, *arguments, code=code)

    def reconcile(self) -> None:
        """Hold that the ledger, the table, the dead letters and the files agree."""
        reconciled(self._cloud.directory, self.name, f"--contracts={self._folder / 'contracts'}")

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """The answer to a query; {operations} is the dataset of the ledger."""
        return self._cloud.rows(sql.format(operations=f"{self.name}_operations"))

    def tickets(self, table: str = "tickets") -> dict[str, str]:
        """The texts of the table, by id; each id is there once."""
        rows = self._cloud.rows(f"SELECT ticket_id, text FROM {self.name}.{table}")
        texts = {row["ticket_id"]: row["text"] for row in rows}
        assert len(texts) == len(rows)
        return texts

    def letters(self) -> dict[int, tuple[str, str, int]]:
        """State, code and retries of each dead letter, by position; each position is there once."""
        rows = self._cloud.rows(
            f"SELECT position, state, error_code, retry_count FROM {self.name}_operations.dead_letters_current"
        )
        letters = {row["position"]: (row["state"], row["error_code"], row["retry_count"]) for row in rows}
        assert len(letters) == len(rows)
        return letters
