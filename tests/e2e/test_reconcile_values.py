"""`reconcile --deep` names each value that somebody has changed, whatever its type, and shows none that is masked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from connectors.bigquery.warehouse import Warehouse
from local.services import Endpoints
from tests.e2e.clouds import Cloud
from tests.in_process import launch

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
DATA, BOOKS = "parcels_data", "parcels_books"
PARCELS, LETTERS = f"{DATA}.parcels", f"{BOOKS}.dead_letters"
FIELDS = """
- {name: parcel_id, logicalType: string, required: true, primaryKey: true}
- {name: receiver, logicalType: string, classification: personal}
- {name: weight, logicalType: number}
- {name: volume, logicalType: number, physicalType: FLOAT64}
- {name: atoms, logicalType: number, physicalType: BIGNUMERIC}
- {name: stops, logicalType: integer}
- {name: paid, logicalType: boolean}
- {name: photo, logicalType: string, physicalType: BYTES}
- {name: sent_on, logicalType: date}
- {name: sent_at, logicalType: timestamp}
- {name: local_at, logicalType: timestamp, physicalType: DATETIME}
- {name: opens, logicalType: time}
- {name: note, logicalType: object, physicalType: JSON}
- name: place
  logicalType: object
  properties:
    - {name: city, logicalType: string}
    - {name: tags, logicalType: object, physicalType: JSON}
    - {name: street, logicalType: string, classification: personal}
- name: lines
  logicalType: array
  items:
    logicalType: object
    properties: [{name: sku, logicalType: string}, {name: amount, logicalType: number}]
- {name: heavy, logicalType: number, transformLogic: weight * 2}
"""
CONTRACT = f"""
apiVersion: v3.1.0
kind: DataContract
id: parcels
version: 1.0.0
schema:
  - name: parcels
    customProperties:
      - {{property: dataset, value: {DATA}}}
      - {{property: writeDisposition, value: append}}
      - {{property: unknownFields, value: keep}}
    properties:{FIELDS.replace(chr(10), chr(10) + "      ")}
"""
PARCEL = {
    "receiver": "Ada",
    "weight": 12.5,
    "volume": 0.1,
    "atoms": "12345678901234567890.5",
    "stops": 3,
    "paid": True,
    "photo": "AP8=",
    "sent_on": "2024-02-29",
    "sent_at": "2024-02-29T12:00:00.000001Z",
    "local_at": "2024-02-29 12:00:00",
    "opens": "08:30:00",
    "note": {"a": [1, 2.5, None]},
    "place": {"city": "Ulm", "tags": {"x": 1}, "street": "Hafenbad 1"},
    "lines": [{"sku": "a", "amount": 1.5}, {"sku": "b", "amount": 2}],
    "colour": "red",
}
CHANGES = [
    ("receiver", "'Bob'", "***", "***"),
    ("weight", "NUMERIC '12.500000001'", "12.5", "12.500000001"),
    ("volume", "0.1000000001", "0.1", "0.1000000001"),
    ("atoms", "atoms + 1", "12345678901234567890.5", "12345678901234567891.5"),
    ("stops", "4", "3", "4"),
    ("paid", "FALSE", "true", "false"),
    ("photo", "b'x'", "b'\\x00\\xff'", "b'x'"),
    ("sent_on", "DATE '2024-03-01'", "2024-02-29", "2024-03-01"),
    (
        "sent_at",
        "TIMESTAMP '2024-02-29 12:00:00+00:00'",
        "2024-02-29 12:00:00.000001+00:00",
        "2024-02-29 12:00:00+00:00",
    ),
    ("local_at", "DATETIME '2024-02-29 13:00:00'", "2024-02-29 12:00:00", "2024-02-29 13:00:00"),
    ("opens", "TIME '08:31:00'", "08:30:00", "08:31:00"),
    ("note", "JSON '{\"a\": [1, 2.5]}'", '{"a": [1, 2.5, null]}', '{"a": [1, 2.5]}'),
    (
        "place",
        "STRUCT(CAST(NULL AS STRING) AS city, place.tags AS tags, place.street AS street)",
        '{"city": "Ulm", "tags": "{\\"x\\":1}", "street": "***"}',
        '{"city": null, "tags": "{\\"x\\":1}", "street": "***"}',
    ),
    (
        "lines",
        "ARRAY(SELECT line FROM UNNEST(lines) AS line WHERE line.sku = 'a')",
        '[{"sku": "a", "amount": "1.500000000"}, {"sku": "b", "amount": "2.000000000"}]',
        '[{"sku": "a", "amount": "1.500000000"}]',
    ),
    ("heavy", "0", "25", "0"),
    ("_extra", "JSON '{}'", "***", "***"),
    ("_hash", "1", "***", "***"),
]
"""Column, what it is set to, and both sides as they are shown."""
MASKED = "STRUCT(place.city AS city, JSON '{\"x\":2}' AS tags, 'Weg 2' AS street)"


@pytest.fixture(scope="module")
def site(local_cloud: tuple[Path, Endpoints], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Warehouse]:
    """The folder of the contract, and a warehouse with 20 parcels and two dead letters."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "parcels.odcs.yaml").write_text(CONTRACT)
    records = [{"parcel_id": f"p{number}", **PARCEL} for number in range(20)]
    bad = [{**PARCEL}, {"parcel_id": "bad", **PARCEL, "stops": "many"}, {"parcel_id": "empty"}]
    (folder / "raw" / "parcels").mkdir(parents=True)
    lines = [json.dumps(record) for record in [*records[:10], *bad, *records[10:]]]
    (folder / "raw" / "parcels" / "a.ndjson").write_text("\n".join(lines))
    names = (f"--contracts={folder}", f"--operations_dataset={BOOKS}", "--max_dead_letter_ratio=1")
    for _ in range(2):  # the second run finds the rows of the first
        Cloud(local_cloud[0]).batch(folder / "raw", *names)
    return folder, Warehouse("local-project", "US")


def options(folder: Path, directory: Path) -> list[str]:
    """The command with the options of this site."""
    site = [f"--contracts={folder}", f"--operations_dataset={BOOKS}"]
    return ["reconcile", "--local", f"--local_dir={directory}", "--no_topics", *site]


def deep(site: tuple[Path, Warehouse], directory: Path, sql: str, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """What `reconcile --deep` finds after a statement, which is undone."""
    folder, warehouse = site
    changed = LETTERS if sql.startswith(f"UPDATE {LETTERS}") else PARCELS
    kept = f"{BOOKS}.kept_{changed.partition('.')[2]}"
    warehouse.query(f"CREATE OR REPLACE TABLE {kept} AS SELECT * FROM {changed}")
    try:
        if sql:
            warehouse.query(sql)
        done = launch([*options(folder, directory), "--format=json", *(arguments or ("--deep=all",))])
    finally:
        warehouse.query(f"DELETE FROM {changed} WHERE TRUE")
        warehouse.query(f"INSERT INTO {changed} SELECT * FROM {kept}")
    assert done.code in (0, 3), done.stderr
    return done.code, json.loads(done.stdout)


def test_nothing_is_found_in_a_clean_table(site: tuple[Path, Warehouse], local_cloud: tuple[Path, Endpoints]) -> None:
    for arguments in ((), ("--deep",), ("--deep=5",)):
        assert deep(site, local_cloud[0], "", *arguments) == (0, [])


def test_each_value_that_was_changed_is_named(
    site: tuple[Path, Warehouse], local_cloud: tuple[Path, Endpoints]
) -> None:
    changes = ", ".join(f"{column} = {value}" for column, value, _, _ in CHANGES)
    code, findings = deep(site, local_cloud[0], f"UPDATE {PARCELS} SET {changes} WHERE parcel_id = 'p1'")
    (row,) = site[1].query(f"SELECT _position, _source, _run_id FROM {PARCELS} WHERE parcel_id = 'p1'")
    assert code == 3
    assert [(each["column"], each["expected"], each["found"]) for each in findings] == [
        (column, expected, found) for column, _, expected, found in CHANGES
    ]
    place = {"code": "values_differ", "table": PARCELS, "source": row["_source"], "run": row["_run_id"]}
    place |= {"position": row["_position"], "count": 1}
    assert all(finding.items() >= place.items() for finding in findings)


def test_a_null_and_a_masked_field_of_an_object_are_named(
    site: tuple[Path, Warehouse], local_cloud: tuple[Path, Endpoints]
) -> None:
    _, findings = deep(
        site, local_cloud[0], f"UPDATE {PARCELS} SET stops = NULL, place = {MASKED} WHERE parcel_id IN ('p1', 'p5')"
    )
    assert [(each["column"], each["count"], each["found"]) for each in findings] == [
        ("stops", 2, "NULL"),
        ("place", 2, '{"city": "Ulm", "tags": "{\\"x\\":2}", "street": "***"}'),
    ]


def test_a_swapped_pair_is_two_rows_of_each_column(
    site: tuple[Path, Warehouse], local_cloud: tuple[Path, Endpoints]
) -> None:
    swapped = "IF(parcel_id = 'p1', 'p2', 'p1')"
    _, findings = deep(
        site, local_cloud[0], f"UPDATE {PARCELS} SET parcel_id = {swapped} WHERE parcel_id IN ('p1', 'p2')"
    )
    assert [(each["code"], each["column"], each["count"]) for each in findings] == [("values_differ", "parcel_id", 2)]
    assert (findings[0]["expected"], findings[0]["found"]) == ("p1", "p2")


@pytest.mark.parametrize(
    ("change", "expected", "found"),
    [
        ("_position = _position + 1", "no record there", "a row"),
        (f"_position = (SELECT MIN(position) FROM {LETTERS})", "dead letter missing_required", "a row"),
    ],
)
def test_a_row_of_no_clean_record_is_named(
    site: tuple[Path, Warehouse], local_cloud: tuple[Path, Endpoints], change: str, expected: str, found: str
) -> None:
    _, findings = deep(site, local_cloud[0], f"UPDATE {PARCELS} SET {change} WHERE parcel_id = 'p1'")
    ours = [each for each in findings if each["code"] == "values_differ"]
    assert [(each["column"], each["expected"], each["found"]) for each in ours] == [("_position", expected, found)]


@pytest.mark.parametrize(
    ("change", "differences"),
    [
        ("error_code = 'invalid_value'", {("missing_required", "invalid_value")}),
        ("position = 0", {("missing_required", "no dead letter"), ("a clean record", "missing_required")}),
        ("position = 1", {("missing_required", "no dead letter"), ("no record there", "missing_required")}),
    ],
)
def test_a_dead_letter_that_was_changed_is_named(
    site: tuple[Path, Warehouse], local_cloud: tuple[Path, Endpoints], change: str, differences: set[tuple[str, str]]
) -> None:
    sql = f"UPDATE {LETTERS} SET {change} WHERE error_code = 'missing_required'"
    _, findings = deep(site, local_cloud[0], sql)
    ours = [each for each in findings if each["code"] == "dead_letters_differ"]
    assert {(each["expected"], each["found"]) for each in ours} == differences


def test_a_sample_says_how_much_it_has_compared(
    site: tuple[Path, Warehouse], local_cloud: tuple[Path, Endpoints]
) -> None:
    shared = options(site[0], local_cloud[0])
    assert "values compared of 21 rows and 2 dead letters\n" in launch([*shared, "--deep"]).stdout
    assert "values compared" not in launch(shared).stdout
    refused = launch([*shared, "--deep=none"])
    assert refused.code == 2
    assert "none: give a whole number from 1" in refused.stderr
