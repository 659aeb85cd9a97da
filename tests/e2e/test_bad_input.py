"""Bad input through the launcher: each bad record is a dead letter with its code, and its neighbours are written."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.bigquery.warehouse import Warehouse
from connectors.sources.stored_letters import decode_again
from contracts.odcs.tables import load
from launcher import main
from tests.e2e.clouds import Cloud

pytestmark = pytest.mark.e2e

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: readings
version: 1.0.0
schema:
  - name: readings
    properties:
      - {name: reading_id, logicalType: string, primaryKey: true}
      - {name: note, logicalType: string}
      - {name: amount, logicalType: number}
      - {name: units, logicalType: integer}
      - {name: share, logicalType: number, physicalType: FLOAT64}
"""
HEADER = b"reading_id,note,amount,units,share\n"
COLUMNS = ("reading_id", "note", "amount", "units", "share")
LARGE = 50_000_000
Row = tuple[object, ...]
"""Values of COLUMNS; those at the end that are null may be left out."""


@dataclass(frozen=True)
class Bad:
    """A file: how its name ends, its bytes, where what is refused with which code, and the rows that are written."""

    extension: str
    data: bytes
    refused: Sequence[tuple[int, str]] = ()
    rows: Sequence[Row] = ()


def lines(extension: str, *records: tuple[bytes, str | Row], head: bytes = b"", end: bytes = b"\n") -> Bad:
    """A file of lines, each with its code or, if it is clean, its row."""
    data, refused, rows = head, [], []
    for record, fate in records:
        if isinstance(fate, str):
            refused.append((len(data), fate))
        else:
            rows.append(fate)
        data += record + b"\n"
    return Bad(extension, data.removesuffix(b"\n") + end, refused, rows)


def numbers() -> list[tuple[str, str | Row]]:
    """Fields `units` and `share` as they are written, and what becomes of the record."""
    return [
        ("9223372036854775807,", ("", None, 2**63 - 1)),
        ("9223372036854775808,", "invalid_value"),
        ("-0,-0", ("", None, 0, 0.0)),
        ("1.0,1e308", ("", None, 1, 1e308)),
        ("1.5,", "wrong_type"),
        ("twelve,", "wrong_type"),
        (",1e400", "invalid_value"),
        (",NaN", "invalid_value"),
        (",Infinity", "invalid_value"),
        ("0x1F,", "wrong_type"),
    ]


def number_lines() -> Bad:
    records: list[tuple[bytes, str | Row]] = []
    for index, (fields, fate) in enumerate(numbers()):
        row = fate if isinstance(fate, str) else (f"csv{index}", None, *fate[1:])
        records.append((f"csv{index},,,{fields}".encode(), row))
    return lines("csv", *records, head=HEADER)


TEN_THOUSAND = b"".join(b'{"reading_id":"cut%d","units":%d}\n' % (n, n * 7919 % 10_007) for n in range(10_000))
DEEP = b"[" * 100_000 + b"]" * 100_000
FILES = {
    "empty": Bad("csv", b""),
    "empty JSON": Bad("json", b""),
    "header only": Bad("csv", HEADER),
    "a header of other names": lines(
        "csv", (b"one,two", "malformed_csv"), (b"1,2", "missing_required"), (b"3,4", "missing_required")
    ),
    "no header": lines("csv", (b"n1,first,1,2,", "malformed_csv"), (b"n2,second,1,2,", "missing_required")),
    "no header, and an ambiguous first record": lines(
        "csv", (b"n3,,,,", "malformed_csv"), (b"n4,,,,", "malformed_csv")
    ),
    "the key's column is missing": lines(
        "csv", (b"a,1", "missing_required"), (b"b,2", "missing_required"), head=b"note,units\n"
    ),
    "another column is missing": lines("csv", (b"m1,1", ("m1", None, None, 1)), head=b"reading_id,units\n"),
    "a column is duplicated": lines("csv", (b"t1,1,2", "malformed_csv"), head=b"reading_id,units,units\n"),
    "a field of 1 MB": lines(
        "csv", (b'"l1","' + b"x" * 1_000_000 + b'",,,', ("l1", "x" * 1_000_000)), (b"l2,,,,", ("l2",)), head=HEADER
    ),
    "a line of 50 MB": lines(
        "ndjson",
        (b'{"reading_id":"h1"}', ("h1",)),
        (b"x" * LARGE, "record_too_large"),
        (b'{"reading_id":"h2"}', ("h2",)),
    ),
    "a CSV line of 50 MB": lines("csv", (b"x" * LARGE, "record_too_large"), (b"h3,,,,", ("h3",)), head=HEADER),
    "NUL bytes in CSV": lines(
        "csv", (b"z1,a\0b,,,", ("z1", "a\0b")), (b"z2,,,\0,", "wrong_type"), (b"z3,,,,", ("z3",)), head=HEADER
    ),
    "NUL bytes in JSON": lines(
        "ndjson",
        (b'{"reading_id":"z4","note":"a\0b"}', "malformed_json"),
        (b"\0" * 100, "malformed_json"),
        (rb'{"reading_id":"z5","note":"a\u0000b"}', ("z5", "a\0b")),
    ),
    "invalid UTF-8 in CSV": lines(
        "csv", (b"u1,\xff,,,", "invalid_encoding"), ("u2,größe,,,".encode(), ("u2", "größe")), head=HEADER
    ),
    "invalid UTF-8 in JSON": lines(
        "ndjson",
        (b'{"reading_id":"u3","note":"\xe9"}', "invalid_encoding"),
        (b'{"reading_id":"u4","other":"\xe9"}', "invalid_encoding"),
        (rb'{"reading_id":"u5","note":"\ud800"}', "invalid_encoding"),
        ('{"reading_id":"u6","note":"é"}'.encode(), ("u6", "é")),
    ),
    "UTF-16 CSV": Bad("csv", "reading_id,note\nw1,a\n".encode("utf-16"), [(0, "invalid_encoding")]),
    "UTF-16 JSON": Bad("json", b"\xfe\xff" + '{"reading_id":"w2"}'.encode("utf-16-be"), [(0, "invalid_encoding")]),
    "numbers in CSV": number_lines(),
    "numbers in JSON": lines(
        "ndjson",
        (b'{"reading_id":"j0","share":NaN}', "malformed_json"),
        (b'{"reading_id":"j1","share":-Infinity}', "malformed_json"),
        (b'{"reading_id":"j2","share":1e400}', "invalid_value"),
        (b'{"reading_id":"j3","share":"NaN"}', "invalid_value"),
        (b'{"reading_id":"j4","amount":-0,"units":-0,"share":-0}', ("j4", None, Decimal(0), 0, 0.0)),
        (b'{"reading_id":"j5","units":9223372036854775808}', "invalid_value"),
        (b'{"reading_id":"j6","units":-9223372036854775808}', ("j6", None, None, -(2**63))),
        (b'{"reading_id":"j7","amount":"1.5","units":"12","share":"0.5"}', ("j7", None, Decimal("1.5"), 12, 0.5)),
        (b'{"reading_id":8,"note":12}', ("8", "12")),
        (b'{"reading_id":"j9","note":1.5}', "wrong_type"),
        (b'{"reading_id":"j10","units":"twelve"}', "wrong_type"),
        (b'{"reading_id":"j11","units":3.0}', ("j11", None, None, 3)),
        (b'{"reading_id":"j12","units":true}', "wrong_type"),
        (b'{"reading_id":"j13","amount":1e30}', "invalid_value"),
        (b'{"reading_id":"j14","amount":0.0000000005}', ("j14", None, Decimal("1e-9"))),
        (b'{"reading_id":"j15","units":1e400}', "invalid_value"),
    ),
    "nested 100,000 deep": lines(
        "ndjson",
        (b'{"reading_id":"d1","note":' + DEEP + b"}", "malformed_json"),
        (b'{"reading_id":"d2","other":' + DEEP + b"}", "malformed_json"),
        (DEEP, "malformed_json"),
        (b'{"reading_id":"d3"}', ("d3",)),
    ),
    "repeated keys": lines(
        "ndjson",
        (b'{"reading_id":"k1","units":1,"units":2}', ("k1", None, None, 2)),
        (b'{"reading_id":"k2","units":"x","units":3}', ("k2", None, None, 3)),
        (b'{"reading_id":"k3","units":4,"units":"x"}', "wrong_type"),
        (b'{"reading_id":"k4","reading_id":"k5"}', ("k5",)),
    ),
    "an array among lines": lines(
        "ndjson",
        (b'{"reading_id":"r1"}', ("r1",)),
        (b'[{"reading_id":"r2"}]', "malformed_json"),
        (b"[]", "malformed_json"),
    ),
    "a broken element of an array": Bad(
        "json",
        b'[{"reading_id":"e1"},\n {"reading_id":e2},\n 3, {"reading_id":"e4"}]',
        [(23, "malformed_json"), (43, "malformed_json")],
        [("e1",), ("e4",)],
    ),
    "a truncated last line of JSON": lines(
        "ndjson", (b'{"reading_id":"s1"}', ("s1",)), (b'{"reading_id":"s2","no', "malformed_json"), end=b""
    ),
    "a truncated last line of CSV": lines(
        "csv", (b"s3,,,,", ("s3",)), (b"s4,a", "malformed_csv"), head=HEADER, end=b""
    ),
    "a last line cut in quotes": lines("csv", (b"s5,,,,", ("s5",)), (b's6,"a', "malformed_csv"), head=HEADER, end=b""),
    "not gzip": Bad("csv.gz", HEADER + b"g1,,,,\n", [(0, "invalid_encoding")]),
    "not Parquet": Bad("parquet", HEADER, [(0, "invalid_encoding")]),
}
NAMES = {case: f"readings_{number}.{bad.extension}" for number, (case, bad) in enumerate(FILES.items())}
TRUNCATED = "readings_99.ndjson.gz"


@pytest.fixture(scope="module")
def contracts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contracts")
    (folder / "readings.odcs.yaml").write_text(CONTRACT)
    return folder


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    for case, bad in FILES.items():
        (folder / NAMES[case]).write_bytes(bad.data)
    (folder / TRUNCATED).write_bytes(gzip.compress(TEN_THOUSAND)[:-20_000])
    return folder


@pytest.fixture(scope="module")
def run(cloud: Cloud, raw: Path, contracts: Path) -> dict[str, Any]:
    return cloud.batch(raw, f"--contracts={contracts}", "--run_id=bad")


def written(cloud: Cloud, raw: Path, name: str) -> list[Row]:
    rows = cloud.rows(
        f"SELECT {', '.join(COLUMNS)} FROM ecommerce_data.readings WHERE _source = '{raw / name}' ORDER BY _position"
    )
    return [tuple(row[column] for column in COLUMNS) for row in rows]


def letters(cloud: Cloud, raw: Path, name: str) -> list[dict[str, Any]]:
    return cloud.rows(f"SELECT * FROM pipeline_operations.dead_letters WHERE source = '{raw / name}' ORDER BY position")


@pytest.mark.parametrize("case", FILES)
def test_each_record_leaves_by_its_door(case: str, cloud: Cloud, raw: Path, run: dict[str, Any]) -> None:
    bad, name = FILES[case], NAMES[case]
    wide = [(*row, *[None] * (len(COLUMNS) - len(row))) for row in bad.rows]
    assert written(cloud, raw, name) == wide
    found = letters(cloud, raw, name)
    assert [(letter["position"], letter["error_code"]) for letter in found] == list(bad.refused)
    assert run["tables"]["readings"]["sources"][str(raw / name)] == {
        "read": len(bad.rows) + len(bad.refused),
        "written": len(bad.rows),
        "duplicate": 0,
        "dead_letter": len(bad.refused),
    }


def test_a_truncated_gzip_gives_its_beginning_and_one_dead_letter(cloud: Cloud, raw: Path, run: dict[str, Any]) -> None:
    rows = written(cloud, raw, TRUNCATED)
    assert 0 < len(rows) < 10_000
    assert [row[0] for row in rows] == [f"cut{number}" for number in range(len(rows))]
    found = letters(cloud, raw, TRUNCATED)
    assert [letter["error_code"] for letter in found][-1] == "invalid_encoding"
    assert found[-1]["raw"] == (raw / TRUNCATED).read_bytes()
    assert TEN_THOUSAND[: found[-1]["position"]].count(b"\n") == len(rows)


def test_every_file_is_in_the_ledger_and_it_balances(raw: Path, run: dict[str, Any]) -> None:
    table = run["tables"]["readings"]
    assert run["state"] == "done"
    assert set(table["sources"]) == {str(raw / name) for name in (*NAMES.values(), TRUNCATED)}
    for line in (table, *table["sources"].values()):
        assert line["read"] == line["written"] + line["duplicate"] + line["dead_letter"]
    assert table["dead_letter"] == sum(table["dead_letter_by_code"].values())


def test_a_line_of_50_mb_keeps_its_beginning(cloud: Cloud, raw: Path, run: dict[str, Any]) -> None:
    (letter,) = letters(cloud, raw, NAMES["a line of 50 MB"])
    assert (letter["raw"], letter["truncated"]) == (b"x" * 8_000_000, True)
    assert letter["attributes"]["size"] == LARGE


def test_every_dead_letter_decodes_again_to_its_code(cloud: Cloud, run: dict[str, Any]) -> None:
    (table,) = load([("readings.odcs.yaml", CONTRACT)]).values()
    found = cloud.rows("SELECT * FROM pipeline_operations.dead_letters WHERE run_id = 'bad'")
    assert len(found) == run["tables"]["readings"]["dead_letter"]
    for letter in found:
        again = decode_again(letter, table, 10_000_000, date(2026, 1, 1))
        assert again is not None, letter["error_message"]
        assert (again.code.value, again.message) == (letter["error_code"], letter["error_message"])


MISUSES = {
    "a folder with no file of a table": ("", ["--tables=readings"], "has no file of table readings"),
    "a folder with no file at all": ("", [], "has no file of any table (readings)"),
    "a table without a contract": ("", ["--tables=orders"], "no contract has a table orders; there are readings"),
    "a construct that is not supported": (
        "      - {name: extra, logicalType: string, semanticType: measure}\n",
        [],
        "readings.odcs.yaml: table readings, property extra: construct 'semanticType' measure is not supported",
    ),
    "a column's name that breaks out of its quotes": (
        '      - {name: "a` INT64); DROP TABLE x; --", logicalType: string}\n',
        [],
        "construct 'name' 'a` INT64); DROP TABLE x; --' is not a valid name",
    ),
    "a table's name that breaks out of its quotes": (
        '  - name: "x` (a INT64); DROP TABLE y; --"\n'
        "    properties: [{name: a, logicalType: string, primaryKey: true}]\n",
        [],
        "construct 'name' 'x` (a INT64); DROP TABLE y; --' is not a valid name",
    ),
    "a contract that is no UTF-8": ("# größe\n", [], "readings.odcs.yaml: not readable: byte "),
    "a contract that is not there": ("", ["--contracts=gs://nowhere/x.yaml"], "there is no file gs://nowhere/x.yaml"),
    "a folder of contracts that is not there": ("", ["--contracts=/nowhere"], "there is no folder /nowhere"),
    "a contract that is no YAML": ("\t: [", [], "readings.odcs.yaml: not readable as YAML: line"),
}


@pytest.mark.parametrize("case", MISUSES)
def test_misuse_is_one_line_and_starts_nothing(
    case: str, cloud: Cloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    added, arguments, said = MISUSES[case]
    for name in ("contracts", "raw"):
        (tmp_path / name).mkdir()
    (tmp_path / "contracts/readings.odcs.yaml").write_text(CONTRACT + added, encoding="latin-1")
    (tmp_path / "raw/other.csv").write_bytes(HEADER)
    before = [dataset.dataset_id for dataset in Warehouse("local-project", "US").client.list_datasets()]
    code = main(
        [
            "batch",
            "--local",
            f"--local_dir={cloud.directory}",
            f"--input={tmp_path / 'raw'}",
            f"--contracts={tmp_path / 'contracts'}",
            "--operations_dataset=untouched",
            *arguments,
        ]
    )
    output = capsys.readouterr()
    assert (code, output.out) == (2, "")
    (error,) = [line for line in output.err.splitlines() if line.startswith("error: ")]
    assert said in error
    after = [dataset.dataset_id for dataset in Warehouse("local-project", "US").client.list_datasets()]
    assert after == before
