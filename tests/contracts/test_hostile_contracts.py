"""A contract fails with one line that names it, never with a trace.

What is refused for its cost would not come to an end, or to memory's, without the limit.
"""

from __future__ import annotations

import codecs
import copy
import json
import random
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from contracts.decoding.decoder import Block, Decoder, Format
from contracts.errors import UsageError
from contracts.odcs.file_options import ENCODINGS
from contracts.odcs.tables import SUFFIX, load
from contracts.table import CsvDialect
from tests.contracts.small_contract import contract, load_one, property_of
from tests.fuzz.cases import TODAY

SHIPPED = {
    file.name: file.read_text(encoding="utf-8")
    for file in resources.files("contracts").iterdir()
    if file.name.endswith(SUFFIX)
}
FUZZ = (Path(__file__).parents[1] / "fuzz" / "fuzz.odcs.yaml").read_text()
MUTANTS = 250
ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    2**70,
    1.5,
    float("nan"),
    "",
    "\0",
    '"',
    "é",
    "x" * 5000,
    "'",
    "\\",
    "a.b.c",
    [],
    [[]],
    {},
    {"a": 1},
    "(a+)+$",
    "SELECT 1",
    "n + n",
    "utf-16",
    "2024-02-30",
    ["a", "a"],
    [None],
    {"type": "text"},
    "string",
    "array",
    "object",
]


def nodes(value: Any) -> list[tuple[Any, Any]]:
    """Every place in a document that holds something: the container and the key."""
    found: list[tuple[Any, Any]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += [(value, key), *nodes(inner)]
    return found


def mutant(chance: random.Random) -> str:
    """A contract with a few changes, of its tree or of its text."""
    text = chance.choice([*SHIPPED.values(), FUZZ, yaml.safe_dump(contract())])
    if chance.random() < 0.3:
        at = chance.randrange(len(text))
        return (
            text[:at]
            + chance.choice(["\t", "*x", "&x ", "<<: ", ": ", "- ", "'", '"', "\n", "\ud800", "\x01", "!!python/none "])
            + text[at:]
        )
    document = copy.deepcopy(yaml.safe_load(text))
    for _ in range(chance.randrange(1, 3)):
        container, key = chance.choice(nodes(document))
        if isinstance(container, dict) and chance.random() < 0.3:
            donor, name = chance.choice(nodes(document))
            if isinstance(donor, dict):
                container[name] = copy.deepcopy(donor[name])
                continue
        container[key] = copy.deepcopy(chance.choice(ODD))
    return yaml.safe_dump(document, sort_keys=False)


def refusal_of(text: str) -> str | None:
    """What a contract is refused with, None if it is accepted and decodes."""
    try:
        tables = load([("mine.odcs.yaml", text)])
    except UsageError as error:
        return str(error)
    for table in tables.values():
        block = Block("s", Format.JSON, [b"{}", b'{"id":"1","n":1}', b"x"], np.arange(3, dtype=np.int64))
        assert Decoder(table, lambda: TODAY).decode(block).rows.height <= 2
    return None


@pytest.mark.slow
def test_a_contract_is_read_or_refused_in_one_line() -> None:
    chance = random.Random(5)
    refused = [line for _ in range(MUTANTS) if (line := refusal_of(mutant(chance))) is not None]
    lines = [line for message in refused for line in message.split("\n")]
    assert all((line.startswith("mine.odcs.yaml: ") and line.encode()) or line.startswith("… and ") for line in lines)
    assert MUTANTS / 10 < len(refused) < MUTANTS


def bomb(opening: str, reference: str) -> str:
    lines = [f"a0: &a0 {opening}"]
    lines += [f"a{level}: &a{level} {reference % ', '.join([f'*a{level - 1}'] * 10)}" for level in range(1, 9)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text", [bomb("{k: 1, l: 2}", "{<<: [%s]}"), bomb("[1]", "[%s]"), bomb("{properties: []}", "{properties: [%s]}")]
)
def test_a_bomb_is_refused_at_once(text: str) -> None:
    with pytest.raises(UsageError, match=r"^mine: not readable as YAML: line 1, .* values, its aliases"):
        load([("mine", text)])


def test_aliases_and_merges_are_read() -> None:
    document = contract()
    document["schema"][0]["properties"].append({"name": "more", "logicalType": "integer"})
    plain = yaml.safe_dump(document, sort_keys=False)
    merged = plain.replace("name: more\n    logicalType: integer", "<<: {logicalType: integer}\n    name: more")
    assert "<<" in merged
    assert load([("shop.odcs.yaml", merged)])["sales"] == load_one(document)


@pytest.mark.parametrize(
    "encoding",
    [
        "idna",
        "punycode",
        "undefined",
        "utf-16",
        "utf-32",
        "utf-7",
        "shift_jis",
        "gb18030",
        "rot13",
        "unicode_escape",
        "hz",
        "no\0pe",
        5,
    ],
)
def test_an_encoding_in_which_bytes_are_not_ascii_is_refused_by_name(encoding: object) -> None:
    document = contract()
    document["schema"][0]["customProperties"] = [{"property": "csv", "value": {"encoding": encoding}}]
    with pytest.raises(UsageError, match=r"shop.odcs.yaml: table sales: construct 'customProperties csv.encoding' "):
        load_one(document)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_that_is_supported_contains_ascii(encoding: str) -> None:
    assert codecs.lookup(encoding).name == encoding
    plain = bytes(range(128))
    assert plain.decode(encoding).encode() == plain
    for code in range(128, 0x10000):
        written = chr(code).encode(encoding, "ignore")
        assert all(byte >= 128 for byte in written), (code, written)


def test_a_mark_at_the_beginning_of_utf_8_is_no_encoding_of_its_own() -> None:
    document = contract()
    document["schema"][0]["customProperties"] = [{"property": "csv", "value": {"encoding": "utf-8-sig"}}]
    assert load_one(document).csv == CsvDialect(encoding="utf-8")


@pytest.mark.parametrize("source", ['a"b', "a\0b", "a\\b", "\x1f", "é\n"])
def test_a_source_may_have_any_name(source: str) -> None:
    document = contract()
    property_of(document, "n")["customProperties"] = [{"property": "source", "value": [source]}]
    table = load_one(document)
    record = b'{"sale_id":"1",%s:7}' % json.dumps(source).encode()
    decoded = Decoder(table, lambda: TODAY).decode(Block("s", Format.JSON, [record], np.zeros(1, dtype=np.int64)))
    assert decoded.rows["n"].to_list() == [7]


EXPRESSIONS = [
    ("+".join(["n"] * 3000), "is longer than 4000 characters"),
    ("+".join(["n"] * 1500), "has more than 400 names"),
    ("(" * 150 + "n" + ")" * 150, "is not an SQL expression"),
    ("LPAD(sale_id, n, 'x')", "uses LPAD, whose length must be a number up to 1000"),
    ("RPAD(sale_id, 300000000, 'x')", "uses RPAD, whose length must be a number up to 1000"),
    ("lpad(CONCAT(sale_id, ','), 1001, 'x')", "uses LPAD, whose length"),
    ("REPLACE(sale_id, 'a', 'aaaaaaaaaaaaaaaaa')", "can make a text more than 16 times as long"),
    ("REPLACE(REPLACE(sale_id, 'a', 'aaaaa'), 'a', 'aaaaa')", "can make a text more than 16 times as long"),
    ("REPLACE(sale_id, '', 'aaaaaaaaaaaaaaaaa')", "can make a text more than 16 times as long"),
    ("REPLACE(sale_id, 'a', sale_id)", "uses REPLACE, whose last argument must be a text"),
    ("REGEXP_REPLACE(sale_id, '(.*)', '$1$1$1$1$1$1$1$1$1')", "can make a text more than 16 times as long"),
]


@pytest.mark.parametrize(("logic", "problem"), EXPRESSIONS, ids=[str(number) for number in range(len(EXPRESSIONS))])
def test_an_expression_that_costs_without_bound_is_refused(logic: str, problem: str) -> None:
    document = contract()
    property_of(document, "total").update(
        transformLogic=logic, logicalType="string" if "sale_id" in logic else "number"
    )
    with pytest.raises(UsageError, match="transformLogic") as refused:
        load_one(document)
    assert problem in str(refused.value)


@pytest.mark.parametrize(
    "logic",
    [
        "LPAD(sale_id, 12, '0')",
        "REPLACE(REPLACE(sale_id, '-', ''), ' ', '')",
        "REPLACE(sale_id, ' ', '%20')",
        "CONCAT(sale_id, ' ', tags[1])",
    ],
)
def test_an_expression_that_grows_a_little_is_taken(logic: str) -> None:
    document = contract()
    property_of(document, "total").update(transformLogic=logic, logicalType="string")
    assert load_one(document).column("total").derived == logic


def test_a_derived_text_of_more_than_a_megabyte_is_refused() -> None:
    document = contract()
    property_of(document, "total").update(transformLogic="CONCAT(sale_id, sale_id)", logicalType="string")
    table = load_one(document)
    records = [b'{"sale_id":"%s"}' % (b"x" * size) for size in (10, 400_000, 600_000)]
    decoded = Decoder(table, lambda: TODAY).decode(Block("s", Format.JSON, records, np.arange(3, dtype=np.int64)))
    assert decoded.rows["total"].str.len_chars().to_list() == [20, 800_000]
    assert [(each.code.value, each.field, each.position) for each in decoded.refusals] == [
        ("invalid_value", "total", 2)
    ]
    assert len(decoded.refusals[0].message) < 200
