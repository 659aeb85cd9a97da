"""Dead letters through a corrected contract again: each is written once, whatever is killed, and none is lost."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.leases import Heartbeat, Leases
from connectors.files.storage import Storage
from local.services import Endpoints
from tests import launching
from tests.e2e.clouds import Cloud
from tests.e2e.proxies import HoldingProxy
from tests.launching import Launched

pytestmark = pytest.mark.e2e
BOUNDARIES = (
    r"CREATE TABLE IF NOT EXISTS .{1,80}replay_",
    r'^(?=.*INSERT INTO .{1,80}ledger)(?=.*"value": ?"input")',
    r"dead_letters-load",
    r"dead_letters-insert",
    r"tickets-merge",
    r"tickets-replayed",
    r'^(?=.*INSERT INTO .{1,80}ledger)(?=.*"value": ?"loaded")',
    r'^(?=.*INSERT INTO .{1,80}ledger)(?=.*"value": ?"run")',
)
"""The requests that make the steps of a replay, in order."""
FEW, MANY = ("low", "high"), ("low", "high", "urgent")
RECORDS = [
    {"ticket_id": "1", "level": "low", "text": "one"},
    {"ticket_id": "2", "level": "urgent", "text": "two"},
    {"ticket_id": "3", "level": "urgent", "text": "three"},
    {"ticket_id": "4", "level": "broken", "text": "four"},
    {"ticket_id": "5", "text": "five"},
]


def contract(folder: Path, levels: tuple[str, ...], *custom: str, key: bool = True) -> Path:
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
        return f"--dataset={self.name}", f"--operations_dataset={self.name}_operations"

    def start(self, levels: tuple[str, ...], bigquery: str, *arguments: str) -> Launched:
        """Start a replay whose BigQuery is at another address."""
        folder = contract(self._folder / "contracts", levels)
        place = (
            "--project=local-project",
            "--location=US",
            "--processed=gs://replay/p",
            "--dead_letters=gs://replay/d",
        )
        return launching.start(
            ["replay", *place, f"--contracts={folder}", *self.datasets, *arguments],
            {**os.environ, "BIGQUERY_EMULATOR_HOST": bigquery},
        )

    def replay(
        self, levels: tuple[str, ...], *arguments: str, code: int = 0, custom: tuple[str, ...] = (), key: bool = True
    ) -> str:
        """Replay under a contract; what it printed."""
        folder = contract(self._folder / "contracts", levels, *custom, key=key)
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

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """The answer to a query; {operations} is the dataset of the ledger."""
        return self._cloud.rows(sql.format(operations=f"{self.name}_operations"))

    def tickets(self) -> dict[str, str]:
        """The texts of the table, by id; each id is there once."""
        rows = self._cloud.rows(f"SELECT ticket_id, text FROM {self.name}.tickets")
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


def test_killed_after_every_step(site: Site, local_cloud: tuple[Path, Endpoints]) -> None:
    """One run that is killed eight times, each time behind the next step, and continued under its name."""
    site.batch(FEW, a=RECORDS)
    Storage("local-project").client.create_bucket("replay")
    endpoint = local_cloud[1].environment()["BIGQUERY_EMULATOR_HOST"]
    with HoldingProxy(endpoint) as proxy:
        for step in BOUNDARIES:
            proxy.hold(step, after=True)
            process = site.start(MANY, proxy.address, "--run_id=killed")
            assert proxy.held.wait(60), f"{step} was never reached"
            assert process.poll() is None
            process.kill_group()
            if step == BOUNDARIES[1]:
                said = site.launch("replay", *site.datasets, "--run_id=killed", code=2)
                assert "run killed sends dead letters of tickets: no contract has it" in said
    site.replay(MANY, "--run_id=killed")
    assert site.tickets() == {"1": "one", "2": "two", "3": "three"}
    assert sorted(site.letters().values()) == [
        ("open", "invalid_value", 1),
        ("open", "missing_required", 1),
        ("written", "invalid_value", 1),
        ("written", "invalid_value", 1),
    ]
    (line,) = site.rows(
        "SELECT read, written, duplicate, dead_letter FROM {operations}.ledger_current"
        " WHERE run_id = 'killed' AND kind = 'loaded'"
    )
    assert tuple(line.values()) == (4, 2, 0, 2)


def test_an_update_that_was_refused_does_not_replace_a_newer_row(site: Site) -> None:
    merge = "property: writeDisposition, value: merge"
    site.batch(FEW, merge, a=[{"ticket_id": "1", "level": "low", "text": "old"}, {"ticket_id": "2", "level": "low"}])
    site.batch(
        FEW,
        merge,
        b=[
            {"ticket_id": "1", "level": "urgent", "text": "refused, and the newest"},
            {"ticket_id": "2", "level": "urgent", "text": "refused, and older"},
        ],
    )
    site.batch(FEW, merge, c=[{"ticket_id": "2", "level": "high", "text": "newer"}])
    site.batch(
        FEW,
        merge,
        d=[
            {"ticket_id": "3", "level": "low", "text": "first in its file"},
            {"ticket_id": "3", "level": "urgent", "text": "refused, and later in its file"},
            {"ticket_id": "4", "level": "urgent", "text": "refused, and earlier in its file"},
            {"ticket_id": "4", "level": "low", "text": "last in its file"},
        ],
    )
    site.replay(MANY, custom=(merge,))
    assert site.tickets() == {
        "1": "refused, and the newest",
        "2": "newer",
        "3": "refused, and later in its file",
        "4": "last in its file",
    }
    states = site.rows("SELECT state FROM {operations}.dead_letters_current ORDER BY state")
    assert [row["state"] for row in states] == ["duplicate", "duplicate", "written", "written"]


def test_of_a_file_that_was_overwritten_the_newest_record_of_a_place_counts(site: Site) -> None:
    """Also if the newest was written meanwhile: the one before is not sent, nor one whose place is a row by now."""
    site.batch(FEW, a=[{"ticket_id": "1", "level": "urgent"}, {"ticket_id": "7", "level": "urgent"}])
    site.batch(FEW, a=[{"ticket_id": "2", "level": "urgent"}, {"ticket_id": "8", "level": "low"}])
    site.replay(MANY)
    site.replay(MANY)
    assert set(site.tickets()) == {"2", "8"}


def test_an_operations_dataset_without_dead_letters(site: Site) -> None:
    for command in (("replay", "--dry_run"), ("dead-letters", "list")):
        said = site.launch(*command, "--operations_dataset=none_yet", code=2)
        assert "none_yet has no dead_letters_current: a batch, a stream or launcher.py setup creates it" in said


def test_a_table_that_another_run_writes_is_left_alone(site: Site) -> None:
    site.batch(FEW, a=RECORDS)
    leases = Leases(Warehouse("local-project", "US"), f"{site.name}_operations")
    name = f"{site.name}.tickets"
    assert leases.take([name], "other", "token") is None
    with Heartbeat(leases, [name], "token"):
        said = site.replay(MANY, code=2)
    assert f"table {name} is being written by run other" in said
    assert site.tickets() == {"1": "one"}


def test_the_newest_letters_alone_and_again(site: Site) -> None:
    site.batch(FEW, a=RECORDS)
    where = ("--where", "error_code = 'invalid_value' AND field = 'level'")
    assert " of 1 pass" in site.replay(MANY, "--dry_run", "--limit=1", *where)
    site.replay(MANY, *where)
    assert "no dead letter meets the condition" in site.replay(MANY, "--where", "state = 'written'")
    said = site.replay(MANY, "--where", "state = 'written'", "--again", "--run_id=once-more")
    assert "run once-more: done" in said
    assert site.tickets() == {"1": "one", "2": "two", "3": "three"}
    assert [state for state, _, _ in site.letters().values()].count("duplicate") == 2
    said = site.replay(MANY, "--where", "state = 'open'", "--run_id=once-more", code=2)
    said += site.replay(
        MANY, "--dataset=other", "--where", "state = 'written'", "--again", "--run_id=once-more", code=2
    )
    assert said.count("has sent other dead letters") == 2
    assert "run once-more has sent other dead letters; give a new name" in said


@pytest.mark.parametrize(
    ("custom", "why"),
    [
        ("property: writeDisposition, value: replace", "each run replaces the table: load its files again"),
        ("keyless", "its rows have no key: load the files again, which adds only what is missing"),
    ],
)
def test_tables_whose_letters_cannot_be_sent_again(site: Site, custom: str, why: str) -> None:
    site.batch(FEW, a=RECORDS)
    properties = (custom,) if ":" in custom else ()
    said = site.replay(MANY, "--table=tickets", code=2, custom=properties, key=custom != "keyless")
    assert f"--table tickets: {why}" in said
    said = site.replay(MANY, "--dry_run", code=2, custom=properties, key=custom != "keyless")
    assert f"tickets: not sent again, {why}" in said
    assert "no table is left whose dead letters can be sent again" in said


def test_runs_and_dead_letters_are_listed(site: Site) -> None:
    site.batch(FEW, a=RECORDS)
    operations = f"--operations_dataset={site.name}_operations"
    (batch,) = json.loads(site.launch("runs", operations, "--format=json"))
    assert (batch["pipeline"], batch["state"], batch["read"], batch["written"], batch["dead_letter"]) == (
        "batch",
        "done",
        5,
        1,
        4,
    )
    run = json.loads(site.launch("runs", batch["run"], operations, "--format=json"))
    assert [(line["table"], line["read"]) for line in run["sources"]] == [("tickets", 5)]
    assert "tickets" in site.launch("runs", batch["run"], operations)
    listed = site.launch("runs", operations).splitlines()
    assert listed[0].split() == ["run", "state", "began", "read", "written", "dead", "letter"]
    assert max(map(len, listed)) <= 80
    said = site.launch("runs", "none", operations, code=2)
    assert f"the ledger in {site.name}_operations knows no run none" in said
    wrong = json.loads(site.letters_json("list", "--run=last", "--code=invalid_value"))
    assert [(row["error_code"], row["state"]) for row in wrong] == 3 * [("invalid_value", "open")]
    assert "the newest 1 of 3" in site.letters_json("list", "--code=invalid_value", "--limit=1", "--format=table")
    assert json.loads(site.letters_json("list", "--where", "field IS NULL")) == []
    (shown,) = json.loads(site.letters_json("show", wrong[0]["dead_letter_id"][:12]))
    assert json.loads(shown["raw"])["level"] in ("urgent", "broken")
    assert "no dead letter with an id that begins with zz" in site.letters_json("show", "zz", code=2)
    assert "takes one id, or its beginning" in site.letters_json("show", code=2)
    # The file is corrected and loaded again under another contract: the dead letters of its records are solved.
    site.batch(MANY, a=RECORDS)
    states = {
        row["state"] for row in json.loads(site.letters_json("list", "--code=invalid_value", "--run=" + batch["run"]))
    }
    assert states == {"open", "solved"}
    assert "run retried: done" in site.letters_json(
        "retry", "--run_id=retried", "--where", "error_code = 'invalid_value'"
    )
    assert site.tickets() == {"1": "one", "2": "two", "3": "three"}
    newest = json.loads(site.launch("runs", operations, "--format=json"))[0]
    assert (newest["run"], newest["pipeline"], newest["read"], newest["dead_letter"]) == ("retried", "replay", 1, 1)


def test_environments_that_share_a_ledger_do_not_get_each_others_records(site: Site) -> None:
    site.batch(FEW, a=RECORDS)
    said = site.replay(MANY, "--dataset=other", code=0)
    assert "no dead letter meets the condition" in said
    assert site.tickets() == {"1": "one"}
