"""Masking: no value of a classified column is shown, whatever became of its record."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.classification import has_masked, masked_columns
from contracts.decoding.csv_rows import parse_header
from contracts.decoding.decoder import Block, Decoder, Format
from contracts.masking import Masking
from contracts.odcs.tables import shipped
from contracts.refusal import WITHOUT_RECORD, ErrorCode, Refusal
from contracts.table import Column, Kind, Table, UnknownFields
from tests.people import CLEAN, NUMBER, PEOPLE, WORD, broken


def refusals(table: Table, raws: list[bytes], format: Format = Format.JSON, header: bytes = b"") -> list[Refusal]:
    parsed = parse_header(header, table.csv, table.read_columns) if header else None
    block = Block("gs://b/f", format, raws, np.arange(len(raws)), parsed)
    return Decoder(table, lambda: date(2026, 5, 1)).decode(block).refusals


def shown(table: Table, refusal: Refusal) -> str:
    masking = Masking(table)
    row = {
        "error_code": refusal.code.value,
        "error_message": refusal.message,
        "field": refusal.field,
        "raw": refusal.raw,
        "truncated": refusal.truncated,
        "attributes": json.dumps(refusal.attributes),
    }
    return json.dumps(masking.letter(row), ensure_ascii=False)


def test_no_planted_value_is_shown_of_a_refused_record() -> None:
    strict = replace(PEOPLE, unknown_fields=UnknownFields.REJECT)
    raws = [json.dumps(record).encode() for record in broken()]
    raws += [raws[0][:-3], raws[0] + b"x", b"[" + raws[0] + b"]", b'"' + WORD.encode() + b'"', b"\xff" + raws[0]]
    found = refusals(strict, raws)
    assert len(found) == len(raws)
    for refusal in found:
        text = shown(strict, refusal)
        assert WORD not in text, text
        assert NUMBER not in text.replace(f"({len(refusal.raw):,} bytes)", ""), text


def test_what_is_not_classified_is_shown() -> None:
    (refusal,) = refusals(PEOPLE, [json.dumps({**CLEAN, "floor": "third"}).encode()])
    masking = Masking(PEOPLE)
    assert masking.message(refusal.code.value, refusal.field, refusal.message) == 'floor: "third" is not an integer'
    assert json.loads(masking.raw(refusal.raw, refusal.attributes)) == {
        "person_id": "p1",
        **dict.fromkeys(("email", "age", "born", "level", "pet"), "***"),
        "city": "Bonn",
        "floor": "third",
        "home": {"street": "***", "zone": 7},
        "phones": [{"digits": "***", "use": "work"}],
        "user": {"login": "***", "agent": "curl"},
    }


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("email", None, "email: a value is required"),
        ("email", WORD, "email: *** breaks a rule of the contract: an e-mail address; length <= 30"),
        ("age", "old", "age: *** cannot be read as INTEGER"),
        ("level", WORD, "level: *** breaks a rule of the contract: one of low"),
        ("home", {"street": WORD, "zone": "n"}, 'home.zone: "n" is not an integer'),
    ],
)
def test_a_message_names_the_rule_and_not_the_value(name: str, value: object, said: str) -> None:
    (refusal,) = refusals(PEOPLE, [json.dumps({**CLEAN, name: value}).encode()])
    assert Masking(PEOPLE).message(refusal.code.value, refusal.field, refusal.message) == said


def test_rows() -> None:
    block = Block("gs://b/f", Format.JSON, [json.dumps(CLEAN).encode()], np.arange(1))
    (row,) = Decoder(PEOPLE, lambda: date(2026, 5, 1)).decode(block).rows.to_dicts()
    masked = Masking(PEOPLE).row(row)
    assert WORD not in str(masked)
    assert {name for name, value in masked.items() if value == "***"} == {
        *("email", "age", "born", "level", "pet", "login", "shout")
    }
    assert masked["home"] == {"street": "***", "zone": 7}
    assert masked["phones"] == [{"digits": "***", "use": "work"}]
    assert (masked["city"], masked["floor"], masked["above"], masked["agent"]) == ("Bonn", 3, 4, "curl")
    assert Masking(PEOPLE).row({"email": None, "_extra": '{"a": 1}', "_source": "s"}) == {
        "email": None,
        "_extra": "***",
        "_source": "s",
    }


HEADER = b"person_id,email,age,city,nickname"


@pytest.mark.parametrize(
    ("line", "raw"),
    [
        (f"p1,{WORD},30,Bonn,{WORD}", "p1,***,***,Bonn,***"),
        (f"p1,{WORD}@x.com,x,,", "p1,***,***,,"),
        (f",{WORD}@x.com,30,Bonn,", ",***,***,Bonn,"),
        (f"p1,{WORD}@x.com,30", "*** (19 bytes)"),
        (f'p1,"{WORD}@x.com,30,Bonn,', "*** (26 bytes)"),
    ],
)
def test_a_csv_record_is_masked_by_its_header(line: str, raw: str) -> None:
    (refusal,) = refusals(PEOPLE, [line.encode()], Format.CSV, HEADER)
    letter = json.loads(shown(PEOPLE, refusal))
    assert letter["raw"] == raw
    assert letter["attributes"]["header"] == "person_id,email,age,city,***"
    assert WORD not in json.dumps(letter)


def test_what_kafka_adds_is_masked() -> None:
    attributes = {"format": "json", "key": WORD, "headers": [["to", WORD]], "timestamp": 5}
    assert Masking(PEOPLE).attributes(attributes) == {"format": "json", "key": "***", "headers": "***", "timestamp": 5}
    products = shipped()["products"]
    assert Masking(products).attributes(attributes) == attributes


@pytest.mark.parametrize("code", [ErrorCode.WAREHOUSE_REJECTED, ErrorCode.UNPROCESSABLE, ErrorCode.INVALID_VALUE])
def test_a_message_of_another_program_is_masked_whole(code: ErrorCode) -> None:
    assert WORD not in Masking(PEOPLE).message(code.value, None, f"no such {WORD}")
    assert WORD not in Masking(PEOPLE).message(code.value, "city", f"city: broken{WITHOUT_RECORD}: {WORD})")


def test_of_a_table_without_a_contract_nothing_is_shown() -> None:
    letter = {
        "error_code": "wrong_type",
        "error_message": f"a: {WORD}",
        "field": "a",
        "raw": WORD.encode(),
        "attributes": {"format": "json"},
    }
    assert WORD not in str(Masking(None).letter(letter))
    assert Masking(None).row({"a": WORD, "b": None}) == {"a": "***", "b": None}


def test_a_table_without_classified_columns_is_shown_as_it_is() -> None:
    products = shipped()["products"]
    assert not has_masked(products)
    assert Masking(products).raw(b'{"x":\xff}', {}) == '{"x":\\xff}'
    assert Masking(products).message("wrong_type", "price", 'price: "x" is no number') == 'price: "x" is no number'


def test_a_column_that_reads_a_masked_place_too_does_not_show_it() -> None:
    table = Table(
        "t",
        (
            Column("whole", Kind.JSON, source=("user",)),
            Column("email", Kind.STRING, source=("user", "email"), classification="pii"),
            Column("again", Kind.STRING, source=("user", "email")),
        ),
        ("email",),
    )
    raw = json.dumps({"user": {"email": WORD, "id": 4}}).encode()
    assert json.loads(Masking(table).raw(raw, {})) == {"user": {"email": "***", "id": 4}}
    assert WORD not in Masking(table).raw(json.dumps({"user": json.dumps({"email": WORD})}).encode(), {})


def test_the_shipped_contracts_mask_what_is_personal() -> None:
    tables = shipped()
    assert masked_columns(tables["customers"]) == {"email", "first_name", "last_name", "age", "gender", "full_name"}
    assert masked_columns(tables["user_events"]) == {"user_agent"}


@given(
    st.recursive(
        st.none() | st.just(WORD) | st.just(int(NUMBER)),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["email", "street", "digits", "login", "zz"]), inner)
        ),
    ),
    st.sampled_from(["email", "home", "phones", "user", "level", "other"]),
)
def test_whatever_stands_in_a_classified_place_is_not_shown(value: object, name: str) -> None:
    raw = json.dumps({**CLEAN, name: value, "email": WORD}).encode()
    for refusal in refusals(PEOPLE, [raw, raw[:-1]]):
        assert WORD not in shown(PEOPLE, refusal)
        assert NUMBER not in shown(PEOPLE, refusal)
