"""Dead letters and runs for a person: lists, one of them whole, retry, and those that nobody will correct."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local.services import Endpoints
from tests.e2e.clouds import Cloud
from tests.e2e.tickets import FEW, MANY, RECORDS, Site

pytestmark = pytest.mark.e2e


@pytest.fixture
def site(local_cloud: tuple[Path, Endpoints], tmp_path: Path, request: pytest.FixtureRequest) -> Site:
    return Site(Cloud(local_cloud[0]), tmp_path, request.node.name.partition("[")[0])


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
    assert "with an id that begins with zz" in site.letters_json("show", "zz", code=2)
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


def test_counts_say_what_is_solved(site: Site) -> None:
    site.batch(FEW, a=RECORDS)
    site.batch(MANY, a=RECORDS)
    said = site.letters_json("list", "--format=table", "--code=invalid_value")
    assert [line.split()[3:5] for line in said.splitlines() if line.startswith("tickets")][:2] == [
        ["solved", "2"],
        ["open", "1"],
    ]
    solved = json.loads(site.letters_json("list", "--where", "state = 'solved'"))
    assert len(solved) == 2
    (shown,) = json.loads(site.letters_json("show", solved[0]["dead_letter_id"]))
    assert shown["state"] == "solved"


def test_retry_of_the_last_run(site: Site) -> None:
    site.batch(FEW, a=RECORDS)
    site.batch(FEW, b=[{"ticket_id": "6", "level": "urgent", "text": "six"}], a=RECORDS)
    assert "tickets: 1 of 1 pass" in site.replay(MANY, "--run=last", "--dry_run")
    assert "run last-one: done" in site.letters_json("retry", "--run=last", "--run_id=last-one")
    assert site.tickets() == {"1": "one", "6": "six"}
    said = site.letters_json("retry", "--run=a b", code=2)
    assert "--run takes letters, digits, _ . and -, at most 100" in said


def test_what_is_given_up_is_not_sent_again_unless_asked(site: Site) -> None:
    site.batch(FEW, a=RECORDS)
    assert "say which, by --run, --table, --code or --where" in site.letters_json("give-up", code=2)
    assert "invalid choice: 'invalid_utf8'" in site.letters_json("give-up", "--code=invalid_utf8", code=2)
    given_up = ("--code=invalid_value", "--where", "error_message LIKE '%urgent%'", "--format=table")
    assert "2 dead letters are given up" in site.letters_json("give-up", *given_up)
    assert "0 dead letters are given up" in site.letters_json("give-up", *given_up)
    assert sorted(site.letters().values())[:2] == 2 * [("given_up", "invalid_value", 0)]
    site.replay(MANY)
    assert site.tickets() == {"1": "one"}
    site.replay(MANY, "--again", "--where", "state = 'given_up'")
    assert site.tickets() == {"1": "one", "2": "two", "3": "three"}
    assert [state for state, _, _ in site.letters().values()].count("written") == 2


def test_old_days_are_read_if_asked(site: Site, local_cloud: tuple[Path, Endpoints]) -> None:
    """What a list costs is bounded: by default it is about 30 days."""
    site.batch(FEW, a=RECORDS)
    for table, column in (("dead_letters", "failed_at"), ("ledger", "recorded_at")):
        site.rows(f"UPDATE {{operations}}.{table} SET {column} = TIMESTAMP_SUB({column}, INTERVAL 40 DAY) WHERE TRUE")
    (run,) = site.rows("SELECT DISTINCT run_id FROM {operations}.dead_letters")
    operations = f"--operations_dataset={site.name}_operations"
    assert json.loads(site.letters_json("list", "--run=last")) == []
    assert len(json.loads(site.letters_json("list", "--run=last", "--days=50"))) == 4
    assert f"knows no run {run['run_id']} since" in site.launch("runs", run["run_id"], operations, code=2)
    found = json.loads(site.launch("runs", run["run_id"], operations, "--days=50", "--format=json"))
    assert (found["read"], found["sources"][0]["dead_letter"]) == (5, 4)
