"""`contracts infer`: a draft that passes `check`, and that at least 99% of its sample pass."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.files.storage import Storage
from contracts.odcs.tables import load
from contracts.table import Column, Epoch, Identity, Kind, PartitionBy, Table
from operations.contracts.infer import draft_of
from operations.contracts.sample import blocks_of_files, input_files
from operations.contracts.sampled import grouped, sample_of
from operations.contracts.trial import try_records
from tests.in_process import launch

Rows = Sequence[Mapping[str, Any]]


def inferred(path: Path, limit: int = 10_000) -> tuple[Table, str]:
    """The only table of the draft of a file, of whose records 99% pass, and its text."""
    storage = Storage()
    files = input_files(storage, [str(path)])
    text = draft_of({name: sample_of(storage, own, limit) for name, own in grouped(files, [], None).items()})
    (table,) = load([("draft", text)]).values()
    trial = try_records(blocks_of_files(storage, files, table), table)
    assert trial.read > 0
    assert len(trial.refused) <= 0.01 * trial.read, (trial.codes, trial.refused[:3], text)
    return table, text


def ndjson(path: Path, rows: Rows, name: str = "data.ndjson") -> Path:
    (path / name).write_text("\n".join(map(json.dumps, rows)))
    return path / name


def in_csv(path: Path, rows: Rows, delimiter: str = ",", name: str = "data.csv", encoding: str = "utf-8") -> Path:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    (path / name).write_bytes(text.getvalue().encode(encoding))
    return path / name


def kinds(table: Table) -> dict[str, Kind]:
    return {column.name: column.kind for column in table.columns}


def column(table: Table, name: str) -> Column:
    return table.column(name)


def test_rides_with_a_nested_object(tmp_path: Path) -> None:
    rows = [
        {
            "rideId": f"r{n}",
            "bike": {"id": n % 7, "end": "city" if n % 3 else "cargo"},
            "begun_at": f"2026-05-{n % 28 + 1:02}T10:00:00.5Z",
            "minutes": n % 60,
            "price": n / 10,
            "tags": ["a", "b"][: n % 3],
            "electric": n % 2 == 0,
            "note": None,
            "coupon": f"c{n}" if n % 5 else None,
        }
        for n in range(1000)
    ]
    table, text = inferred(ndjson(tmp_path, rows, "rides.ndjson"))
    assert table.name == "rides"
    assert (table.primary_key, table.partition) == (("rideId",), "begun_at")
    assert kinds(table) == {
        "rideId": Kind.STRING,
        "bike": Kind.RECORD,
        "begun_at": Kind.TIMESTAMP,
        "minutes": Kind.INTEGER,
        "price": Kind.NUMERIC,
        "tags": Kind.STRING,
        "electric": Kind.BOOLEAN,
        "note": Kind.STRING,
        "coupon": Kind.STRING,
    }
    assert column(table, "tags").repeated
    assert column(table, "minutes").required
    assert not column(table, "coupon").required
    kind = column(table, "bike").fields[1]
    assert (kind.enum, kind.required) == (("cargo", "city"), True)
    assert "# 1,000 of 1,000 values match; distinct: 60" in text
    assert "# 800 of 800 values match; distinct: 800; without a value: 200" in text
    assert "# key: distinct in all 1,000 different records" in text
    assert "# check: no value in 1,000 records, so the type is not known" in text
    assert "# 1,000 of 1,000 records pass (all records)" in text


def test_invoices_with_european_dates_numbers_and_names(tmp_path: Path) -> None:
    rows = [
        {
            "Rechnungs-Nr": f"00{n:05}",
            "Datum": f"{n % 28 + 1:02}/05/2026",
            "Netto (€)": f"{n}.{n % 1000:03},{n % 100:02}" if n else "0,50",
            "Brutto": f"{n % 977},{n % 100:02} €",
            "bezahlt": n % 2,
            "PLZ": f"{n % 10:05}",
        }
        for n in range(200)
    ]
    table, text = inferred(in_csv(tmp_path, rows, ";", encoding="cp1252"))
    assert (table.csv.delimiter, table.csv.encoding) == (";", "cp1252")
    assert (table.primary_key, table.partition) == (("Rechnungs_Nr",), "Datum")
    number, day, net, gross, paid, postcode = table.columns
    assert (number.kind, postcode.kind) == (Kind.STRING, Kind.STRING)
    assert day.date_format is not None
    assert day.date_format.pattern == "dd/MM/yyyy"
    assert net.number_format is not None
    assert (net.number_format.decimal, net.number_format.group) == (",", ".")
    assert gross.number_format is not None
    assert gross.number_format.strip == ("€",)
    assert paid.kind is Kind.INTEGER
    assert "# check: only 0 and 1; logicalType: boolean reads them too" in text
    assert "# check: not UTF-8; read as cp1252" in text


def test_sensors_with_epochs_nulls_and_flags(tmp_path: Path) -> None:
    rows = [
        {
            "id": n,
            "ts": 1_777_777_777_000 + n * 1000,
            "seen_at": 1_777_777_777 + n,
            "temperature": "NA" if n % 9 == 0 else n / 10,
            "is_active": n % 2,
            "counter": 1_777_777_777 + n,
            "ratio": f"{n}e-3",
            "day": 20260501 + n % 20,
        }
        for n in range(500)
    ]
    table, text = inferred(in_csv(tmp_path, rows))
    assert [column(table, name).epoch for name in ("ts", "seen_at")] == [Epoch.MILLISECONDS, Epoch.SECONDS]
    assert table.csv.nulls == ("NA",)
    assert column(table, "temperature").kind is Kind.NUMERIC
    assert column(table, "is_active").kind is Kind.BOOLEAN
    assert column(table, "counter").kind is Kind.INTEGER
    assert "# check: or a time: logicalType: timestamp with customProperties epoch: s" in text
    assert column(table, "ratio").kind is Kind.FLOAT
    assert column(table, "day").kind is Kind.DATE


def test_logs_without_a_key(tmp_path: Path) -> None:
    shuffled = random.Random(1)
    rows = [
        {"level": shuffled.choice(["INFO", "WARN"]), "at": f"2026-05-01 10:{n % 7:02}:00", "text": f"m{n % 50}"}
        for n in range(300)
    ]
    table, text = inferred(ndjson(tmp_path, rows))
    assert (table.identity, table.primary_key) == (Identity.POSITION, ())
    assert "# check: no key was found, so each record that is read is a row" in text
    assert "# check: no zone is written: read as UTC; or defaultTimezone" in text


def test_events_as_github_has_them(tmp_path: Path) -> None:
    rows = [
        {
            "id": str(40_000_000_000 + n),
            "type": ["PushEvent", "WatchEvent"][n % 2],
            "actor": {"id": n, "login": f"u{n}", "url": f"https://example.com/{n}"},
            "payload": {"commits": [{"sha": f"{n:040x}", "distinct": True}], "size": 1}
            if n % 2 == 0
            else {"action": "started"},
            "labels": {f"key{n}": 1, f"other{n}": 2},
            "matrix": [[1, 2], [3]],
            "meta": {},
            "public": True,
            "created_at": "2026-05-01T10:00:00Z",
            "a b.c": 1,
            "A_B_C": 2,
            "_private": "x",
        }
        for n in range(300)
    ]
    table, _ = inferred(ndjson(tmp_path, rows))
    assert table.primary_key == ("id",)
    payload = column(table, "payload")
    assert [field.name for field in payload.fields] == ["commits", "size", "action"]
    assert (payload.fields[0].repeated, payload.fields[0].kind) == (True, Kind.RECORD)
    for name in ("labels", "matrix", "meta"):
        assert column(table, name).kind is Kind.JSON
    assert [each.name for each in table.columns[-3:]] == ["a_b_c", "A_B_C_2", "private"]
    assert [each.path for each in table.columns[-3:]] == [("a b.c",), ("A_B_C",), ("_private",)]


def test_mixed_types_take_the_type_that_most_have(tmp_path: Path) -> None:
    rows = [{"id": n, "code": n if n % 2 else f"x{n}", "any": {"a": 1} if n % 2 else [1]} for n in range(100)]
    table, _ = inferred(ndjson(tmp_path, rows))
    assert kinds(table) == {"id": Kind.INTEGER, "code": Kind.STRING, "any": Kind.JSON}


def test_a_few_values_of_another_type_do_not_change_the_type(tmp_path: Path) -> None:
    rows = [{"id": n, "age": "forty" if n == 700 else str(n % 90)} for n in range(2000)]
    table, text = inferred(in_csv(tmp_path, rows))
    assert column(table, "age").kind is Kind.INTEGER
    assert "# check: the others become dead letters, such as 'forty'" in text
    assert "# 1,999 of 2,000 records pass (all records); wrong_type: 1" in text


def test_what_can_be_read_in_two_ways_is_a_comment(tmp_path: Path) -> None:
    rows = [
        {"id": n, "day": f"{n % 12 + 1:02}/{n % 11 + 1:02}/2026", "amount": f"{n % 9 + 1},{n:03}"} for n in range(100)
    ]
    table, text = inferred(in_csv(tmp_path, rows, ";"))
    assert (column(table, "day").kind, column(table, "amount").kind) == (Kind.STRING, Kind.STRING)
    assert "# check: every value fits format: MM/dd/yyyy or format: dd/MM/yyyy; write logicalType: date" in text
    assert "# check: 1,234 may be 1234 or 1.234" in text


@pytest.mark.parametrize(
    ("values", "kind", "pattern"),
    [
        ([f"{n % 28 + 1:02}.05.2026" for n in range(50)], Kind.DATE, "dd.MM.yyyy"),
        ([f"5/{n % 28 + 1}/2026" for n in range(50)], Kind.DATE, "M/d/yyyy"),
        ([f"{n % 28 + 1} May 2026" for n in range(50)], Kind.DATE, "d MMM yyyy"),
        ([f"2026/05/{n % 28 + 1:02}" for n in range(50)], Kind.DATE, None),
        ([f"05/{n % 28 + 1:02}/2026 {n % 24:02}:30" for n in range(50)], Kind.TIMESTAMP, "MM/dd/yyyy HH:mm"),
        ([f"{n % 28 + 1:02}.05.2026 {n % 24:02}:30:01" for n in range(50)], Kind.TIMESTAMP, "dd.MM.yyyy HH:mm:ss"),
        ([f"5/{n % 28 + 1}/2026 {n % 12 + 1}:05 PM" for n in range(50)], Kind.TIMESTAMP, "M/d/yyyy h:mm a"),
        ([f"2026-05-{n % 28 + 1:02}" for n in range(50)], Kind.DATE, None),
        ([f"2026-05-{n % 28 + 1:02} 10:00:00 UTC" for n in range(50)], Kind.TIMESTAMP, None),
        ([f"{n % 24:02}:30:00" for n in range(50)], Kind.TIME, None),
        ([f"u{n}@example.com" for n in range(50)], Kind.STRING, None),
        ([f"-{n}.5" for n in range(50)], Kind.NUMERIC, None),
        ([f"{n / 7:.17f}" for n in range(50)], Kind.FLOAT, None),
        ([str(10**20 + n) for n in range(50)], Kind.NUMERIC, None),
        ([f"$1,{n:03}.50" for n in range(50)], Kind.NUMERIC, None),
        ([f"{n}%" for n in range(50)], Kind.NUMERIC, None),
        ([f"+49 30 {n}" for n in range(50)], Kind.STRING, None),
        ([f"{n}.{n}.1.0" for n in range(50)], Kind.STRING, None),
        (["yes", "no"] * 25, Kind.BOOLEAN, None),
    ],
)
def test_the_form_of_texts(values: list[str], kind: Kind, pattern: str | None, tmp_path: Path) -> None:
    table, text = inferred(in_csv(tmp_path, [{"n": n, "v": value} for n, value in enumerate(values)], ";"))
    found = column(table, "v")
    assert found.kind is kind, text
    assert (found.date_format.pattern if found.date_format else None) == pattern
    assert found.email == values[0].endswith(".com")


def test_a_file_without_a_header(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("\n".join(f"{n},x{n},2026-05-01" for n in range(50)))
    table, text = inferred(tmp_path / "data.csv")
    assert not table.csv.header
    assert kinds(table) == {"column_1": Kind.INTEGER, "column_2": Kind.STRING, "column_3": Kind.DATE}
    assert "# check: the first line is no header" in text


def test_blanks_comments_and_short_lines(tmp_path: Path) -> None:
    lines = ["# exported", "id | n", *(f"{n} | {n * 2} " if n % 3 else f"{n}" for n in range(50))]
    (tmp_path / "data.csv").write_text("\n".join(lines))
    table, _ = inferred(tmp_path / "data.csv")
    assert (table.csv.delimiter, table.csv.comment, table.csv.trim, table.csv.ragged) == ("|", "#", True, True)
    assert kinds(table) == {"id": Kind.INTEGER, "n": Kind.INTEGER}


@pytest.mark.parametrize("form", ["ndjson.gz", "json", "parquet", "tsv", "document"])
def test_every_format_is_read(form: str, tmp_path: Path) -> None:
    rows = [{"id": n, "name": f"x{n}"} for n in range(30)]
    path = tmp_path / f"data.{form}"
    if form == "ndjson.gz":
        path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    elif form == "json":
        path.write_text(json.dumps(rows, indent=2))
    elif form == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif form == "tsv":
        path = in_csv(tmp_path, rows, "\t", "data.tsv")
    else:
        path = tmp_path / "data.json"
        path.write_text(json.dumps({"page": 1, "data": {"items": rows}}, indent=2))
    table, _ = inferred(path)
    assert (table.name, kinds(table)) == ("data", {"id": Kind.INTEGER, "name": Kind.STRING})
    assert table.records_path == (("data", "items") if form == "document" else ())


def test_a_large_sample_is_cut_and_says_so(tmp_path: Path) -> None:
    rows = [{"id": n} for n in range(500)]
    _, text = inferred(ndjson(tmp_path, rows), limit=100)
    assert "# 100 of 100 records pass (a sample: the first records of each file)" in text


def test_many_days_suggest_months(tmp_path: Path) -> None:
    rows = [{"id": n, "day": f"{1970 + n // 300}-{n % 12 + 1:02}-{n % 25 + 1:02}"} for n in range(6000)]
    table, text = inferred(in_csv(tmp_path, rows))
    assert table.partition_by is PartitionBy.DAY
    assert "partition by month with customProperties partition: {by: month}?" in text


def test_a_date_that_no_partition_can_have_is_not_the_partition(tmp_path: Path) -> None:
    rows = [{"id": n, "born": "1901-01-01", "expires": "2999-12-31"} for n in range(20)]
    table, _ = inferred(in_csv(tmp_path, rows))
    assert table.partition is None


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["2026-05-01", "01/02/2026", "1,5", "0012", "a@b.de", "10:00:00", "", " x "]),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["id", "a", "a b", "A", "_x", "時", "1"]), SCALARS, min_size=1), min_size=1
    )
)
def test_any_flat_records_give_a_contract_that_is_valid(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    storage = Storage()
    files = input_files(storage, [str(ndjson(tmp_path, rows))])
    assert load([("draft", draft_of({"t": sample_of(storage, files, 1000)}))])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(st.text(max_size=5), VALUES, min_size=1, max_size=4), min_size=1, max_size=8))
def test_any_nested_records_give_a_contract_that_is_valid(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    storage = Storage()
    files = input_files(storage, [str(ndjson(tmp_path, [{"id": n, **row} for n, row in enumerate(rows)]))])
    assert load([("draft", draft_of({"t": sample_of(storage, files, 1000)}))])


TYPED = st.sampled_from(
    [
        lambda n: f"{n:04}",
        lambda n: n,
        lambda n: n / 4,
        lambda n: f"{n % 28 + 1:02}.{n % 12 + 1:02}.2026",
        lambda n: f"2026-05-01T10:00:{n % 60:02}+02",
        lambda n: f"{n},{n % 100:02}",
        lambda n: None if n % 3 else f"x{n}",
        lambda n: n % 2 == 0,
        lambda n: [n],
        lambda n: {"a": n, "b": str(n)},
        lambda n: 1_700_000_000 + n,
        lambda n: "",
        lambda n: ["red", "green"][n % 2],
    ]
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TYPED, min_size=1, max_size=6), st.integers(1, 120))
def test_columns_of_one_form_each_pass_their_draft(tmp_path: Path, makers: list[Any], count: int) -> None:
    rows = [{f"f{number}": make(n) for number, make in enumerate(makers)} for n in range(count)]
    inferred(ndjson(tmp_path, rows))


def test_files_of_several_tables_in_one_draft(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "trips" / "dt=2026-05-01").mkdir(parents=True)
    in_csv(folder, [{"id": n} for n in range(20)], name="stations-2026.csv")
    in_csv(folder, [{"id": n} for n in range(20, 40)], name="stations-2027.csv")
    ndjson(folder / "trips" / "dt=2026-05-01", [{"trip_id": n} for n in range(20)], "part-0001.ndjson")
    output = tmp_path / "new" / "draft.odcs.yaml"
    done = launch(["contracts", "infer", str(folder), "--dataset", "bikes", "--output", str(output)])
    assert (done.code, done.stdout) == (0, "")
    assert f"wrote {output}: stations (1 column), trips (1 column)" in done.stderr
    tables = load([("draft", output.read_text())])
    assert {name: table.dataset for name, table in tables.items()} == {"stations": "bikes", "trips": "bikes"}
    assert launch(["contracts", "check", str(output)]).code == 0


def test_a_draft_is_written_to_stdout_and_named_by_table(tmp_path: Path) -> None:
    path = in_csv(tmp_path, [{"id": n} for n in range(20)], name="a b-1.csv")
    done = launch(["contracts", "infer", str(path)])
    (table,) = load([("draft", done.stdout)]).values()
    assert (table.name, table.files) == ("a_b", ("**/a b*",))
    named = launch(["contracts", "infer", str(path), "--table", "stations"])
    assert next(iter(load([("draft", named.stdout)]))) == "stations"


def test_a_code_of_letters_and_digits_is_text(tmp_path: Path) -> None:
    codes = [{"person": f"P{n}", "bed": f"{n}A", "price": f"EUR {n}.50", "weight": f"{n}KG"} for n in range(100, 200)]
    for row in codes[::2]:
        row["bed"] = row["bed"].replace("A", "B")
    table, _ = inferred(in_csv(tmp_path, codes))
    assert {column.name: column.kind for column in table.columns} == {
        "person": Kind.STRING,
        "bed": Kind.STRING,
        "price": Kind.NUMERIC,
        "weight": Kind.NUMERIC,
    }


def test_a_text_column_of_which_most_are_numbers_says_so(tmp_path: Path) -> None:
    table, text = inferred(in_csv(tmp_path, [{"id": n, "age": n if n % 30 else "unknown"} for n in range(300)]))
    assert table.columns[1].kind is Kind.STRING
    said = "check: 290 of 300 values have the logicalType integer; the others would be dead letters, such as 'unknown'"
    assert said in text


def test_an_identifier_that_some_records_repeat_may_be_the_key(tmp_path: Path) -> None:
    rows = [{"visit no": n, "ward": n % 7} for n in range(100)] + [{"visit no": 1, "ward": 6}]
    table, text = inferred(in_csv(tmp_path, rows))
    assert table.primary_key == ()
    assert "1 of 101 records repeat a value of visit no: if it is the key all the same (primaryKey: true)" in text


def test_a_dataset_that_cannot_be_is_refused_by_name(tmp_path: Path) -> None:
    done = launch(["contracts", "infer", str(in_csv(tmp_path, [{"id": 1}], name="a.csv")), "--dataset", "a b"])
    assert (done.code, done.stdout) == (2, "")
    assert "'a b' is not a valid name" in done.stderr


def test_a_key_is_not_asked_whether_it_is_required(tmp_path: Path) -> None:
    _, text = inferred(in_csv(tmp_path, [{"order_id": n, "amount": n / 2} for n in range(3)]))
    assert text.count("required: true?") == 1


def test_what_names_hold_cannot_act_on_a_terminal(tmp_path: Path) -> None:
    rows = [{"id": n, "a\x1b[2J\u202e": "\x1b[31m", "b\nc": 1} for n in range(100)]
    _, text = inferred(ndjson(tmp_path, rows))
    assert "\x1b" not in text
    assert "\u202e" not in text


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.ndjson", b"", "a: no record can be read"),
        ("a.ndjson", b"{\n[\n", "a: no record can be read: "),
        ("a.ndjson", b"1\n2\n", "a: no record can be read: the record is not a JSON object"),
        ("a.ndjson", b"{}\n{}\n", "a: its records have no field that can be a column"),
        ("a.csv", b"", "a: no record can be read"),
        ("a.csv", b"\xff\xfei\x00d\x00", "a.csv: is UTF-16, not UTF-8; convert it with iconv -f UTF-16 -t UTF-8"),
        ("a.json", '[{"a":1}]'.encode("utf-16-le"), "a.json: is UTF-16LE, not UTF-8; convert it"),
        ("a.csv.gz", b"no gzip", "a.csv.gz: cannot be read: "),
        ("a.txt.bak", b"", "its extension is not one of a supported format"),
    ],
)
def test_what_has_no_records_is_refused(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    done = launch(["contracts", "infer", str(tmp_path / name)])
    assert (done.code, done.stdout) == (2, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "give files or --topic"),
        (["nowhere.csv"], "nowhere.csv: there is no such file, and no file below it"),
        (["FILE", "--output", "FILE"], "--output: FILE exists; give a new name, or remove it"),
    ],
)
def test_wrong_usage_is_refused(argv: list[str], said: str, tmp_path: Path) -> None:
    path = str(in_csv(tmp_path, [{"id": 1}]))
    done = launch(["contracts", "infer", *(path if word == "FILE" else word for word in argv)])
    assert (done.code, done.stdout) == (2, "")
    assert said.replace("FILE", path) in done.stderr


def test_a_quote_that_one_delimiter_does_not_pair_makes_no_endless_field(tmp_path: Path) -> None:
    """Python's csv refuses fields of more than 128 KB."""
    file = tmp_path / "data.csv"
    file.write_text("id,text\n" + "".join(f'{n},"a;""b"\n' for n in range(40_000)))
    table, _ = inferred(file)
    assert kinds(table)["id"] is Kind.INTEGER


def test_a_record_of_megabytes_does_not_hide_the_form_of_the_others(tmp_path: Path) -> None:
    """As in the sample data: `generate` writes records that are too large."""
    file = tmp_path / "data.csv"
    file.write_text(f"id;text\n1;{'x' * 11_000_000}\n" + "".join(f"{n};y\n" for n in range(2, 400)))
    table, _ = inferred(file)
    assert kinds(table) == {"id": Kind.INTEGER, "text": Kind.STRING}


@pytest.mark.parametrize("layout", ["{0}", "{0}\n", "{0},\n", "[{0}]\n", "\x1e{0}\n"])
@pytest.mark.parametrize("indent", [None, 2])
def test_layouts_of_json(layout: str, indent: int | None, tmp_path: Path) -> None:
    records = "".join(layout.format(json.dumps({"id": n, "x": {"y": n / 2}}, indent=indent)) for n in range(50))
    (tmp_path / "data.json").write_text(records)
    table, text = inferred(tmp_path / "data.json")
    assert kinds(table)["id"] is Kind.INTEGER
    assert "50 of 50 records pass" in text


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["ITC1", "ITF2", "ITG3"], Kind.STRING),
        (["A1", "A2", "A17"], Kind.STRING),
        (["12 EUR", "13 USD", "4 EUR"], Kind.STRING),
        (["12 KG", "13 KG", "4 KG"], Kind.NUMERIC),
        (["12EUR", "13.5EUR", "4EUR"], Kind.NUMERIC),
        (["€12", "13,5 €", "4"], Kind.NUMERIC),
    ],
)
def test_codes_with_digits_and_several_units_are_no_numbers(texts: list[str], kind: Kind, tmp_path: Path) -> None:
    rows = [{"id": n, "code": text} for n, text in enumerate(texts * 20)]
    assert kinds(inferred(in_csv(tmp_path, rows))[0])["code"] is kind


def test_a_text_for_null_is_null_in_all_columns(tmp_path: Path) -> None:
    """The contract names it for the whole table, so no other column may require a value then."""
    rows = [{"id": n, "code": "\\N" if n % 5 else f"A{n}", "height": "\\N" if n == 7 else n / 2} for n in range(60)]
    table, text = inferred(in_csv(tmp_path, rows))
    assert not column(table, "code").required
    assert "60 of 60 records pass" in text
    words = [{"id": n, "code": "\\N" if n % 5 else f"A{n}"} for n in range(60)]
    table, text = inferred(in_csv(tmp_path, words))
    assert table.csv.nulls == ("\\N",)
    assert not column(table, "code").required


def test_the_first_line_of_excel(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("sep=;\nid;price\n" + "".join(f"{n};1,{n}\n" for n in range(10, 60)))
    table, text = inferred(tmp_path / "data.csv")
    assert set(kinds(table)) == {"id", "price"}
    assert "the first line of the file names ';' as what separates its fields" in text


def test_what_has_no_record_is_left_out_of_the_draft_of_a_folder(tmp_path: Path) -> None:
    ndjson(tmp_path, [{"id": n} for n in range(10)], "rides.ndjson")
    (tmp_path / "manifest.json").write_text('{\n  "a\x1b": 1,,\n}')
    done = launch(["contracts", "infer", str(tmp_path)])
    assert done.code == 0
    assert "check: manifest: no record can be read" in done.stdout
    assert "\x1b" not in done.stdout
    assert list(load([("draft", done.stdout)])) == ["rides"]


def test_a_file_that_is_no_csv_is_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text('id\n"' + 150 * ("x" * 1_000 + "\n"))
    done = launch(["contracts", "infer", str(file)])
    assert done.code == 2
    assert "data.csv: cannot be read as CSV" in done.stderr
