"""`contracts show`, `diff` and `export`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from google.cloud import bigquery

from commands.contract_views import EXPORTS
from connectors.bigquery.table_spec import incompatibilities, lacking
from connectors.sinks.destination import table_spec
from contracts.odcs.tables import load
from operations.contracts.differences import Change, differences
from operations.contracts.exported import FORMATS, exported
from tests.in_process import launch
from tests.operations.test_contract_check import RIDES

WIDE = """apiVersion: v3.1.0
kind: DataContract
id: wide
version: 1.0.0
schema:
  - name: wide
    description: "All <b>types</b> & more | \\u202e"
    customProperties:
      - {property: unknownFields, value: reject}
    properties:
      - {name: id, logicalType: string, primaryKey: true, description: "<script>alert(1)</script>"}
      - {name: n, logicalType: integer, enum: [{value: 1}, {value: 2}]}
      - {name: state, logicalType: string, required: true, enum: [{value: open}, {value: closed}]}
      - {name: price, logicalType: number, physicalType: "NUMERIC(10, 2)", logicalTypeOptions: {minimum: 0}}
      - {name: big, logicalType: number, physicalType: BIGNUMERIC}
      - {name: ratio, logicalType: number, physicalType: FLOAT64, logicalTypeOptions: {exclusiveMaximum: 1}}
      - {name: mail, logicalType: string, logicalTypeOptions: {format: email, maxLength: 50}}
      - {name: code, logicalType: string, logicalTypeOptions: {pattern: '^\\d{3}\\s$'}}
      - {name: raw, logicalType: string, physicalType: BYTES}
      - {name: tree, logicalType: object, physicalType: JSON}
      - {name: day, logicalType: date, logicalTypeOptions: {format: dd.MM.yyyy}, partitioned: true}
      - {name: clock, logicalType: time}
      - {name: local, logicalType: timestamp, physicalType: DATETIME}
      - {name: at, logicalType: timestamp, customProperties: [{property: epoch, value: ms}]}
      - {name: open, logicalType: boolean}
      - {name: buyer, logicalType: string, required: true, customProperties: [{property: source, value: user.id}]}
      - {name: tags, logicalType: array, required: true, items: {logicalType: string}}
      - name: lines
        logicalType: array
        items:
          logicalType: object
          properties: [{name: sku, logicalType: string, required: true}, {name: count, logicalType: integer}]
      - {name: total, logicalType: number, transformLogic: price * n}
"""


@pytest.fixture
def contract(tmp_path: Path) -> str:
    (tmp_path / "rides.odcs.yaml").write_text(RIDES)
    return str(tmp_path / "rides.odcs.yaml")


@pytest.fixture
def wide(tmp_path: Path) -> str:
    (tmp_path / "wide.odcs.yaml").write_text(WIDE)
    return str(tmp_path / "wide.odcs.yaml")


def test_show_prints_keys_layout_and_rules(contract: str) -> None:
    done = launch(["contracts", "show", contract], {"COLUMNS": "120"})
    assert (done.code, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[:2] == [
        "rides",
        "dataset ecommerce_data; primary key ride_id; write disposition append; partitioned by day of begun_at;"
        " unknown fields: ignore",
    ]
    assert [line.split() for line in lines[2:5]] == [
        ["column", "type", "required", "rules", "description"],
        ["ride_id", "STRING", "yes"],
        ["minutes", "INTEGER", ">=", "0"],
    ]


def test_show_of_the_shipped_contracts_escapes_nothing_and_names_all() -> None:
    done = launch(["contracts", "show"])
    assert "\ntransactions_streaming\n" in done.stdout
    only = launch(["contracts", "show", "--table", "customers"])
    assert only.stdout.startswith("customers\n")
    assert "\nproducts\n" not in only.stdout


def test_show_is_plain_text(wide: str) -> None:
    text = launch(["contracts", "show", wide]).stdout
    assert "\u202e" not in text
    assert "\\u202e" in text


CHANGES = {
    "nothing": ("", "", Change.SAME, ""),
    "a column": (
        "properties:\n",
        "properties:\n      - {name: kind, logicalType: string}\n",
        Change.ADDS,
        "column kind STRING is added; older rows have NULL there",
    ),
    "a type": (
        "logicalType: integer",
        "logicalType: number",
        Change.BREAKING,
        "column minutes is INTEGER, the contract says",
    ),
    "a rule": ("minimum: 0", "minimum: 5", Change.COMPATIBLE, "column minutes: minimum was 0, is 5"),
    "a disposition": ("value: append", "value: merge", Change.COMPATIBLE, "disposition was append, is merge"),
    "a partition": (
        ", partitioned: true",
        "",
        Change.BREAKING,
        "it is partitioned by begun_at, the contract says None",
    ),
    "a key": (
        "string, primaryKey: true}",
        "string, primaryKey: true}\n      - {name: part, logicalType: string, primaryKey: true}",
        Change.ADDS,
        "another key changes what a duplicate is: load into a new dataset",
    ),
    "required no more": (
        "string, primaryKey: true}\n",
        "string}\n",
        Change.BREAKING,
        "column ride_id is REQUIRED, the contract allows null",
    ),
    "a column that is gone": (
        "      - {name: minutes, logicalType: integer, logicalTypeOptions: {minimum: 0}}\n",
        "",
        Change.COMPATIBLE,
        "column minutes is gone from the contract: it stays in the table, and new rows have NULL there",
    ),
    "a dataset": (
        "      - {property: writeDisposition, value: append}\n",
        "      - {property: dataset, value: bikes}\n",
        Change.NEW,
        "the dataset was ecommerce_data, is bikes: the next run creates the table there",
    ),
    "another table": ("- name: rides", "- name: trips", Change.NEW, "the next run creates it, with 3 columns"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_has_a_judgement_and_a_reason(change: str, contract: str, tmp_path: Path) -> None:
    before, after, wanted, reason = CHANGES[change]
    new = tmp_path / "new.odcs.yaml"
    assert before in RIDES
    new.write_text(RIDES.replace(before, after))
    done = launch(["contracts", "diff", contract, str(new)])
    assert (done.code, done.stderr) == (int(wanted is Change.BREAKING), "")
    assert f": {wanted.value}\n" in done.stdout
    assert reason in done.stdout


def test_the_judgement_is_that_of_a_run() -> None:
    """A run compares the table that it finds with the contract; diff compares the table that a run would have made."""
    for before, after, wanted, _ in CHANGES.values():
        (old,) = load([("old", RIDES)]).values()
        (new,) = load([("new", RIDES.replace(before, after))]).values()
        (difference, *_) = differences({old.name: old}, {new.name: new})
        assert difference.change is wanted
        if wanted in (Change.NEW, Change.SAME):
            continue
        spec, made = table_spec(new, "d"), table_spec(old, "d")
        existing = bigquery.Table("p.d.t", schema=list(made.schema))
        existing.time_partitioning = made.partitioning
        existing.clustering_fields = list(made.created_clustering) or None
        assert bool(incompatibilities(spec, existing)) == (wanted is Change.BREAKING)
        assert bool(lacking(spec, existing)) == (wanted is Change.ADDS)


def test_a_table_that_no_contract_has_any_more_stays() -> None:
    (difference,) = differences(load([("old", RIDES)]), {})
    assert (difference.table, difference.change) == ("rides", Change.COMPATIBLE)
    assert difference.reasons == ("no contract has it any more: the table stays, and no run writes it",)


def test_a_change_inside_an_object_is_judged_as_one_of_a_column() -> None:
    old = load([("old", WIDE)])
    (difference,) = differences(old, load([("new", WIDE.replace("count, logicalType", "number, logicalType"))]))
    assert difference.change is Change.ADDS
    assert difference.reasons == (
        "column lines.number INTEGER is added; older rows have NULL there",
        "column lines.count is gone from the contract: it stays in the table, and new rows have NULL there",
    )
    other = WIDE.replace("count, logicalType: integer", "count, logicalType: string")
    (difference,) = differences(old, load([("new", other)]))
    assert difference.change is Change.BREAKING
    assert "column lines.count is INTEGER, the contract says STRING" in difference.reasons
    limit = WIDE.replace("count, logicalType: integer", "count, logicalType: integer, logicalTypeOptions: {minimum: 1}")
    (difference,) = differences(old, load([("new", limit)]))
    assert (difference.change, difference.reasons) == (
        Change.COMPATIBLE,
        ("column lines.count: minimum was nothing, is 1",),
    )


def test_json_schema_describes_a_record(wide: str) -> None:
    schema = json.loads(launch(["contracts", "export", wide, "--format", "json-schema"]).stdout)
    assert schema["title"] == "wide"
    assert schema["required"] == ["id", "state", "user", "tags"]
    assert schema["additionalProperties"] is False
    properties = schema["properties"]
    assert "total" not in properties
    assert properties["state"] == {"type": "string", "enum": ["open", "closed"], "minLength": 1}
    assert properties["n"] == {"type": ["integer", "null"], "enum": [1, 2, None]}
    assert properties["price"] == {"type": ["number", "null"], "minimum": 0}
    assert properties["mail"] == {"type": ["string", "null"], "format": "email", "maxLength": 50}
    assert properties["raw"] == {"type": ["string", "null"], "contentEncoding": "base64"}
    assert properties["tree"] == {}
    assert properties["day"] == {"type": ["string", "null"], "description": "in the format dd.MM.yyyy"}
    assert properties["at"] == {"type": ["number", "null"], "description": "ms since 1970"}
    assert properties["user"]["properties"] == {"id": {"type": "string", "minLength": 1}}
    assert properties["tags"] == {"type": "array", "items": {"type": "string"}, "minItems": 1}
    assert properties["lines"]["items"]["required"] == ["sku"]
    assert properties["code"]["pattern"].startswith("^[0-9]{3}[")
    assert "\\x{" not in properties["code"]["pattern"]


def test_avro_schema_describes_a_row(wide: str) -> None:
    text = launch(["contracts", "export", wide, "--format", "avro"]).stdout
    fields = {field["name"]: field["type"] for field in json.loads(text)["fields"]}
    assert fields["id"] == "string"
    assert fields["price"] == ["null", {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}]
    assert fields["at"] == ["null", {"type": "long", "logicalType": "timestamp-micros"}]
    assert fields["tags"] == {"type": "array", "items": "string"}
    assert fields["lines"]["items"]["name"] == "wide_lines"
    assert list(fields) == [column.name for column in load([("wide", WIDE)])["wide"].columns]


def test_bigquery_ddl_is_that_of_a_run(wide: str) -> None:
    text = launch(["contracts", "export", wide, "--format", "bigquery"]).stdout
    assert text.startswith("CREATE TABLE IF NOT EXISTS `PROJECT`.`ecommerce_data`.`wide` (\n  `id` STRING NOT NULL")
    assert "PARTITION BY `day`" in text
    assert "`_run_id`" in text
    assert text.endswith(";\n")


def test_html_is_one_page_without_network_or_script(wide: str, tmp_path: Path) -> None:
    output = tmp_path / "page.html"
    done = launch(["contracts", "export", wide, "--format", "html", "--output", str(output)])
    assert (done.code, done.stdout, done.stderr) == (0, "", f"wrote {output}\n")
    page = output.read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "All &lt;b&gt;types&lt;/b&gt; &amp; more" in page
    assert not re.search(r"<script|<link|<img|src=|href=|url\(|https?:|\u202e", page)
    assert "default-src 'none'" in page


def test_dbt_sources_have_its_tests(wide: str) -> None:
    (source,) = yaml.safe_load(launch(["contracts", "export", wide, "--format", "dbt"]).stdout)["sources"]
    assert source["name"] == "ecommerce_data"
    columns = {column["name"]: column.get("data_tests") for column in source["tables"][0]["columns"]}
    assert columns["id"] == ["unique", "not_null"]
    assert columns["state"] == ["not_null", {"accepted_values": {"values": ["open", "closed"], "quote": True}}]
    assert columns["n"] == [{"accepted_values": {"values": ["1", "2"], "quote": False}}]
    assert columns["mail"] is None


@pytest.mark.parametrize("format", EXPORTS)
def test_every_shipped_table_is_exported(format: str) -> None:
    tables = list(load([("wide", WIDE)]).values())
    assert set(EXPORTS) == set(FORMATS)
    assert exported(format, tables)
    for name in ("customers", "products", "transactions", "user_events"):
        assert launch(["contracts", "export", "--table", name, "--format", format]).code == 0


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["show", "nowhere.yaml"], "there is no file nowhere.yaml"),
        (["show", "--table", "orders"], "--table orders: there is no such table; there are customers, products, "),
        (["diff", "CONTRACT"], "the following arguments are required: NEW"),
        (["diff", "CONTRACT", "nowhere"], "there is no folder nowhere"),
        (["export", "CONTRACT"], "the following arguments are required: --format"),
        (["export", "--format", "avro"], "contracts export: avro describes one table; name one of customers, products"),
        (["export", "--format", "xml"], "invalid choice: 'xml'"),
    ],
)
def test_wrong_usage_is_refused(argv: list[str], said: str, contract: str) -> None:
    done = launch(["contracts", *(contract if word == "CONTRACT" else word for word in argv)])
    assert (done.code, done.stdout) == (2, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
