"""`contracts check`: all problems at once, each with its line, and the tests next to a contract."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.in_process import launch

RIDES = """apiVersion: v3.1.0
kind: DataContract
id: rides
version: 1.0.0
schema:
  - name: rides
    customProperties:
      - {property: writeDisposition, value: append}
    properties:
      - {name: ride_id, logicalType: string, primaryKey: true}
      - {name: minutes, logicalType: integer, logicalTypeOptions: {minimum: 0}}
      - {name: begun_at, logicalType: timestamp, partitioned: true}
"""
BROKEN = """apiVersion: v3.1.0
kind: DataContract
version: 1.0.0
team: 5
schema:
  - name: rides
    properties:
      - {name: ride_id, logicalType: string, primarykey: true}
      - {name: begun_at, logicalType: datetime}
      - {name: state, logicalType: string, enum: [open, closed]}
"""
TESTS = """table: rides
today: 2026-05-01
tests:
  - name: a clean ride
    record: {ride_id: r1, minutes: 5, begun_at: "2026-05-01T10:00:00Z"}
    door: table
    row: {minutes: 5, begun_at: "2026-05-01T10:00:00Z"}
  - record: {ride_id: r1, minutes: -1}
    door: dead_letter
    code: invalid_value
    field: minutes
  - after: [{ride_id: r1, minutes: 1}]
    record: {ride_id: r1, minutes: 2}
    door: duplicate
"""


def folder(path: Path, tests: str = "", contract: str = RIDES) -> str:
    (path / "rides.odcs.yaml").write_text(contract)
    if tests:
        (path / "tests").mkdir()
        (path / "tests" / "rides.yaml").write_text(tests)
    return str(path)


def errors(path: str) -> list[str]:
    done = launch(["contracts", "check", path])
    assert (done.code, done.stdout) == (2, "")
    return [line.removeprefix("error: ") for line in done.stderr.splitlines()]


def test_the_shipped_contracts_pass_with_their_tests() -> None:
    done = launch(["contracts", "check"])
    assert (done.code, done.stderr) == (0, "")
    assert "ok  customers: 10 columns" in done.stdout
    assert "6 tables; 13 tests passed" in done.stdout


def test_a_contract_without_tests_passes(tmp_path: Path) -> None:
    done = launch(["contracts", "check", folder(tmp_path)])
    assert (done.code, done.stdout) == (0, "ok  rides: 3 columns\n1 table; there are no tests\n")


def test_tests_next_to_a_contract_are_run(tmp_path: Path) -> None:
    done = launch(["contracts", "check", folder(tmp_path, TESTS)])
    assert (done.code, done.stdout.splitlines()[-1]) == (0, "1 table; 3 tests passed")


def test_all_problems_of_all_files_are_reported_with_their_lines(tmp_path: Path) -> None:
    (tmp_path / "a.odcs.yaml").write_text("a: [")
    (tmp_path / "b.odcs.yaml").write_text(BROKEN)
    (tmp_path / "c.odcs.yaml").write_text(RIDES.replace("minimum", "minimun"))
    found = errors(str(tmp_path))
    wanted = [
        "a.odcs.yaml: not readable as YAML: line 1, column 5",
        "b.odcs.yaml: construct 'id' is missing",
        "b.odcs.yaml: construct 'team' is not valid",
        "b.odcs.yaml: table rides, property ride_id: construct 'primarykey' is not part of the standard",
        "b.odcs.yaml: table rides, property begun_at: construct 'logicalType' datetime is not supported",
        "b.odcs.yaml: table rides, property state: construct 'enum' has 'open'; write {value: open}",
        "c.odcs.yaml: table rides, property minutes: construct 'logicalTypeOptions.minimun' is not part of the",
    ]
    for begin in wanted:
        assert any(line.startswith(begin) for line in found), (begin, found)
    assert [line.rpartition("(")[2] for line in found if line.startswith("b.")] == [
        *("line 1)", "line 4)", "line 8)", "line 9)", "line 10)")
    ]


def test_a_table_in_two_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.odcs.yaml").write_text(RIDES)
    (tmp_path / "b.odcs.yaml").write_text(RIDES)
    assert errors(str(tmp_path)) == ["b.odcs.yaml: table rides is in a.odcs.yaml already; a table has one contract"]


@pytest.mark.parametrize(
    ("test", "said"),
    [
        (
            "{record: {ride_id: r1, minutes: -1}, door: table}",
            "must be a row of the table, but it is a dead letter: in",
        ),
        ("{record: {ride_id: r1}, door: dead_letter}", "must be a dead letter, but it is a row of the table"),
        ("{record: {ride_id: r1}, door: duplicate}", "must be a duplicate, but it is a row of the table"),
        ("{record: {}, door: dead_letter, code: wrong_type}", "must be a dead letter with code wrong_type, but it is"),
        ("{record: {}, door: dead_letter, field: minutes}", "must be a dead letter about minutes, but it is a dead"),
        ("{record: {ride_id: r1, minutes: 1}, door: table, row: {minutes: 2}}", "minutes must be 2, but it is '1'"),
        ("{record: {ride_id: r1}, door: table, row: {minute: 2}}", "row names minute, which is no column; there are "),
        ("{record: {ride_id: r1}, door: table, row: {minutes: x}}", 'row: minutes: "x" is not an integer'),
    ],
)
def test_a_test_that_fails_is_one_line_with_its_place(test: str, said: str, tmp_path: Path) -> None:
    done = launch(["contracts", "check", folder(tmp_path, f"table: rides\ntests:\n  - {test}\n")])
    assert (done.code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: tests/rides.yaml:3: {said}")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        ("table: rides\n", "tests/rides.yaml:1: has no tests; write a list of mappings"),
        ("tests: [{record: {}, door: table}]\ntabel: rides", "tests/rides.yaml:1: unknown key 'tabel'; there are "),
        ("table: ride\ntests: [{record: {}, door: table}]", "there is no table ride; write table: with one of rides"),
        ("today: May\ntests: [{record: {}, door: table}]", "today must be a date such as 2026-05-01, not 'May'"),
        ("tests:\n- 5", "tests/rides.yaml:2: a test is a mapping of record and door, not 5"),
        ("tests:\n- {door: table}", "tests/rides.yaml:2: give either record, a mapping, or line, a text"),
        ("tests:\n- {record: {}, door: tabel}", "door must be one of table, duplicate, dead_letter, not 'tabel'"),
        ("tests:\n- {record: {}, door: dead_letter, code: bad}", "code must be one of malformed_json, malformed_csv"),
        (
            "tests:\n- {record: {}, door: dead_letter, row: {}}",
            "row is a mapping of columns, and belongs to door: table",
        ),
        ("tests:\n- {record: {}, door: table, code: wrong_type}", "code and field belong to door: dead_letter"),
        ("tests:\n- {record: {}, door: table, after: 5}", "after is a list of records, not 5"),
        ("tests:\n- {record: {}, door: table, wanted: 5}", "unknown key 'wanted'; there are name, record, line"),
        ("header: a,b\ntests:\n- {record: {}, door: table}", "the file has a header, so its records are CSV"),
        ("tests: [", "tests/rides.yaml: not readable as YAML: line 1"),
    ],
)
def test_what_is_no_test_is_refused(tests: str, said: str, tmp_path: Path) -> None:
    (line,) = errors(folder(tmp_path, tests))
    assert said in line


def test_lines_of_csv_and_of_json_are_tested(tmp_path: Path) -> None:
    lines = """header: ride_id,minutes
tests:
  - {line: "r1,5", door: table, row: {minutes: 5, begun_at: null}}
  - {line: "r1", door: dead_letter, code: malformed_csv}
"""
    place = folder(tmp_path, lines)
    (tmp_path / "tests" / "more.yaml").write_text("tests: [{line: '{', door: dead_letter, code: malformed_json}]")
    (tmp_path / "tests" / "README.md").write_text("not a test")
    assert launch(["contracts", "check", place]).stdout.splitlines()[-1] == "1 table; 3 tests passed"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "arguments are required: ACTION"),
        (["chekc"], "contracts: unknown action 'chekc'; did you mean check?; there are check, "),
        (["check", "nowhere"], "contracts check: there is no folder nowhere"),
        (["check", "nowhere.yaml"], "contracts check: there is no file nowhere.yaml"),
    ],
)
def test_wrong_usage_is_refused(argv: list[str], said: str) -> None:
    done = launch(["contracts", *argv])
    assert done.code == 2
    assert said in done.stderr


def test_a_folder_with_the_name_of_a_contract_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    done = launch(["contracts", "check", str(tmp_path / "folder.yaml")])
    assert done.code == 2
    assert "folder.yaml cannot be read: [Errno 21] Is a directory" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_check_does_not_import_beam(tmp_path: Path) -> None:
    program = f"""
import sys
import launcher
code = launcher.main(["contracts", "check", {folder(tmp_path)!r}])
sys.exit(code or "apache_beam" in sys.modules)
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
