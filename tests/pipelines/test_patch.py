"""A patch changes the fields that it names and no other byte, and refuses what it cannot correct."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.decoding.csv_rows import CsvHeader, parse_header, parse_row
from contracts.decoding.decoder import Block, Format
from contracts.decoding.patch import Patched
from contracts.errors import UsageError
from contracts.refusal import Refusal
from contracts.table import Column, CsvDialect, Kind, Table
from pipelines.replay.patches import parse_patch, patch_lines

TABLE = Table(
    "orders",
    (
        Column("order_id", Kind.STRING, required=True),
        Column("amount", Kind.NUMERIC),
        Column("country", Kind.STRING),
        Column("city", Kind.STRING, source=("address", "city")),
        Column("buyer", Kind.RECORD, fields=(Column("name", Kind.STRING), Column("age", Kind.INTEGER))),
        Column("kind", Kind.STRING, derived="upper(country)"),
    ),
    ("order_id",),
)
LIMIT = 1_000


def applied(records: list[bytes], *texts: str, header: CsvHeader | None = None, limit: int = LIMIT) -> Patched:
    format = Format.JSON if header is None else Format.CSV
    positions = np.arange(10, 10 + len(records), dtype=np.int64)
    return parse_patch(texts, TABLE).apply(Block("s", format, records, positions, header), limit)


def of_json(record: str, *texts: str) -> tuple[str | None, list[Refusal]]:
    block = applied([record.encode()], *texts).block
    return (block.records[0].decode() if block.records else None), list(block.refusals)


@pytest.mark.parametrize(
    ("record", "text", "patched"),
    [
        ('{"amount":"12,5"}', "amount = replace(amount, ',', '.')", '{"amount": "12.5"}'),
        ('{"amount":  1.10, "x":1e5}', "amount = replace(amount, ',', '.')", '{"amount":  1.10, "x":1e5}'),
        ('{"country":null}', "country = coalesce(country, 'DE')", '{"country": "DE"}'),
        ("{}", "country = coalesce(country, 'DE')", '{"country": "DE"}'),
        ("{}", "country = country", "{}"),
        ('{"country":"x"}', "country = NULL", '{"country": null}'),
        ('{"country":"x"}', "country = 'DE'", '{"country": "DE"}'),
        ('{"amount":"3","n":1.10}', "amount = CAST(amount AS INT) * 100", '{"amount": 300, "n": 1.10}'),
        ('{"amount":"3.10"}', "amount = CAST(amount AS DECIMAL(10,2)) * 2", '{"amount": 6.20}'),
        ('{"address":{"city":"b","z":1}}', "address.city = upper(address.city)", '{"address": {"city": "B", "z": 1}}'),
        ('{"city":"b"}', "address.city = coalesce(address.city, 'b')", '{"city": "b", "address": {"city": "b"}}'),
        ('{"buyer":{"age":"n/a"}}', "buyer.age = NULLIF(buyer.age, 'n/a')", '{"buyer": {"age": null}}'),
        ('{"amount":null,"price_eur":5}', "amount = coalesce(amount, price_eur)", '{"amount": "5", "price_eur": 5}'),
        ('{"amount":"9223372036854775807"}', "amount = amount::int * 2", '{"amount": 18446744073709551614}'),
        ('{"amount":"1"}', "country = 'as int' || 1::INT", '{"amount": "1", "country": "as int1"}'),
        ('{"country":"a.b"}', "country = replace(country, 'a.b', 'c.d')", '{"country": "c.d"}'),
        ('{"country":"ü"}', "country = country || country", '{"country": "üü"}'),
    ],
)
def test_json(record: str, text: str, patched: str) -> None:
    assert of_json(record, text) == (patched, [])


def test_all_expressions_see_the_record_as_it_was() -> None:
    record = '{"amount":"1","country":"2"}'
    assert of_json(record, "amount = country", "country = amount")[0] == '{"amount": "2", "country": "1"}'


@pytest.mark.parametrize(
    ("record", "text", "code", "message"),
    [
        ('{"amount":"x"}', "amount = CAST(amount AS INT)", "invalid_value", "amount: the patch cannot"),
        ('{"amount":"0"}', "amount = 1 / CAST(amount AS DOUBLE)", "invalid_value", "is not a finite number"),
        ("{}", "amount = coalesce(amount, price)", "invalid_value", "reads price, which neither the contract nor"),
        ('{"address":"bonn"}', "address.city = 'x'", "invalid_value", "city: address of the record is not an object"),
        ('{"amount":', "amount = '1'", "malformed_json", ""),
        ("[1]", "amount = '1'", "malformed_json", "not a JSON object"),
        ('{"amount":"' + 400 * "x" + '"}', "amount = replace(amount, 'x', '123')", "record_too_large", "1214 bytes"),
    ],
)
def test_a_record_that_cannot_be_patched_is_refused_as_it_was(record: str, text: str, code: str, message: str) -> None:
    patched, (refusal,) = of_json(record, text)
    assert patched is None
    assert (refusal.code.value, refusal.raw, refusal.position) == (code, record.encode(), 10)
    assert message in refusal.message


def test_one_record_that_fails_leaves_the_others() -> None:
    records = [json.dumps({"amount": text}).encode() for text in ("1", "x", "3", "y")]
    patched = applied(records, "amount = CAST(amount AS INT) + 1")
    assert patched.block.records == [b'{"amount": 2}', b'{"amount": 4}']
    assert patched.block.positions.tolist() == [10, 12]
    assert [refusal.position for refusal in patched.block.refusals] == [11, 13]
    assert [(each.position, each.before, each.after) for each in patched.changes] == [(10, "1", "2"), (12, "3", "4")]


def test_csv() -> None:
    header = parse_header(b"order_id;amount;text", CsvDialect(";"), TABLE.read_columns)
    patched = applied(
        [b'1;12,5;"a ""quoted"";\ntext"', b"2;3;", b"3;1"],
        "amount = replace(amount, ',', '.')",
        "country = coalesce(country, 'DE')",
        header=header,
    )
    block = patched.block
    assert block.header is not None
    assert [dict(parse_row(raw, block.header)) for raw in block.records] == [
        {"order_id": "1", "amount": "12.5", "text": 'a "quoted";\ntext', "country": "DE"},
        {"order_id": "2", "amount": "3", "text": None, "country": "DE"},
    ]
    assert parse_header(block.header.raw, block.header.dialect).names == block.header.names
    assert [refusal.code.value for refusal in block.refusals] == ["malformed_csv"]


FIELDS = st.text(st.characters(codec="latin-1", exclude_characters="\0"), max_size=8)


@given(st.lists(FIELDS, min_size=1, max_size=3), st.sampled_from(["", "\\"]), st.sampled_from(",;|"))
def test_the_other_fields_of_a_csv_record_stay(fields: list[str], escape: str, delimiter: str) -> None:
    dialect = CsvDialect(delimiter, escape=escape, encoding="latin-1")
    names = ["amount", *(f"f{number}" for number in range(len(fields)))]
    header = CsvHeader(delimiter.join(names).encode(), tuple(names), dialect)
    quoted = [field.replace(escape, escape * 2) if escape else field for field in fields]
    text = delimiter.join(["1", *(f'"{field.replace(chr(34), chr(34) * 2)}"' for field in quoted)])
    raw = text.encode("latin-1")
    before = dict(parse_row(raw, header))
    (patched,) = applied([raw], "amount = '2'", header=header).block.records
    assert dict(parse_row(patched, header)) == {**before, "amount": "2"}


def test_what_cannot_be_written_in_the_encoding_is_refused() -> None:
    header = parse_header(b"amount,country", replace(CsvDialect(), encoding="latin-1"), TABLE.read_columns)
    (refusal,) = applied([b"1,x"], "country = '€'", header=header).block.refusals
    assert refusal.code.value == "invalid_encoding"


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (["amont = '1'"], "orders reads no field amont; there are order_id, amount, country"),
        (["kind = '1'"], "orders reads no field kind"),
        (["order_id = '1'"], "order_id is in the key of orders, which a patch does not change"),
        (["amount"], "'amount' is no expression for a field, such as"),
        (["amount == 1"], "is no expression for a field"),
        (["amount = now()"], "uses NOW: it is computed from its own row"),
        (["amount = sum(CAST(amount AS INT))"], "spans rows"),
        (["amount = read_csv('/etc/passwd')"], "is not an SQL expression over columns"),
        (["amount = (SELECT 1)"], "uses SELECT"),
        (["amount = 1; DROP TABLE x"], "is not an SQL expression over columns"),
        (["amount = lpad(amount, 1000000, 'x')"], "uses LPAD"),
        (["amount = amount * 2"], "fields are text, CAST makes numbers"),
        (["amount = string_to_array(amount, ',')"], "gives List(String); CAST it to text or a number"),
        (["amount = '1'", "amount = '2'"], "amount and amount are one field"),
        (["buyer = '{}'", "buyer.age = '2'"], "buyer.age and buyer are one field"),
    ],
)
def test_what_is_no_patch_is_refused_before_anything_is_read(texts: list[str], why: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_patch(texts, TABLE)
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


@given(st.text(max_size=30))
def test_any_text_is_understood_or_refused(text: str) -> None:
    try:
        patch = parse_patch([f"amount = {text}"], TABLE)
    except UsageError:
        return
    block = patch.apply(Block("s", Format.JSON, [b'{"amount": "1"}'], np.array([1])), LIMIT).block
    assert block.count == 1


def test_lines_of_a_file() -> None:
    assert patch_lines("-- why\namount = '1'\n\n  country = 'x'  \n") == ["amount = '1'", "country = 'x'"]
