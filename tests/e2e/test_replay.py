"""Dead letters through a corrected contract again: each is written once, whatever is killed, and none is lost."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from google.api_core.exceptions import Conflict

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.heartbeat import Heartbeat
from connectors.bookkeeping.leases import Leases
from connectors.files.storage import Storage
from local.services import Endpoints
from tests.e2e.clouds import Cloud
from tests.e2e.proxies import HoldingProxy
from tests.e2e.tickets import FEW, MANY, RECORDS, Site

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


@pytest.fixture
def site(local_cloud: tuple[Path, Endpoints], tmp_path: Path, request: pytest.FixtureRequest) -> Site:
    with suppress(Conflict):
        Storage("local-project").client.create_bucket("replay")
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
    site.reconcile()


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
    assert said.count("has chosen other dead letters") == 2
    assert "run once-more has chosen other dead letters or another patch; give a new name" in said


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


def test_environments_that_share_a_ledger_do_not_get_each_others_records(site: Site) -> None:
    site.batch(FEW, a=RECORDS)
    said = site.replay(MANY, "--dataset=other", code=0)
    assert "no dead letter meets the condition" in said
    assert site.tickets() == {"1": "one"}


def test_a_run_that_continues_under_another_contract_forgets_what_it_had_refused(
    site: Site, local_cloud: tuple[Path, Endpoints]
) -> None:
    site.batch(FEW, a=RECORDS)
    endpoint = local_cloud[1].environment()["BIGQUERY_EMULATOR_HOST"]
    with HoldingProxy(endpoint) as proxy:
        proxy.hold(r"dead_letters-insert", after=True)
        process = site.start(FEW, proxy.address, "--run_id=changed")
        assert proxy.held.wait(60)
        process.kill_group()
    assert sorted(site.letters().values()) == 3 * [("open", "invalid_value", 1)] + [("open", "missing_required", 1)]
    site.replay((*MANY, "broken"), "--run_id=changed")
    assert site.tickets() == {"1": "one", "2": "two", "3": "three", "4": "four"}
    assert sorted(site.letters().values()) == [
        ("open", "missing_required", 1),
        *(3 * [("written", "invalid_value", 1)]),
    ]


def test_a_dead_letter_whose_run_has_no_line_in_the_ledger(site: Site) -> None:
    """As a stream that is killed between the dead letter and the line leaves it; another run reads on."""
    site.batch(FEW, a=RECORDS)
    site.rows("UPDATE {operations}.dead_letters SET run_id = 'killed' WHERE TRUE")
    site.replay(MANY)
    assert site.tickets() == {"1": "one", "2": "two", "3": "three"}


def test_next_to_a_batch(site: Site, local_cloud: tuple[Path, Endpoints]) -> None:
    """The table that a batch writes is left to it; another table's dead letters are sent meanwhile."""
    site.batch(FEW, a=RECORDS)
    endpoint = local_cloud[1].environment()["BIGQUERY_EMULATOR_HOST"]
    with HoldingProxy(endpoint) as proxy:
        proxy.hold(r"other-merge", after=False)
        other = site.start_batch("other", proxy.address, "--run_id=other", a=RECORDS)
        assert proxy.held.wait(60)
        site.replay(MANY)
        assert site.tickets() == {"1": "one", "2": "two", "3": "three"}
        said = site.replay(MANY, "--table=other", code=2, table="other")
        assert f"table {site.name}.other is being written by run other" in said
        proxy.release()
        assert other.wait(60) == 0
    site.replay(MANY, "--table=other", table="other")
    assert set(site.tickets("other")) == {"1", "2", "3"}
