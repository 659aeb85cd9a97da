"""Files as they come: names, headers and encodings that people have, through the launcher; what is not read is said."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from connectors.files.storage import Storage
from launcher import main
from tests.e2e.clouds import Cloud

pytestmark = pytest.mark.e2e

PROPERTIES = """    properties:
      - {name: ride_id, logicalType: integer, primaryKey: true}
      - {name: minutes, logicalType: integer}
"""
DOCKS = """  - name: docks
    properties:
      - {name: station_id, logicalType: string, primaryKey: true}
      - {name: docks, logicalType: integer}
"""
STATES = """  - name: states
    customProperties: [{property: writeDisposition, value: merge}]
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: v, logicalType: string}
"""
HEAD = b"ride_id,minutes\n"
FILES = {
    "rides.csv": HEAD + b"1,10\n",
    "RIDES_1.CSV": b"RIDE_ID, Minutes \n2,20\n",
    "rides.tsv": b"ride_id\tminutes\n3,\t\n3\t30\n",
    "rides.txt": HEAD + b"4,40\n",
    "rides-2024-05-01.csv": HEAD + b"5,50\n",
    "rides_2024-05-01.csv": HEAD + b"6,60\n",
    "rides+0+0000000012.json.gz": gzip.compress(b'{"ride_id":7,"minutes":70}'),
    "rides.json.gzip": gzip.compress(b'{"ride_id":8,"minutes":80}'),
    "rides/RIDES.CSV": HEAD + b"9,90\n",
    "rides/_temporary/0/a.csv": HEAD + b"99,1\n",
    "rides/_delta_log/00000000000000000000.json": b'{"add":{}}\n',
    "rides/_SUCCESS": b"",
    "rides/ambiguous.csv": b"ride_id,MINUTES,Minutes\n98,1,2\n",
    "rides/long_header.csv": b"ride_id,minutes," + b"x" * 70_000 + b"\n97,1,\n",
    "rides/wide_header.csv": b"ride_id,minutes" + b",a" * 10_000 + b"\n96,1\n",
    "rides-archive.csv": HEAD + b"95,1\n",
    "readme.md": b"hello",
    "docks/a.csv": b"Station ID,Docks\nA,3\nB,4\n",
    "states_10.ndjson": b'{"id":1,"v":"ten"}\n',
    "states_9.ndjson": b'{"id":1,"v":"nine"}\n',
}


@pytest.fixture(scope="module")
def contracts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contracts")
    head = "apiVersion: v3.1.0\nkind: DataContract\nid: rides\nversion: 1.0.0\nschema:\n"
    (folder / "wild.odcs.yaml").write_text(head + "  - name: rides\n" + PROPERTIES + DOCKS + STATES)
    return folder


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / "rides/link.csv").symlink_to("/etc/passwd")
    with open(os.fsencode(folder) + b"/rides/\xff\xfe.csv", "wb") as file:
        file.write(HEAD + b"94,1\n")
    return folder


@pytest.fixture(scope="module")
def run(cloud: Cloud, raw: Path, contracts: Path) -> dict[str, Any]:
    return cloud.batch(raw, f"--contracts={contracts}", "--run_id=wild")


def test_every_form_of_a_tables_file_is_read(cloud: Cloud, run: dict[str, Any]) -> None:
    rows = cloud.rows("SELECT ride_id, minutes FROM ecommerce_data.rides ORDER BY ride_id")
    assert [(row["ride_id"], row["minutes"]) for row in rows] == [(n, 10 * n) for n in range(1, 10)]


def test_the_last_file_in_natural_order_wins(cloud: Cloud, run: dict[str, Any]) -> None:
    assert [row["v"] for row in cloud.rows("SELECT v FROM ecommerce_data.states")] == ["ten"]


def test_what_is_not_read_is_in_the_summary_and_in_the_ledger(cloud: Cloud, raw: Path, run: dict[str, Any]) -> None:
    passed_over = run["passed_over"]
    assert (passed_over["count"], passed_over["uncommitted"]) == (4, 3)
    assert {file["uri"].removeprefix(f"{raw}/"): file["reason"] for file in passed_over["files"]} == {
        "rides-archive.csv": "its name matches no table",
        "readme.md": "its extension is not one of a supported format",
        "rides/link.csv": "a symbolic link that leaves the folder",
        r"rides/\xff\xfe.csv": "its name is not UTF-8, or has control characters",
    }
    (line,) = cloud.rows("SELECT detail FROM pipeline_operations.ledger WHERE kind = 'passed_over'")
    assert (json.loads(line["detail"]) if isinstance(line["detail"], str) else line["detail"]) == passed_over


def test_headers_that_cannot_be_meant_are_refused(cloud: Cloud, raw: Path, run: dict[str, Any]) -> None:
    letters = cloud.rows(
        "SELECT source, error_code, error_message FROM pipeline_operations.dead_letters WHERE `table` = 'rides'"
        " AND source NOT LIKE '%.tsv'"
    )
    assert {each["source"].rsplit("/")[-1]: (each["error_code"], each["error_message"]) for each in letters} == {
        "ambiguous.csv": (
            "malformed_csv",
            "the header has duplicate columns: minutes (MINUTES, Minutes; case is ignored)",
        ),
        "long_header.csv": (
            "record_too_large",
            "the file cannot be read: its header has 70,016 bytes, more than 65,536",
        ),
        "wide_header.csv": (
            "malformed_csv",
            "the file cannot be read: its header has 10,002 columns, more than 10,000",
        ),
    }
    assert run["tables"]["rides"]["sources"][str(raw / "rides.tsv")]["dead_letter"] == 1


def test_a_column_that_no_file_has_is_said(run: dict[str, Any]) -> None:
    assert run["tables"]["docks"]["missing_columns"] == {"columns": ["station_id"], "names": ["Station ID", "docks"]}
    assert run["tables"]["docks"]["dead_letter_by_code"] == {"missing_required": 2}
    assert "missing_columns" not in run["tables"]["rides"]


def test_objects_with_an_encoding_are_read_whole(cloud: Cloud, contracts: Path) -> None:
    lines = HEAD + b"".join(b"%d,%d\n" % (number, number * 37 % 90) for number in range(100, 50_000))
    bucket = Storage("local-project").client.create_bucket("encoded")
    for name, data in {
        "rides_1.csv": gzip.compress(lines),
        "rides_2.csv.gz": gzip.compress(HEAD + b"1000000,1\n"),
        "rides_3.csv.gz": gzip.compress(gzip.compress(HEAD + b"2000000,2\n")),
    }.items():
        blob = bucket.blob(f"raw/{name}")
        blob.content_encoding = "gzip"
        blob.upload_from_string(data)
    found = cloud.batch("gs://encoded/raw", f"--contracts={contracts}", "--dataset=encoded")
    assert found["tables"]["rides"]["written"] == 49_902
    (row,) = cloud.rows("SELECT COUNT(*) AS n, MAX(ride_id) AS most FROM encoded.rides")
    assert (row["n"], row["most"]) == (49_902, 2_000_000)


def test_strict_files_refuses_what_fits_no_table(
    cloud: Cloud, raw: Path, contracts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["batch", "--local", f"--local_dir={cloud.directory}", f"--input={raw}", f"--contracts={contracts}"]
    assert main([*words, "--strict_files"]) == 2
    error = capsys.readouterr().err
    assert "4 files under" in error
    assert "readme.md (its extension is not one of a supported format)" in error
    assert "a table's files are <table>/…" in error
