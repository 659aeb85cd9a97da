"""`contracts try`: what a run would make of data, by door; nothing is loaded."""

from __future__ import annotations

import gzip
import json
import re
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.files.storage import Storage
from contracts.odcs.tables import load
from operations.contracts.sample import blocks_of_files, input_files
from operations.contracts.trial import try_records
from tests.in_process import launch
from tests.operations.test_contract_check import RIDES

MOMENT = "2026-05-01T10:00:00Z"
LINES = [
    {"ride_id": "r1", "minutes": 5, "begun_at": "2026-05-01T10:00:00Z"},
    {"ride_id": "r1", "minutes": 6},
    {"ride_id": "r2", "minutes": -1},
    {"minutes": 1},
    {"ride_id": "r3", "minutes": 7},
]


@pytest.fixture
def contract(tmp_path: Path) -> str:
    (tmp_path / "rides.odcs.yaml").write_text(RIDES)
    return str(tmp_path / "rides.odcs.yaml")


def ndjson(path: Path, name: str = "anything.ndjson") -> str:
    (path / name).write_text("\n".join(map(json.dumps, LINES)))
    return str(path / name)


def test_records_are_shown_by_door_with_the_first_refusals_and_rows(contract: str, tmp_path: Path) -> None:
    done = launch(["contracts", "try", contract, ndjson(tmp_path)], {"COLUMNS": "120"})
    assert (done.code, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "rides: 5 records read; nothing is loaded"
    assert [line.split() for line in lines[1:6]] == [
        ["door", "code", "records"],
        ["table", "2"],
        ["duplicate", "1"],
        ["dead", "letter", "invalid_value", "1"],
        ["dead", "letter", "missing_required", "1"],
    ]
    assert "  invalid_value: minutes: -1 is less than 0" in lines
    assert f"    {tmp_path}/anything.ndjson @ {sum(len(json.dumps(each)) + 1 for each in LINES[:2])}" in lines
    assert '    {"ride_id": "r2", "minutes": -1}' in lines
    assert lines[-3].split() == ["ride_id", "minutes", "begun_at"]
    assert lines[-1].split() == ["r3", "7"]


def test_the_doors_are_those_of_a_run_that_updates(contract: str, tmp_path: Path) -> None:
    Path(contract).write_text(RIDES.replace("append", "merge"))
    done = launch(["contracts", "try", contract, ndjson(tmp_path)])
    assert [line.split() for line in done.stdout.splitlines()[-2:]] == [["r1", "6"], ["r3", "7"]]


@pytest.mark.parametrize("form", ["csv", "tsv", "csv.gz", "json", "parquet", "folder"])
def test_every_format_is_read(form: str, contract: str, tmp_path: Path) -> None:
    name = tmp_path / f"data.{form}"
    text = "ride_id,minutes\nr1,5\nr2,x\n"
    if form == "csv":
        name.write_text(text)
    elif form == "tsv":
        name.write_text(text.replace(",", "\t"))
    elif form == "csv.gz":
        name.write_bytes(gzip.compress(text.encode()))
    elif form == "json":
        name.write_text(json.dumps([{"ride_id": "r1", "minutes": 5}, {"ride_id": "r2", "minutes": "x"}]))
    elif form == "parquet":
        pq.write_table(pa.table({"ride_id": ["r1", "r2"], "minutes": ["5", "x"]}), name)
    else:
        name = tmp_path / "folder"
        (name / "_logs").mkdir(parents=True)
        (name / "_logs" / "a.csv").write_text("no data")
        (name / "a.csv").write_text(text)
        (name / "README.md").write_text("no data")
    done = launch(["contracts", "try", contract, str(name)])
    assert done.code == 0
    assert "2 records read" in done.stdout
    assert 'wrong_type: minutes: "x" is not an integer' in done.stdout


def test_a_limit_counts_refused_records_too(contract: str, tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text("\n".join(['{"ride_id": "a"}', "x" * 10_000_001, '{"ride_id": "b"}', "{"]))
    for limit, rows, dead in ((1, 1, 0), (4, 2, 2)):
        table = load([("c", RIDES)])["rides"]
        files = input_files(Storage(), [str(tmp_path / "a.ndjson")])
        trial = try_records(blocks_of_files(Storage(), files, table), table, limit)
        assert (len(trial.rows), len(trial.refused)) == (rows, dead)


def test_the_end_of_the_sample_is_said(contract: str, tmp_path: Path) -> None:
    done = launch(["contracts", "try", contract, ndjson(tmp_path), "--limit", "2"])
    assert done.stdout.startswith("rides: 2 records read, the first ones; --limit N reads more than 2; nothing is")


def test_columns_that_a_file_lacks_are_named(contract: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Ride,minutes\nr1,5\n")
    done = launch(["contracts", "try", contract, str(tmp_path / "a.csv")])
    assert "a.csv lacks ride_id, begun_at; it has Ride, minutes: if ride_id is Ride, write" in done.stdout


def test_what_data_holds_cannot_act_on_a_terminal(contract: str, tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text('{"ride_id": "\\u001b[2J"}\n\x1b[31m\u202e\n')
    done = launch(["contracts", "try", contract, str(tmp_path / "a.ndjson")])
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout
    assert "\\x1b[31m\\u202e" in done.stdout


def test_an_empty_file_has_no_records(contract: str, tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text("")
    done = launch(["contracts", "try", contract, str(tmp_path / "a.ndjson")])
    assert (done.code, done.stdout.splitlines()[0]) == (0, "rides: 0 records read; nothing is loaded")


def test_a_thousand_records_take_less_than_two_seconds(contract: str, tmp_path: Path) -> None:
    table = load([("c", RIDES)])["rides"]
    records = (json.dumps({"ride_id": f"r{n}", "minutes": n % 60, "begun_at": MOMENT}) for n in range(1000))
    (tmp_path / "a.ndjson").write_text("\n".join(records))
    begun = time.process_time()
    files = input_files(Storage(), [str(tmp_path / "a.ndjson")])
    trial = try_records(blocks_of_files(Storage(), files, table), table)
    assert len(trial.rows) == 1000
    assert time.process_time() - begun < 2


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["CONTRACT"], "give files or --topic"),
        (["CONTRACT", "a.csv", "--topic", "t"], "give files or --topic, not both"),
        (["CONTRACT", "nowhere.csv"], "nowhere.csv: there is no such file, and no file below it"),
        (["CONTRACT", "CONTRACT"], "rides.odcs.yaml: its extension is not one of a supported format; a table's"),
        (["CONTRACT", "EMPTY"], "there is no such file, and no file below it"),
        (["CONTRACT", "OTHERS"], "has no file with a known extension; a table's files are"),
        (["CONTRACT", "CONTRACT", "--table", "ride"], "--table ride: the contract has no such table; there are rides"),
        (["TWO", "DATA"], "no file has the name of one of the tables rides, bikes; name one with --table"),
        (["nowhere.yaml", "CONTRACT"], "there is no file nowhere.yaml"),
        (["CONTRACT", "a.csv", "--limit", "0"], "0: give a whole number from 1"),
    ],
)
def test_wrong_usage_is_refused(argv: list[str], said: str, contract: str, tmp_path: Path) -> None:
    two = tmp_path / "two.odcs.yaml"
    head, table = RIDES.split("schema:\n")
    two.write_text(f"{head}schema:\n{table}{table.replace('name: rides', 'name: bikes')}")
    (tmp_path / "empty").mkdir()
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "a.txt.bak").write_text("")
    places = {
        "CONTRACT": contract,
        "TWO": str(two),
        "DATA": ndjson(tmp_path),
        "EMPTY": str(tmp_path / "empty"),
        "OTHERS": str(tmp_path / "others"),
    }
    done = launch(["contracts", "try", *(places.get(word, word) for word in argv)])
    assert (done.code, done.stdout) == (2, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_files_of_several_tables_are_tried_by_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "both.odcs.yaml").write_text(
        RIDES + "  - name: wards\n    properties:\n      - {name: id, logicalType: integer}\n"
    )
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "wards-2026.csv").write_text("id\n1\nx\n")
    (folder / "rides.ndjson").write_text('{"ride_id": "a"}\n')
    (folder / "others.csv").write_text("nobody's\n")
    monkeypatch.chdir(tmp_path)
    for paths in (["data"], ["./data/rides.ndjson", str(folder / "wards-2026.csv")]):
        done = launch(["contracts", "try", "both.odcs.yaml", *paths])
        assert done.code == 0
        assert re.findall(r"(\w+): (\d) records? read", done.stdout) == [("rides", "1"), ("wards", "2")]
