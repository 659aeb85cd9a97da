"""Dead letters through a corrected contract again: each is written once, whatever is killed, and none is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from local.services import Endpoints
from tests.e2e.clouds import Cloud

pytestmark = pytest.mark.e2e
FEW, MANY = ("low", "high"), ("low", "high", "urgent")
RECORDS = [
    {"ticket_id": "1", "level": "low", "text": "one"},
    {"ticket_id": "2", "level": "urgent", "text": "two"},
    {"ticket_id": "3", "level": "urgent", "text": "three"},
    {"ticket_id": "4", "level": "broken", "text": "four"},
    {"ticket_id": "5", "text": "five"},
]


def contract(folder: Path, levels: tuple[str, ...], *custom: str) -> Path:
    """The contract of tickets whose column `level` has one of `levels`."""
    folder.mkdir(parents=True, exist_ok=True)
    properties = "".join(f"\n      - {{{each}}}" for each in custom)
    (folder / "tickets.odcs.yaml").write_text(f"""
apiVersion: v3.1.0
kind: DataContract
id: tickets
version: 1.0.{len(levels)}
schema:
  - name: tickets
    customProperties:{properties or " []"}
    properties:
      - {{name: ticket_id, logicalType: string, required: true, primaryKey: true}}
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
        self._cloud, self._folder, self._name = cloud, folder, name
        (folder / "raw").mkdir()

    def batch(self, levels: tuple[str, ...], *custom: str, **records: list[dict[str, Any]]) -> dict[str, Any]:
        """Load files of records, by name."""
        for name, rows in records.items():
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            file = self._folder / "raw" / "tickets" / f"{name}.ndjson"
            file.parent.mkdir(exist_ok=True)
            file.write_text(lines)
        folder = contract(self._folder / "contracts", levels, *custom)
        return self._cloud.batch(
            self._folder / "raw", f"--contracts={folder}", *self.datasets, "--max_dead_letter_ratio=1"
        )

    @property
    def datasets(self) -> tuple[str, str]:
        """The options that name its datasets."""
        return f"--dataset={self._name}", f"--operations_dataset={self._name}_operations"

    def replay(self, levels: tuple[str, ...], *arguments: str, code: int = 0) -> str:
        """Replay under a contract; what it printed."""
        folder = contract(self._folder / "contracts", levels)
        done = self._cloud.launch("replay", "--local", f"--contracts={folder}", *self.datasets, *arguments, code=code)
        return done.stdout + done.stderr

    def tickets(self) -> dict[str, str]:
        """The texts of the table, by id; each id is there once."""
        rows = self._cloud.rows(f"SELECT ticket_id, text FROM {self._name}.tickets")
        texts = {row["ticket_id"]: row["text"] for row in rows}
        assert len(texts) == len(rows)
        return texts

    def letters(self) -> dict[int, tuple[str, str, int]]:
        """State, code and retries of each dead letter, by position; each position is there once."""
        rows = self._cloud.rows(
            f"SELECT position, state, error_code, retry_count FROM {self._name}_operations.dead_letters_current"
        )
        letters = {row["position"]: (row["state"], row["error_code"], row["retry_count"]) for row in rows}
        assert len(letters) == len(rows)
        return letters


@pytest.fixture
def site(local_cloud: tuple[Path, Endpoints], tmp_path: Path, request: pytest.FixtureRequest) -> Site:
    return Site(Cloud(local_cloud[0]), tmp_path, request.node.name.partition("[")[0])


def test_a_contract_is_corrected_and_its_dead_letters_replayed(site: Site) -> None:
    assert site.batch(FEW, a=RECORDS)["tables"]["tickets"]["written"] == 1
    before = site.letters()
    assert sorted(before.values()) == [
        ("open", "invalid_value", 0),
        ("open", "invalid_value", 0),
        ("open", "invalid_value", 0),
        ("open", "missing_required", 0),
    ]
    tried = site.replay(MANY, "--dry_run", "--where", "error_code = 'invalid_value'")
    assert "tickets: 2 of 3 pass" in tried
    assert "invalid_value: 1 are refused again" in tried
    assert site.letters() == before
    said = site.replay(MANY, "--run_id=again")
    assert "run again: done" in said
    assert site.tickets() == {"1": "one", "2": "two", "3": "three"}
    assert sorted(site.letters().values()) == [
        ("open", "invalid_value", 1),
        ("open", "missing_required", 1),
        ("written", "invalid_value", 1),
        ("written", "invalid_value", 1),
    ]
    # Under the same name nothing is done again; under another one what is written is not sent.
    assert "done already" in site.replay(MANY, "--run_id=again")
    site.replay(MANY, "--where", "error_code = 'invalid_value'", "--run_id=third")
    assert sorted(site.letters().values())[0] == ("open", "invalid_value", 2)
    assert site.tickets() == {"1": "one", "2": "two", "3": "three"}
    # The rows come from where the records were read, so that a batch over the same files adds none.
    assert site.batch(MANY, a=RECORDS)["tables"]["tickets"]["written"] == 0
