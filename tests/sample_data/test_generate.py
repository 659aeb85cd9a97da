"""`generate` keeps its word: the manifest is what an independent reading of the files finds."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter, defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts.errors import UsageError
from sample_data.defects import CODES, LARGE, broken_end, refused
from sample_data.forms import CsvForm, Form, JsonForm
from sample_data.generate import generate
from sample_data.shop import TABLES, Sizes
from tests.oracle import Expected, Funnel, dead_letters, expected, funnel, revenue_by_category

pytestmark = pytest.mark.slow

FILES = [
    "customers.csv",
    "customers_2.csv.gz",
    "products.json",
    "products_2.json.gz",
    "transactions.csv",
    "transactions_2.csv.gz",
    "user_events.json",
    "user_events_2.json.gz",
]


def make(customers: int, products: int, transactions: int, events: int, dirty: float, seed: int) -> Any:
    """The manifest and the files by name."""
    files: dict[str, bytes] = {}
    manifest = generate(
        write=files.__setitem__,
        customers=customers,
        products=products,
        transactions=transactions,
        events=events,
        dirty=dirty,
        seed=seed,
    )
    return manifest, files


def read(files: dict[str, bytes]) -> dict[str, Expected]:
    """What the oracle finds in the files."""
    with TemporaryDirectory() as folder:
        for name, data in files.items():
            Path(folder, name).write_bytes(data)
        return expected(Path(folder))


def counted(found: Expected) -> dict[str, object]:
    """The oracle's counts in the manifest's form."""
    assert len(found.rows) == found.written
    return {
        "files": sorted(found.sources),
        "read": found.read,
        "written": found.written,
        "duplicate": found.duplicate,
        "dead_letter": found.dead_letter,
        "dead_letter_by_code": dict(found.by_code),
    }


def assert_agree(manifest: dict[str, Any], files: dict[str, bytes]) -> dict[str, Expected]:
    found = read(files)
    for table, promised in manifest["tables"].items():
        assert counted(found[table]) == {key: value for key, value in promised.items() if key != "format"}, table
        assert promised["read"] == promised["written"] + promised["duplicate"] + promised["dead_letter"]
    return found


def text(files: dict[str, bytes], name: str) -> bytes:
    return gzip.decompress(files[name]) if name.endswith(".gz") else files[name]


SIZES = [
    (1000, 500, 10_000, 15_000, 0.03, 7),
    (1000, 500, 10_000, 15_000, 0.0, 7),
    (300, 200, 2000, 3000, 0.5, 1),
    (100, 100, 100, 100, 0.001, 2),
    (1, 1, 1, 1, 0.01, 3),
    (5, 3, 0, 0, 0.2, 4),
    (0, 0, 30, 30, 0.2, 5),
    (0, 0, 0, 0, 0.1, 6),
    (1, 1, 1, 1, 0.0, 8),
]


@pytest.mark.parametrize(("customers", "products", "transactions", "events", "dirty", "seed"), SIZES)
def test_the_manifest_is_what_the_files_hold(
    customers: int, products: int, transactions: int, events: int, dirty: float, seed: int
) -> None:
    manifest, files = make(customers, products, transactions, events, dirty, seed)
    assert sorted(files) == FILES
    assert manifest["seed"] == seed
    assert json.loads(json.dumps(manifest)) == manifest
    assert_agree(manifest, files)


@settings(max_examples=3, deadline=None)
@example(seed=2_751_946_666_788_236, dirty=0.328125, records=99)  # a stock of 0, written as a number with an exponent
@given(seed=st.integers(0, 2**64), dirty=st.floats(0.0001, 0.5), records=st.integers(1, 120))
def test_the_manifest_holds_for_any_seed(seed: int, dirty: float, records: int) -> None:
    assert_agree(*make(records, records, records, records, dirty, seed))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**64), records=st.integers(0, 300))
def test_clean_files_hold_neither_a_defect_nor_a_duplicate(seed: int, records: int) -> None:
    manifest, files = make(records, records, records, records, 0, seed)
    assert_agree(manifest, files)
    for promised in manifest["tables"].values():
        assert (promised["read"], promised["written"]) == (records, records)
        assert promised["dead_letter_by_code"] == {}


@pytest.mark.parametrize("records", [1, 40, 2000])
def test_every_code_occurs_five_times_in_each_format_of_dirty_files(records: int) -> None:
    manifest, files = make(records, records, records, records, 0.01, records)
    found = assert_agree(manifest, files)
    by_format: dict[str, Counter[str]] = {"csv": Counter(), "json": Counter()}
    for table, promised in manifest["tables"].items():
        by_format[promised["format"]].update(found[table].by_code)
        assert found[table].duplicate > 0
        assert set(found[table].by_code) >= set(CODES[promised["format"]])
    for format, codes in by_format.items():
        assert set(codes) == {*CODES[format], LARGE}
        assert min(codes.values()) >= 5


def test_a_share_that_holds_the_codes_is_kept_exactly_and_halved() -> None:
    manifest, _ = make(2000, 1000, 10_000, 15_000, 0.03, 1)
    for table, records in (("customers", 2000), ("products", 1000), ("transactions", 10_000), ("user_events", 15_000)):
        promised = manifest["tables"][table]
        assert promised["read"] == records
        assert promised["duplicate"] == promised["dead_letter"] == records * 0.03 / 2


def test_the_same_arguments_make_the_same_bytes_and_another_seed_others() -> None:
    first, again, other = (make(50, 50, 200, 200, 0.1, seed) for seed in (1, 1, 2))
    assert first == again
    assert all(first[1][name] != other[1][name] for name in FILES)


def test_large_records_are_in_one_compressed_file_a_format_and_take_little_room() -> None:
    _, files = make(100, 100, 1000, 1000, 0.05, 1)
    found = read(files)
    large = {name for table in found.values() for name, _, code in table.refused if code == LARGE}
    assert large == {"transactions_2.csv.gz", "user_events_2.json.gz"}
    assert sum(map(len, files.values())) < 3_000_000


def _way(form: str, code: str, table: str, turn: int) -> tuple[str, bytes]:
    source = next(source for source in TABLES if source.name == table)
    row = next(source.rows(Random(turn), Sizes(10, 10, 10, 10)))
    writer: Form = CsvForm(tuple(row)) if form == "csv" else JsonForm()
    record = broken_end(writer, row) if turn < 0 else refused(table, writer, code, turn, row)
    return f"{table}_{turn + 1}.{form}", writer.header() + record


@pytest.mark.parametrize(
    ("table", "code"), [(source.name, code) for source in TABLES for code in (*CODES[source.format], LARGE)]
)
def test_every_way_to_be_refused_earns_its_code(table: str, code: str) -> None:
    form = next(source.format for source in TABLES if source.name == table)
    turns = range(-1 if code.startswith("malformed") else 0, 6 if code == LARGE else 40)
    found = read(dict(_way(form, code, table, turn) for turn in turns))[table]
    assert {name: counts.by_code for name, counts in found.sources.items()} == {
        f"{table}_{turn + 1}.{form}": {code: 1} for turn in turns
    }


def test_of_several_records_with_one_key_it_shows_which_was_kept() -> None:
    _, files = make(400, 400, 400, 400, 0.2, 3)
    found = read(files)
    for table, keep in (("products", -1), ("user_events", 0)):
        refusals = {(name, position) for name, position, _ in found[table].refused}
        key = {"products": "product_id", "user_events": "event_id"}[table]
        names: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for name in sorted(found[table].sources):
            position = 0
            for line in text(files, name).splitlines(keepends=True):
                if line.strip() and (name, position) not in refusals:
                    row = json.loads(line)
                    names[str(row[key])].append(row)
                position += len(line)
        repeated = {value: rows for value, rows in names.items() if len(rows) > 1}
        assert any(rows[0] == rows[-1] for rows in repeated.values())
        told_apart = 0
        for value, rows in repeated.items():
            column = "name" if table == "products" else "session_id"
            assert found[table].rows[value][column] == rows[keep][column]
            told_apart += rows[0][column] != rows[-1][column]
        assert told_apart > 5


def test_clean_files_hold_the_awkward_forms_that_real_exports_have() -> None:
    _, files = make(2000, 2000, 2000, 6000, 0, 1)
    customers, transactions = text(files, "customers.csv"), text(files, "transactions.csv")
    assert customers.count(b"\r\n") >= 1800
    assert text(files, "transactions_2.csv.gz").startswith(b'\xef\xbb\xbf"total_amount","discount",')
    assert not transactions.endswith(b"\n")
    assert b"\n\n" in transactions
    addresses = [row["shipping_address"] for row in csv.DictReader(transactions.decode().splitlines(keepends=True))]
    assert any("\n" in address for address in addresses)
    assert any('"' in address for address in addresses)
    assert b'"",' in transactions
    for form in (b".0,", b"+02:00", b"NULL", b"internal_note"):
        assert form in customers, form
    products, events = text(files, "products.json"), text(files, "user_events.json")
    for form in (b"E-2", b"e0", b"00000005", b'_quantity":"', b"e-1", b'"brand":1984', b'"internal_note"', b'""'):
        assert form in products, form
    for form in (b"\\u005f", b"\\ud83d", b"\\/", b'{"event_id": ', b"1e400", b"-05:30", b"null", b'"event_id":1'):
        assert form in events, form
    keys = [
        json.loads(line, object_pairs_hook=lambda pairs: [key for key, _ in pairs])
        for line in events.splitlines()
        if line
    ]
    assert any(len(found) > len(set(found)) for found in keys)
    assert any("product_id" not in found for found in keys)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("customers", -1, "--customers"),
        ("events", -5, "--events"),
        ("dirty", 0.6, "--dirty"),
        ("dirty", -0.1, "--dirty"),
    ],
)
def test_what_cannot_be_made_is_a_misuse(option: str, value: float, said: str) -> None:
    options: dict[str, Any] = {"customers": 1, "products": 1, "transactions": 1, "events": 1, "dirty": 0, "seed": 1}
    with pytest.raises(UsageError, match=said):
        generate(write=lambda name, data: None, **(options | {option: value}))


def test_a_share_that_is_no_number_is_a_misuse() -> None:
    with pytest.raises(UsageError):
        make(1, 1, 1, 1, float("nan"), 1)


def test_progress_counts_up_to_the_rows_of_each_table() -> None:
    calls: list[tuple[str, int, int]] = []
    generate(
        write=lambda name, data: None,
        customers=5,
        products=0,
        transactions=30_000,
        events=0,
        dirty=0,
        seed=1,
        progress=lambda table, done, of: calls.append((table, done, of)),
    )
    by_table: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for table, done, of in calls:
        by_table[table].append((done, of))
    assert by_table["transactions"] == [(0, 30_000), (20_000, 30_000), (30_000, 30_000)]
    assert {table: counts[-1] for table, counts in by_table.items()} == {
        "customers": (5, 5),
        "products": (0, 0),
        "transactions": (30_000, 30_000),
        "user_events": (0, 0),
    }


# The oracle itself, on files and answers written by hand.

HAND_MADE = {
    "customers.csv": (
        b"email,customer_id,first_name,last_name,age\r\n"
        b"a@example.com,C1,Anna,,30\r\n"
        b"b@example.com,C2,,Null,131\r\n"
        b'a@example.com,C1,"An""na","Lee\nRoy",3.0\r\n'
        b"\r\n"
        b"c@example.com,C3,,Ito,"
    ),
    "products.json": (
        b'{"product_id":"P1","name":"x","category":"Books","price":2.0000000005,"cost":"3"}\n'
        b'{"product_id":2,"name":"y","category":"Toys","price":null}\n'
        b'{"product_id":"P3","name":" ","category":"Toys"}\n'
    ),
    "transactions.csv": (
        b"transaction_id,customer_id,product_id,quantity,unit_price,discount,transaction_date\n"
        b"T1,C1,P1,1,10.01,0.5,2025-01-01\n"
        b"T2,C1,P1,1,10.01,0.5,2025-01-01 00:00:00\n"
        b"T2,C1,P1,9,10.01,0.5,2025-01-01 00:00:00\n"
        b"T3,C1,2,3,0.335,,2025-01-01 00:00:00\n"
        b"T4,C1,P9,2,1.00,1,2025-01-01 00:00:00\n"
        b"T5,C1,P9,2,1.00\n"
        b'T6,C1,P9,2,1.00,0,"2025-01-01 00:00:00'
    ),
    "user_events.json": (
        b'{"event_id":"e1","customer_id":7,"event_type":"search","event_timestamp":"2025-01-01T23:30:00-02:00"}\n'
        b'{"event_id":"e2","customer_id":"7","event_type":"search","event_timestamp":"2025-01-01 05:00:00.5"}\n'
        b'{"event_id":"e3","customer_id":"8","event_type":"x","event_type":"purchase",'
        b'"event_timestamp":"2025-01-01T00:00:00Z"}\n'
        b'{"event_id":"e4","customer_id":"8","event_type":"purchase","event_timestamp":"1959-12-31T23:59:59Z"}\n'
        b'{"event_id":"e5","customer_id":"\xff","event_type":"purchase","event_timestamp":"2025-01-01T00:00:00Z"}\n'
        b'{"event_id":"e6"\n'
    ),
}


def test_the_oracle_answers_as_computed_by_hand() -> None:
    found = read(HAND_MADE)
    customers = found["customers"]
    assert counted(customers) == {
        "files": ["customers.csv"],
        "read": 4,
        "written": 2,
        "duplicate": 1,
        "dead_letter": 1,
        "dead_letter_by_code": {"invalid_value": 1},
    }
    assert customers.rows["C1"]["full_name"] == 'An"na Lee\nRoy'
    assert customers.rows["C1"]["age"] == 3
    assert customers.rows["C3"]["full_name"] == "Ito"
    assert customers.positions["C1"] == ("customers.csv", HAND_MADE["customers.csv"].rindex(b"a@example"))
    assert found["products"].rows["P1"]["price"] == Decimal("2.000000001")
    assert found["products"].rows["P1"]["profit_margin"] == Decimal("-0.999999999")
    assert found["products"].rows["2"]["profit_margin"] is None
    assert found["transactions"].rows["T2"]["total_paid"] == Decimal("5.01")
    assert found["transactions"].rows["T3"]["total_paid"] == Decimal("1.01")
    events = found["user_events"].rows
    assert events["e1"]["event_timestamp"] == datetime(2025, 1, 2, 1, 30, tzinfo=UTC)
    assert (events["e1"]["event_hour"], events["e2"]["event_hour"]) == (1, 5)
    assert revenue_by_category(found) == {"Books": Decimal("5.01"), "Toys": Decimal("1.01"), "unknown": Decimal("0.00")}
    assert funnel(found) == {"search": Funnel(2, 1), "purchase": Funnel(1, 1)}
    assert dead_letters(found) == {
        ("customers", "invalid_value"): 1,
        ("products", "missing_required"): 1,
        ("transactions", "wrong_type"): 1,
        ("transactions", "malformed_csv"): 2,
        ("user_events", "invalid_value"): 1,
        ("user_events", "invalid_encoding"): 1,
        ("user_events", "malformed_json"): 1,
    }
