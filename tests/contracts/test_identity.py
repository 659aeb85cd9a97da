"""What tells the records of a table without a key apart."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from connectors.sinks.merge import merge_statement
from contracts.decoding.csv_rows import parse_header
from contracts.decoding.decoder import HASH_LOW, Block, Decoder, Format
from contracts.decoding.key_digest import stored_position_digests
from contracts.lineage import HASH, POSITION, SOURCE
from contracts.odcs.documentation import markdown
from contracts.table import Column, Identity, Kind, Table
from tests.contracts.small_contract import contract, load_one, property_of

COLUMNS = (
    Column("n", Kind.INTEGER),
    Column("raw", Kind.BYTES),
    Column("tags", Kind.STRING, repeated=True),
    Column("box", Kind.RECORD, fields=(Column("a", Kind.NUMERIC),)),
)


def digests(
    identity: Identity, *records: str, source: str = "a", origin: str = "a#1", first: int = 0
) -> list[tuple[int, int]]:
    table = Table("t", COLUMNS, (), identity=identity)
    positions = np.arange(first, first + len(records), dtype=np.int64)
    block = Block(source, Format.JSON, [record.encode() for record in records], positions, origin=origin)
    decoded = Decoder(table, lambda: date(2024, 6, 1)).decode(block)
    assert decoded.refusals == []
    return decoded.rows.select(HASH, HASH_LOW).rows()


def test_equal_records_at_two_positions_are_two_rows() -> None:
    first, second, *others = digests(Identity.POSITION, '{"n":1}', '{"n":1}', "{}", "{}")
    assert len({first, second, *others}) == 4
    assert digests(Identity.POSITION, '{"n":2}') == [first]
    assert digests(Identity.POSITION, '{"n":1}', first=1) == [second]


def test_a_source_that_was_overwritten_has_other_rows() -> None:
    (before,), (after,) = (digests(Identity.POSITION, "{}", origin=origin) for origin in ("a#1", "a#2"))
    assert before[0] != after[0]


def test_digests_of_stored_rows_are_those_of_decoded_ones() -> None:
    rows = digests(Identity.POSITION, "{}", "{}", source="kafka://t/0", first=7)
    stored = pl.DataFrame({SOURCE: ["kafka://t/0"] * 2, POSITION: [7, 8]})
    hashes = pl.Series(HASH, [high for high, _ in rows])
    assert list(map(tuple, stored_position_digests(stored, hashes).tolist())) == rows
    assert stored_position_digests(stored.clear(), hashes.clear()).shape == (0, 2)


def test_equal_records_are_duplicates_if_the_record_is_the_identity() -> None:
    full = '{"n":1,"raw":"AA==","tags":["a"],"box":{"a":1.50}}'
    records = [full, full.replace("1.50", "1.5"), full.replace('"a"]', '"b"]'), "{}", '{"other":1}', '{"tags":[]}']
    found = digests(Identity.RECORD, *records)
    assert found[0] == found[1]
    assert found[3] == found[4] == found[5]
    assert len(set(found)) == 3
    assert digests(Identity.RECORD, *records, source="b", origin="b") == found


@pytest.mark.parametrize("identity", [Identity.POSITION, Identity.RECORD])
def test_a_malformed_record_is_refused_without_a_key_that_is_missing(identity: Identity) -> None:
    decoder = Decoder(Table("t", COLUMNS[:1], (), identity=identity), lambda: date(2024, 6, 1))
    records = [b'{"n":1}', b"{", b"[]", b'{"n":2}', b"\xff", b"{}"]
    decoded = decoder.decode(Block("s", Format.JSON, records, np.arange(6, dtype=np.int64)))
    assert decoded.rows["n"].to_list() == [1, 2, None]
    assert [refusal.position for refusal in decoded.refusals] == [1, 2, 4]
    header = parse_header(b"n,x", decoder.table.csv, decoder.table.read_columns)
    lines = [b"1,x", b"2", b'3,"', b"4,\xff", b",", b"5,x,y"]
    decoded = decoder.decode(Block("s", Format.CSV, lines, np.arange(6, dtype=np.int64), header))
    assert decoded.rows["n"].to_list() == [1, None]
    assert [refusal.position for refusal in decoded.refusals] == [1, 2, 3, 5]


def test_a_contract_without_a_primary_key_is_a_log() -> None:
    document = contract()
    del property_of(document, "sale_id")["primaryKey"]
    table = load_one(document)
    assert (table.identity, table.primary_key) == (Identity.POSITION, ())
    assert "no key: each record that is read is a row" in markdown(table)
    statement = merge_statement(table, "t", "s", "TRUE")
    assert "existing_row.`_hash` = incoming_row.`_hash` AND existing_row.`_position` = incoming_row" in statement
    property_of(document, "")["customProperties"] = [{"property": "identity", "value": "record"}]
    table = load_one(document)
    assert table.identity is Identity.RECORD
    assert merge_statement(table, "t", "s", "TRUE").endswith("WHERE existing_row.`_hash` = incoming_row.`_hash`)")
