"""`alarms` and `--notify`: each alarm is sent once, and once when it is over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.notices import Notices, NoticeState
from launcher import main
from local.services import Endpoints
from tests.e2e.inbox import Inbox, inbox

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: trips
version: 1.0.0
schema:
  - name: trips
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: at, logicalType: timestamp, required: true}
slaProperties:
  - {property: freshness, value: 100, unit: y, element: trips.at}
"""
BOOKS = "alarmed_operations"
REFERENCE = "--notify=env:ALARMS_URL"


class Site:
    """A table, its files, and what the launcher says about it."""

    def __init__(self, directory: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._folder, self._capsys = folder, capsys
        (folder / "contracts").mkdir()
        (folder / "contracts" / "trips.odcs.yaml").write_text(CONTRACT)
        self.warehouse = Warehouse("local-project", "US")
        datasets = ("--dataset=alarmed", f"--operations_dataset={BOOKS}")
        self._place = ["--local", f"--local_dir={directory}", f"--contracts={folder / 'contracts'}", *datasets]

    def batch(self, name: str, *records: dict[str, Any], options: tuple[str, ...] = (REFERENCE,)) -> int:
        """Load a file of records; the exit code."""
        folder = self._folder / name
        folder.mkdir()
        (folder / "trips.ndjson").write_text("".join(json.dumps(record) + "\n" for record in records))
        return main(["batch", "--runner=DirectRunner", f"--input={folder}", f"--run_id={name}", *self._place, *options])

    def alarms(self, *options: str) -> tuple[int, list[dict[str, str]]]:
        """The exit code and the alarms, by JSON."""
        self._capsys.readouterr()
        code = main(["alarms", *self._place, "--format=json", *options])
        return code, json.loads(self._capsys.readouterr().out)

    def said(self, *options: str) -> tuple[int, str]:
        """The exit code, and what a person reads."""
        self._capsys.readouterr()
        code = main(["alarms", *self._place, *options])
        return code, "".join(self._capsys.readouterr())


@pytest.fixture
def box() -> Iterator[Inbox]:
    with inbox() as found:
        yield found


GOOD = [{"id": number, "at": "2026-01-31T12:00:00Z"} for number in range(3)]
BAD = [{"id": number, "at": "hidden-value"} for number in range(120)]


def test_alarms_are_sent_once_and_again_when_they_are_over(
    local_cloud: tuple[Path, Endpoints],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    box: Inbox,
) -> None:
    monkeypatch.setenv("ALARMS_URL", box.url)
    site = Site(local_cloud[0], tmp_path, capsys)
    # Before the first run a table is missing, whose freshness cannot be measured.
    code, (missing,) = site.alarms()
    assert (code, missing["alarm"], missing["about"]) == (6, "service_level_broken", "trips: freshness of at")
    site.alarms(REFERENCE)
    assert ["service_level_broken: trips" in text for text in box.take()] == [True]
    # Who looks with other contracts does not see it, and does not call it over.
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "trips.odcs.yaml").write_text(CONTRACT.replace("trips", "bikes").split("slaProperties")[0])
    assert site.alarms(REFERENCE, f"--contracts={tmp_path / 'others'}") == (0, [])
    assert box.take() == []

    assert site.batch("first", *GOOD) == 0
    assert ["over: service_level_broken" in text for text in box.take()] == [True]
    assert site.alarms(REFERENCE) == (0, [])
    assert site.said() == (0, "no alarm\n")
    assert box.take() == []

    # Two runs are refused, one after the other: it is one alarm.
    assert site.batch("second", *BAD) == 4
    (text,) = box.take()
    assert text.startswith(f"local-project.{BOOKS}: 1 new alarm\ntoo_many_dead_letters: run second of ")
    assert "batch into trips: too many dead letters" in text
    assert "hidden-value" not in text
    assert site.batch("third", *BAD) == 4
    assert box.take() == []
    code, (alarm,) = site.alarms(REFERENCE)
    assert (code, alarm["alarm"], alarm["about"]) == (6, "too_many_dead_letters", "batch into trips")
    assert "run third" in alarm["says"]
    assert box.take() == []

    # A line that does not balance, while the service is away: the next look sends both.
    line = "kind = 'loaded' AND run_id = 'first'"
    site.warehouse.update(f"UPDATE {BOOKS}.ledger SET `read` = `read` + 1 WHERE {line}")
    box.refuses = True
    code, said = site.said(REFERENCE)
    assert code == 5
    assert "the service that env:ALARMS_URL names does not take the notice" in said
    assert "hidden-word" not in said
    box.refuses = False
    assert site.batch("fourth", *GOOD) == 0
    (text,) = box.take()
    assert "1 new alarm, 1 over\n" in text
    assert "ledger_unbalanced: 1 lines of the ledger about alarmed.trips do not balance" in text
    assert "over: too_many_dead_letters, batch into trips" in text
    site.warehouse.update(f"UPDATE {BOOKS}.ledger SET `read` = `read` - 1 WHERE {line}")
    assert "notices sent: 0 new, 1 over" in site.said(REFERENCE)[1]
    assert ["over: ledger_unbalanced" in text for text in box.take()] == [True]

    # A run that was killed has no last line.
    site.warehouse.update(f"DELETE FROM {BOOKS}.ledger WHERE kind = 'run' AND run_id = 'fourth'")
    code, said = site.said(REFERENCE)
    assert (code, "run_without_end  run fourth of" in said) == (6, True)
    assert len(box.take()) == 1
    # A run that is refused before it starts has no line at all.
    assert site.batch("fifth", *GOOD, options=(REFERENCE, "--tables=journeys")) == 2
    (text,) = box.take()
    assert "a run was refused or has failed\n" in text
    assert "journeys" in text


def test_of_two_looks_at_once_one_sends(local_cloud: tuple[Path, Endpoints], tmp_path: Path) -> None:
    from connectors.bookkeeping.dataset import ensure_operations

    warehouse = Warehouse("local-project", "US")
    ensure_operations(warehouse, BOOKS)
    looks = [Notices(warehouse, BOOKS, f"look-{number}") for number in range(4)]
    alarm = ("run_failed", "batch into nothing")
    for state in (NoticeState.OPEN, NoticeState.OVER, NoticeState.OPEN):
        with ThreadPoolExecutor(4) as pool:
            claimed = list(pool.map(lambda look, state=state: look.claim(alarm, state), looks))
        assert sum(claimed) == 1, (state, claimed)
    assert alarm in looks[0].open()
    owner = looks[claimed.index(True)]
    for look in looks:
        if look is not owner:
            look.give_back(alarm, NoticeState.OPEN)
    assert alarm in looks[0].open()
    owner.give_back(alarm, NoticeState.OPEN)
    assert alarm not in looks[0].open()


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("slack://hidden-word", "--notify must be a reference: env:NAME, file:PATH or secret:projects/…"),
        ("env:NO_SUCH_VARIABLE", "--notify: the environment variable NO_SUCH_VARIABLE is not set"),
        ("env:NO_URL", "--notify: env:NO_URL holds no URL that Apprise knows"),
        ("file:/no/such/file", "--notify: /no/such/file cannot be read"),
    ],
)
@pytest.mark.parametrize("command", [["alarms"], ["batch", "--runner=DirectRunner", "--input=/nowhere"]])
def test_what_notify_refuses(
    reference: str,
    says: str,
    command: list[str],
    local_cloud: tuple[Path, Endpoints],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NO_URL", "nonsense")
    assert main([*command, "--local", f"--local_dir={local_cloud[0]}", f"--notify={reference}"]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert "hidden-word" not in said
