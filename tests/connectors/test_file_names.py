"""Which file is which table's, in which form, and what is said of the others."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.files.local_folder import _walk
from connectors.files.names import InputListing, belonging, escaped, form_of
from connectors.files.storage import FileChanged, Storage, StoredFile
from transforms.source_order import natural_order

TABLES = ["orders", "orders_items", "orders_2024", "Trips"]


def listed(name: str) -> InputListing:
    return belonging([StoredFile(f"gs://b/raw/{name}", 1, 2)], "gs://b/raw/", TABLES)


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("orders.csv", "orders"),
        ("ORDERS.CSV", "orders"),
        ("orders.tsv", "orders"),
        ("orders.txt", "orders"),
        ("orders.json.gzip", "orders"),
        ("orders.csv.ZSTD", "orders"),
        ("trips.csv", "Trips"),
        ("TRIPS/2024/A.JSON.GZ", "Trips"),
        ("orders_1.csv", "orders"),
        ("orders_001.ndjson.gz", "orders"),
        ("orders-2024-05-01.csv", "orders"),
        ("orders_2023-05-01.csv", "orders"),
        ("orders_20230501T120000Z.csv", "orders"),
        ("orders.2023.05.01.csv", "orders"),
        ("orders+0+0000000012.json.gz", "orders"),
        ("orders-00003-of-00010.parquet", "orders"),
        ("orders-part-0001.csv", "orders"),
        ("orders000000000012.json", "orders"),
        ("orders_items.csv", "orders_items"),
        ("orders_items_2.jsonl.zst", "orders_items"),
        ("Orders_Items-2024-05-01.csv", "orders_items"),
        ("orders_2024.json", "orders_2024"),
        ("orders_2024_1.json", "orders_2024"),
        ("orders_2024-05-01.json", "orders_2024"),
        ("orders/2024/part-0.parquet", "orders"),
        ("ORDERS_1.AVRO", "orders"),
        ("orders/part-0.snappy.orc", "orders"),
        ("orders/orders_items.csv", "orders"),
        ("orders/_day=1/part-0.parquet", "orders"),
    ],
)
def test_a_file_belongs_to_the_longest_table_name_that_fits(name: str, table: str) -> None:
    listing = listed(name)
    assert [(file.table, file.uri) for file in listing.files] == [(table, f"gs://b/raw/{name}")]
    assert (listing.passed_over, listing.uncommitted) == ([], 0)


@pytest.mark.parametrize(
    "name",
    [
        "orders_extra.csv",
        "orders-archive.csv",
        "orders_1a.csv",
        "orders_of.csv",
        "orders-part.csv",
        "orders1.csv",
        "orders_.csv",
        "ordersitems.csv",
        "order.csv",
        "xorders.csv",
        "orders.csv.bz2",
        "orders.xlsx",
        "orders",
        "other/orders.csv",
        "orders/000000_0",
        "user_events_streaming.json",
        "orders\n.csv",
        "orders\x1b]0;x\x07.csv",
        "orders/\udcff\udcfe.csv",
    ],
)
def test_whatever_fits_no_table_is_listed_with_its_reason(name: str) -> None:
    listing = listed(name)
    assert (listing.files, listing.uncommitted) == ([], 0)
    ((uri, reason),) = listing.passed_over
    assert uri == "gs://b/raw/" + escaped(name)
    assert reason
    assert uri.encode().decode().isprintable()


@pytest.mark.parametrize(
    "name",
    [
        "_SUCCESS",
        "orders/_SUCCESS",
        "orders/_temporary/0/a.csv",
        "orders/_delta_log/0.json",
        ".orders.csv.part",
        "orders/.a.csv.crc",
        "_orders.csv",
        ".hidden/orders.csv",
    ],
)
def test_what_is_not_committed_is_no_data_and_counted(name: str) -> None:
    assert listed(name) == InputListing([], [], 1)


def test_a_table_may_begin_with_an_underscore() -> None:
    stored = [StoredFile("/in/_raw/a.csv", 1, 2), StoredFile("/in/_raw/_tmp.csv", 1, 2)]
    listing = belonging(stored, "/in", ["_raw"])
    assert [file.uri for file in listing.files] == ["/in/_raw/a.csv"]
    assert listing.uncommitted == 1


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.csv", ("csv", "")),
        ("A.TXT", ("csv", "")),
        ("a.TSV.GZ", ("tsv", "gz")),
        ("a.json.gzip", ("json", "gz")),
        ("a.jsonl.zstd", ("jsonl", "zst")),
        ("gs://b/c.csv/a.parquet", ("parquet", "")),
        ("a.avro.gz", ("avro", "gz")),
        ("a.ORC", ("orc", "")),
        ("a.gz", None),
        (".csv", None),
    ],
)
def test_the_form_is_in_the_name(name: str, form: tuple[str, str] | None) -> None:
    assert form_of(name) == form


def test_files_come_in_natural_order() -> None:
    names = ["orders/b.csv", "orders_1.csv", "orders_02.csv", "orders_2.csv", "orders_9.csv", "orders_10.csv"]
    stored = [StoredFile(f"/in/{name}", 1, 2) for name in random.Random(1).sample(names, len(names))]
    assert [file.uri.removeprefix("/in/") for file in belonging(stored, "/in", ["orders"]).files] == names


@given(st.lists(st.text("ab_/019é", max_size=12), max_size=8, unique=True))
def test_the_natural_order_is_one_order(names: list[str]) -> None:
    once = sorted(names, key=natural_order)
    assert once == sorted(reversed(names), key=natural_order)
    assert sorted(["t_9.csv", "t_10.csv", "t_1.csv"], key=natural_order) == ["t_1.csv", "t_9.csv", "t_10.csv"]


def test_links_within_the_folder_are_followed_and_those_that_leave_it_are_refused(tmp_path: Path) -> None:
    folder, outside = tmp_path / "in", tmp_path / "outside"
    for path in (folder / "orders/2024", folder / "data", outside):
        path.mkdir(parents=True)
        (path / "a.csv").write_text("id\n1\n")
    (folder / "orders/inside").symlink_to(folder / "data")
    (folder / "orders/file.csv").symlink_to("../data/a.csv")
    (folder / "orders/loop").symlink_to(folder)
    (folder / "orders/self").symlink_to("self")
    (folder / "orders/leaves").symlink_to(outside)
    (folder / "orders/leaves.csv").symlink_to(outside / "a.csv")
    (folder / "orders/nothing.csv").symlink_to("not there")
    os.mkfifo(folder / "orders/fifo.csv")
    linked = tmp_path / "linked"
    linked.symlink_to(folder)
    for root in (folder, linked):
        listing = belonging(Storage().scan(str(root)), str(root), TABLES)
        assert [file.uri.removeprefix(f"{root}/") for file in listing.files] == [
            "orders/2024/a.csv",
            "orders/file.csv",
            "orders/inside/a.csv",
        ]
        reasons = {other.uri.removeprefix(f"{root}/"): other.reason for other in listing.passed_over}
        assert reasons.pop("data/a.csv") == "no table is called data"
        assert {name: reason.split(" ", 3)[-1] for name, reason in reasons.items()} == {
            "orders/leaves": "that leaves the folder",
            "orders/leaves.csv": "that leaves the folder",
            "orders/loop": "that leads back to a folder above it",
            "orders/nothing.csv": "be read: No such file or directory",
            "orders/self": "be read: Too many levels of symbolic links",
            "orders/fifo.csv": "nor a folder",
        }


def test_a_name_that_is_no_utf_8_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "orders").mkdir()
    with open(os.fsencode(tmp_path) + b"/orders/\xff\xfe.csv", "wb") as file:
        file.write(b"id\n1\n")
    listing = belonging(Storage().scan(str(tmp_path)), str(tmp_path), TABLES)
    assert listing.files == []
    assert [other.uri for other in listing.passed_over] == [rf"{tmp_path}/orders/\xff\xfe.csv"]


@pytest.mark.parametrize(
    "folder", ["in", "./in", "in/.", "in//", "{}//in", "{}/in/../in/", "../{name}/in", "in/orders/.."]
)
def test_a_folder_may_be_named_in_any_way(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in/orders").mkdir(parents=True)
    for name in ("orders/a.csv", "orders_1.csv"):
        (tmp_path / "in" / name).write_text("id\n1\n")
    monkeypatch.chdir(tmp_path)
    named = folder.format(tmp_path, name=tmp_path.name)
    assert [file.table for file in belonging(Storage().scan(named), named, TABLES).files] == ["orders", "orders"]
    monkeypatch.chdir("in")
    assert len(belonging(Storage().scan("."), ".", TABLES).files) == 2


def test_what_is_gone_while_a_folder_is_listed_is_named(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("id\n1\n")
    entries = _walk(tmp_path, (str(tmp_path),))
    first, _ = next(entries)
    (other,) = {tmp_path / "a.csv", tmp_path / "b.csv"} - {first}
    other.unlink()
    assert list(entries) == [(other, "its status cannot be read: No such file or directory")]


def test_a_file_that_grows_within_one_tick_of_the_clock_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("id\n1\n")
    (file,) = Storage().list(str(tmp_path))
    with path.open("a") as more:
        more.write("2\n")
    os.utime(path, ns=(file.generation, file.generation))
    with pytest.raises(FileChanged, match="was changed while"):
        Storage().open(file.uri, file.generation, file.size)
