"""Contracts that are refused: each construct that is not supported and each bad value, by name and in one line."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from contracts.errors import UsageError
from contracts.odcs.tables import load
from tests.contracts.small_contract import contract, load_one, property_of


def problem(document: dict[str, Any]) -> str:
    """The message about a document that is refused: one line for each problem."""
    with pytest.raises(UsageError) as caught:
        load_one(document)
    message = str(caught.value)
    assert all(line.startswith("shop.odcs.yaml") for line in message.split("\n"))
    return message


REFUSED_PROPERTIES: list[tuple[str, dict[str, Any], str]] = [  # path of the property, what is put there, what is said
    ("n", {"quality": [{"type": "text", "mustBe": 1}]}, "construct 'quality.mustBe' is not supported"),
    ("n", {"quality": [{"type": "text", "shouldBe": 1}]}, "construct 'quality.shouldBe' is not part of the standard"),
    ("n", {"quality": [{"type": "library", "mustBe": 0}]}, "construct 'quality' has a rule without metric"),
    ("n", {"quality": [{"type": "sql", "mustBe": 0}]}, "construct 'quality' has a rule of type sql without query"),
    (
        "n",
        {"quality": [{"metric": "nullValues", "mustBee": 0}]},
        "construct 'quality.mustBee' is not part of the standard",
    ),
    ("n", {"quality": [{"type": "custom", "engine": "soda"}]}, "construct 'quality' of type custom is for soda: a run"),
    ("n", {"quality": [{"type": "ai", "mustBe": 0}]}, "'quality.type' must be text, library or sql, not 'ai'"),
    ("n", {"quality": [{"metric": "nullValues"}]}, "construct 'quality' has a rule without an operator: mustBe, "),
    ("n", {"quality": [{"metric": "mean", "mustBe": 0}]}, "'quality.metric' mean is not a metric of a property; nullV"),
    ("n", {"quality": [{"metric": "rowCount", "mustBe": 0}]}, "rowCount is not a metric of a property"),
    ("", {"quality": [{"metric": "nullValues", "mustBe": 0}]}, "nullValues is not a metric of a table; rowCount, dupl"),
    ("", {"quality": [{"metric": "rowCount", "mustBe": 0, "unit": "percent"}]}, "'quality.unit' of rowCount is rows"),
    ("n", {"quality": [{"metric": "nullValues", "mustBe": 0, "unit": "kg"}]}, "must be rows or percent, not 'kg'"),
    ("n", {"quality": [{"metric": "nullValues", "mustBe": 0, "severity": "bad"}]}, "one of error, warning, info, not"),
    ("n", {"quality": [{"metric": "nullValues", "mustBe": "0"}]}, "'quality.mustBe' must be a number, not '0'"),
    ("n", {"quality": [{"metric": "nullValues", "mustBe": [1]}]}, "'quality.mustBe' must be a number, not [1]"),
    ("n", {"quality": [{"metric": "nullValues", "mustBeBetween": [2, 1]}]}, "must have the smaller number first"),
    ("n", {"quality": [{"metric": "nullValues", "mustBe": 0, "query": "x"}]}, "'quality.query' belongs to a rule of"),
    ("n", {"quality": [{"type": "sql", "query": "x", "metric": "rowCount", "mustBe": 0}]}, "does not belong to a rule"),
    ("n", {"quality": [{"type": "sql", "query": "x", "unit": "percent", "mustBe": 0}]}, "percent does not belong to"),
    (
        "n",
        {"quality": [{"metric": "nullValues", "mustBe": 0, "arguments": {"pattern": "x"}}]},
        "'quality.arguments.pattern' is not part of the standard",
    ),
    ("n", {"quality": [{"metric": "invalidValues", "mustBe": 0}]}, "of invalidValues needs validValues or pattern"),
    (
        "n",
        {"quality": [{"metric": "invalidValues", "mustBe": 0, "arguments": {"validValues": "a"}}]},
        "'quality.arguments.validValues' must be a list of values, not 'a'",
    ),
    (
        "sale_id",
        {"quality": [{"metric": "invalidValues", "mustBe": 0, "arguments": {"pattern": "(?=a)"}}]},
        "'quality.arguments.pattern' '(?=a)' looks ahead",
    ),
    (
        "who",
        {"quality": [{"metric": "invalidValues", "mustBe": 0, "arguments": {"validValues": ["a"]}}]},
        "invalidValues is not supported for RECORD",
    ),
    ("who", {"quality": [{"metric": "missingValues", "mustBe": 0}]}, "must be [null] for RECORD"),
    ("who", {"quality": [{"metric": "duplicateValues", "mustBe": 0}]}, "duplicateValues is for single values; who"),
    (
        "",
        {"quality": [{"metric": "duplicateValues", "mustBe": 0, "arguments": {"properties": ["nn"]}}]},
        "'quality.arguments.properties' must list properties of the table, not ['nn']",
    ),
    ("", {"quality": [{"metric": "duplicateValues", "mustBe": 0}]}, "must list properties of the table, not None"),
    (
        "n",
        {"quality": [{"metric": "duplicateValues", "mustBe": 0, "arguments": {"properties": ["n"]}}]},
        "'quality.arguments.properties' belongs to a rule of the table",
    ),
    ("tags", {"quality": [{"metric": "nullValues", "mustBe": 0}]}, "'quality' is within an array"),
    ("n", {"relationships": [{"type": "foreignKey"}]}, "construct 'relationships' has no 'to'"),
    ("n", {"relationships": [{"to": "sales.n", "from": "sales.n"}]}, "'relationships.from' is the property itself"),
    ("n", {"relationships": [{"to": "sales.m"}]}, "'relationships.to' names sales.m, which is not a property of that"),
    ("n", {"relationships": [{"to": "sales.sale_id"}]}, "compares n with sale_id: INTEGER and STRING"),
    ("n", {"relationships": [{"to": "sales.tags"}]}, "is for single values; tags has none that can be"),
    ("n", {"relationships": [{"to": "sales.n", "type": "lookup"}]}, "'relationships.type' must be foreignKey"),
    ("n", {"relationships": [{"to": ["sales.n", "sales.n"]}]}, "names 2 properties, but 'from' 1"),
    ("n", {"relationships": [{"to": [1]}]}, "construct 'to' is not valid: Input should be a valid string"),
    ("", {"relationships": [{"to": "sales.n"}]}, "construct 'relationships' has no 'from'"),
    ("", {"relationships": [{"from": "others.n", "to": "sales.n"}]}, "must name properties of this table, not others"),
    (
        "n",
        {"relationships": [{"to": "sales.n", "customProperties": [{"property": "severity", "value": "bad"}]}]},
        "'relationships.customProperties severity' must be one of error, warning, info, not 'bad'",
    ),
    # types: docs/examples/data-types/all-data-types.odcs.yaml, schema/map.odcs.yaml (v3.2)
    ("n", {"logicalType": "duration"}, "construct 'logicalType' duration is not supported; string, integer"),
    ("n", {"logicalType": "vector"}, "construct 'logicalType' vector is not supported"),
    ("n", {"logicalType": "varchar"}, "construct 'logicalType' varchar is not supported"),
    ("n", {"logicalType": "map", "map": {"key": {"logicalType": "string"}}}, "construct 'map' is not supported"),
    ("n", {"logicalType": None}, "construct 'logicalType' is missing"),
    ("n", {"items": {"logicalType": "string"}}, "construct 'items' belongs to an array, not to integer"),
    ("n", {"properties": [{"name": "a", "logicalType": "string"}]}, "'properties' belongs to an object"),
    ("tags", {"items": None}, "construct 'items' is missing"),
    ("tags", {"items": {"logicalType": "array", "items": {"logicalType": "string"}}}, "no arrays of arrays"),
    ("tags", {"enum": [{"value": "a"}]}, "construct 'enum' belongs in items"),
    ("tags", {"properties": [{"name": "a", "logicalType": "string"}]}, "'properties' belongs in items"),
    ("who", {"properties": []}, "construct 'properties' is missing: an object needs fields"),
    ("n", {"semanticType": "measure"}, "construct 'semanticType' measure is not supported"),
    # physicalType
    ("n", {"physicalType": "STRING"}, "construct 'physicalType' STRING contradicts logicalType integer"),
    ("amount", {"physicalType": "DATE"}, "DATE contradicts logicalType number"),
    ("at", {"physicalType": "INTERVAL"}, "construct 'physicalType' INTERVAL is a type that is not supported"),
    ("day", {"physicalType": "DATETIME"}, "DATETIME contradicts logicalType date"),
    ("n", {"physicalType": "BIGNUMERIC"}, "BIGNUMERIC contradicts logicalType integer"),
    ("n", {"physicalType": "json"}, "json contradicts logicalType integer"),
    ("amount", {"physicalType": "NUMERIC(40,2)"}, "too many digits: BigQuery has 29 before the point and 9 behind it"),
    ("amount", {"physicalType": "DECIMAL(38,18)"}, "write BIGNUMERIC(38, 18)"),
    ("amount", {"physicalType": "BIGNUMERIC(80,38)"}, "BigQuery has 38 before the point and 38 behind it"),
    ("amount", {"physicalType": "NUMERIC(2,3)"}, "NUMERIC(2,3) has too many digits"),
    ("amount", {"physicalType": "NUMERIC(x)"}, "NUMERIC(x) has parameters that are not supported"),
    ("sale_id", {"physicalType": "ARRAY<STRING>"}, "ARRAY<STRING> is a type that is not supported"),
    ("amount", {"physicalType": "DECIMAL(18,-2)"}, "DECIMAL(18,-2) has parameters that are not supported"),
    ("sale_id", {"physicalType": "VARCHAR(20 CHAR)"}, "VARCHAR(20 CHAR) has parameters that are not supported"),
    ("who", {"physicalType": "STRUCT<city INT64>"}, "STRUCT<city INT64> has parameters"),
    ("tags", {"physicalType": "ARRAY<INT64>"}, "ARRAY<INT64> contradicts logicalType array of string"),
    ("tags", {"physicalType": "STRING"}, "STRING contradicts logicalType array of string"),
    # logicalTypeOptions
    ("amount", {"logicalTypeOptions": {"multipleOf": 0}}, "'logicalTypeOptions.multipleOf' must be a number greater"),
    ("n", {"logicalTypeOptions": {"multipleOf": 0.5}}, "0.5 has more than the 0 decimals of INTEGER"),
    (
        "amount",
        {"physicalType": "FLOAT64", "logicalTypeOptions": {"multipleOf": 2}},
        "'logicalTypeOptions.multipleOf' is not supported for FLOAT",
    ),
    ("tags", {"logicalTypeOptions": {"minItems": 1}}, "'logicalTypeOptions.minItems' is not supported"),
    ("tags", {"logicalTypeOptions": {"maxItems": 0}}, "'logicalTypeOptions.maxItems' is not supported"),
    ("tags", {"logicalTypeOptions": {"uniqueItems": True}}, "'logicalTypeOptions.uniqueItems' is not supported"),
    ("who", {"logicalTypeOptions": {"maxProperties": 5}}, "'logicalTypeOptions.maxProperties' is not supported"),
    ("who", {"logicalTypeOptions": {"required": ["zip"]}}, "must list fields of the object (city), not ['zip']"),
    ("who", {"logicalTypeOptions": {"required": "city"}}, "must list fields of the object (city), not 'city'"),
    ("n", {"logicalTypeOptions": {"minimun": 1}}, "'logicalTypeOptions.minimun' is not part of the standard (did you"),
    ("n", {"logicalTypeOptions": {"enum": [1]}}, "'logicalTypeOptions.enum' is not part of the standard"),
    ("sale_id", {"logicalTypeOptions": {"minimum": 1}}, "'logicalTypeOptions.minimum' is not part of the standard"),
    ("open", {"logicalTypeOptions": {"format": "yes/no"}}, "'logicalTypeOptions.format' is not part of the standard"),
    ("n", {"logicalTypeOptions": {"minimum": "1"}}, "'logicalTypeOptions.minimum' must be a number, not '1'"),
    ("n", {"logicalTypeOptions": {"maximum": float("inf")}}, "'logicalTypeOptions.maximum' must be a number, not inf"),
    ("n", {"logicalTypeOptions": {"minimum": True}}, "'logicalTypeOptions.minimum' must be a number, not True"),
    ("n", {"logicalTypeOptions": {"exclusiveMinimum": True}}, "'logicalTypeOptions.exclusiveMinimum' is true without"),
    ("n", {"logicalTypeOptions": {"minimum": 2, "maximum": 1}}, "leaves no value between 2 and 1"),
    ("n", {"logicalTypeOptions": {"minimum": 2, "exclusiveMaximum": 2}}, "leaves no value between 2 and 2"),
    ("n", {"logicalTypeOptions": {"format": "u64"}}, "'u64' is not supported for integer"),
    ("amount", {"logicalTypeOptions": {"format": "f32"}}, "'f32' is not supported for number"),
    ("amount", {"physicalType": "NUMERIC", "logicalTypeOptions": {"format": "f64"}}, "is not supported for NUMERIC"),
    ("sale_id", {"logicalTypeOptions": {"format": "uri"}}, "'uri' is not supported for string; email, uuid"),
    ("sale_id", {"logicalTypeOptions": {"minLength": -1}}, "'logicalTypeOptions.minLength' must be a whole number"),
    ("sale_id", {"logicalTypeOptions": {"maxLength": "5"}}, "'logicalTypeOptions.maxLength' must be a whole number"),
    ("sale_id", {"logicalTypeOptions": {"minLength": 9, "maxLength": 5}}, "9 is more than the greatest length 5"),
    ("sale_id", {"physicalType": "CHAR(5)", "logicalTypeOptions": {"minLength": 9}}, "9 is more than the greatest"),
    ("sale_id", {"logicalTypeOptions": {"pattern": "(a"}}, "'(a' is not a regular expression"),
    ("sale_id", {"logicalTypeOptions": {"pattern": "\\"}}, "is not a regular expression"),
    ("sale_id", {"logicalTypeOptions": {"pattern": r"\p{L}"}}, "is not a regular expression"),
    ("sale_id", {"logicalTypeOptions": {"pattern": r"a\Z"}}, r"\Z, which means nothing in ECMA-262"),
    ("sale_id", {"logicalTypeOptions": {"pattern": 5}}, "'logicalTypeOptions.pattern' must be a text, not 5"),
    ("day", {"logicalTypeOptions": {"format": "dd.MM.YYYY"}}, "has YYYY, which is not supported (the year of a week;"),
    ("day", {"logicalTypeOptions": {"format": "DD.MM.yyyy"}}, "has DD, which is not supported (the day of a year;"),
    ("day", {"logicalTypeOptions": {"format": "QQ yyyy"}}, "has QQ, which is not supported (supported are y M d E H"),
    ("day", {"logicalTypeOptions": {"format": "MM.yyyy"}}, "has a part of a date, but no d"),
    ("day", {"logicalTypeOptions": {"format": "HH:mm"}}, "has no year, but the column is a DATE"),
    ("at", {"logicalTypeOptions": {"format": "dd.MM.yyyy hh:mm"}}, "needs h and a together"),
    ("at", {"logicalTypeOptions": {"format": "dd.MM.yyyy HH:mm", "timezone": True}}, "has no letter of a zone"),
    ("at", {"logicalTypeOptions": {"format": "dd.MM.yyyy HH:mmX", "timezone": False}}, "has a letter of a zone"),
    ("at", {"physicalType": "DATETIME", "logicalTypeOptions": {"timezone": True}}, "contradicts physicalType DATETIME"),
    (
        "at",
        {"physicalType": "DATETIME", "logicalTypeOptions": {"defaultTimezone": "Asia/Tokyo"}},
        "contradicts physicalType DATETIME",
    ),
    ("at", {"logicalTypeOptions": {"defaultTimezone": "Sydney"}}, "'Sydney' is not the name of a zone"),
    ("at", {"logicalTypeOptions": {"defaultTimezone": 2}}, "2 is not the name of a zone"),
    ("at", {"logicalTypeOptions": {"timezone": "UTC"}}, "'logicalTypeOptions.timezone' must be true or false"),
    ("day", {"logicalTypeOptions": {"timezone": True}}, "'logicalTypeOptions.timezone' is not part of the standard"),
    ("day", {"logicalTypeOptions": {"minimum": "01.02.2020"}}, "must be a date (YYYY-MM-DD), not '01.02.2020'"),
    ("at", {"logicalTypeOptions": {"maximum": 5}}, "must be an ISO 8601 timestamp, not 5"),
    (
        "day",
        {"logicalTypeOptions": {"exclusiveMinimum": "9999-12-31"}},
        "an exclusive bound at the end of the calendar",
    ),
    ("day", {"logicalTypeOptions": {"minimum": "2020-02-01", "maximum": "2020-01-01"}}, "leaves no value between"),
    # enum: docs/examples/schema/enum.odcs.yaml, src/script/negative-tests/enum-*.odcs.yaml (v3.2)
    ("sale_id", {"enum": []}, "construct 'enum' has no value"),
    ("sale_id", {"enum": [{"value": False}]}, "has the value False, not of type str; put it in quotes"),
    ("sale_id", {"enum": [{"label": "a"}]}, "has the value None, not of type str"),
    ("n", {"enum": [{"value": 1.5}]}, "has the value 1.5, not of type int"),
    ("n", {"enum": [{"value": 1}, {"value": 1}]}, "has the value 1 twice"),
    ("n", {"enum": [{"value": 1, "weight": 2}]}, "construct 'enum.weight' is not part of the standard"),
    ("amount", {"enum": [{"value": 1}]}, "is supported for string and integer, not for NUMERIC"),
    # keys
    ("sale_id", {"primaryKeyPosition": 2}, "construct 'primaryKeyPosition' must count from 1 to 1, not [2]"),
    ("n", {"primaryKeyPosition": 1}, "construct 'primaryKeyPosition' is given without primaryKey: true"),
    ("n", {"primaryKey": True, "primaryKeyPosition": 1}, "must count from 1 to 2, not [-1, 1]"),
    ("amount", {"physicalType": "FLOAT64", "primaryKey": True}, "construct 'primaryKey' cannot be FLOAT"),
    ("who", {"primaryKey": True}, "construct 'primaryKey' cannot be RECORD"),
    ("tags", {"primaryKey": True}, "construct 'primaryKey' cannot be an array of STRING"),
    ("who.city", {"primaryKey": True}, "property who.city: construct 'primaryKey' is not supported"),
    ("who.city", {"unique": True}, "property who.city: construct 'unique' is not supported"),
    ("lines.items.sku", {"transformLogic": "n"}, "property lines.items.sku: construct 'transformLogic' is not supp"),
    ("tags.items", {"unique": True}, "property tags.items: construct 'unique' is not supported"),
    ("tags.items", {"classification": "secret"}, "property tags.items: construct 'classification' is not supported"),
    ("tags.items", {"physicalName": "x"}, "property tags.items: construct 'physicalName' is not supported"),
    # partitions: docs/examples/schema/table-columns-with-partition.odcs.yaml
    ("n", {"partitioned": True}, "needs a date or timestamp column, not INTEGER"),
    ("day", {"partitioned": True, "partitionKeyPosition": 2}, "is supported for one column of a table"),
    ("day", {"partitionKeyPosition": 1}, "is given without partitioned: true"),
    ("who.city", {"partitioned": True}, "property who.city: construct 'partitioned' is not supported"),
    # unknown or ill-typed: src/script/negative-tests/*.odcs.yaml
    ("n", {"requierd": True}, "construct 'requierd' is not part of the standard (did you mean 'required'?)"),
    ("n", {"nullable": None}, "construct 'nullable' is not part of the standard"),
    ("", {"partitionBy": "at"}, "table sales: construct 'partitionBy' is not part of the standard"),
    ("n", {"required": "yes"}, "property n: construct 'required' is not valid: Input should be a valid boolean (found"),
    ("lines.items.sku", {"unique": 1}, "property lines.items.sku: construct 'unique' is not valid"),
    ("n", {"logicalTypeOptions": [1]}, "property n: construct 'logicalTypeOptions' is not valid"),
    ("n", {"name": None}, "property number 2: construct 'name' is missing"),
    ("n", {"description": "x" * 1025}, "construct 'description' is longer than the 1024 characters"),
    # names
    (
        "n",
        {"name": "n; DROP TABLE x"},
        "property n; DROP TABLE x: construct 'name' 'n; DROP TABLE x' is not a valid name",
    ),
    ("n", {"name": "n` INT64, `m"}, "is not a valid name: a letter, then letters, digits and _"),
    ("n", {"name": "unit price"}, "put the field's own name there and the column's as physicalName"),
    ("n", {"name": "n", "physicalName": "a`b"}, "construct 'physicalName' 'a`b' is not a valid name"),
    ("n", {"name": "1st"}, "'1st' is not a valid name"),
    ("n", {"name": "größe"}, "'größe' is not a valid name"),
    ("n", {"name": "a" * 301}, "is not a valid name"),
    ("n", {"name": "n\n"}, "is not a valid name"),
    ("n", {"name": "_source"}, "'_source' is not a valid name"),
    ("n", {"name": "_PARTITIONTIME"}, "'_PARTITIONTIME' is not a valid name"),
    ("n", {"name": "Amount"}, "construct 'name' amount is duplicated (BigQuery ignores case)"),
    ("who.city", {"name": "c`"}, "property who.c`: construct 'name' 'c`' is not a valid name"),
    ("", {"name": "sales` (x INT64); --"}, "construct 'name' 'sales` (x INT64); --' is not a valid name"),
    ("", {"name": "../sales"}, "construct 'name' '../sales' is not a valid name"),
    ("", {"physicalName": "a.b"}, "table sales: construct 'physicalName' 'a.b' is not a valid name"),
    ("", {"name": None}, "construct 'schema' has a table without a name"),
    ("n", {"name": "amount", "physicalName": "n"}, "construct 'name' is duplicated; a second column of the same field"),
    # the table
    ("", {"properties": []}, "table sales: construct 'properties' is missing"),
    ("", {"physicalType": "view"}, "construct 'physicalType' view is not supported for a table"),
    ("", {"logicalType": "array"}, "table sales: construct 'logicalType' must be object, not array"),
    # derived columns: full-example and measures-and-dimensions of the standard
    ("total", {"transformLogic": "sel t1.d as x from t1 where t1.d=date-3"}, "is not an SQL expression over columns"),
    ("total", {"transformLogic": "SUM(amount)"}, "spans rows (an aggregate or an unnesting)"),
    ("total", {"transformLogic": "amount - MAX(amount)"}, "spans rows"),
    ("total", {"transformLogic": "ROUND(SUM(n * amount), 2)"}, "spans rows"),
    ("total", {"transformLogic": "amount + COUNT(*)"}, "spans rows"),
    ("total", {"logicalType": "string", "transformLogic": "UNNEST(tags)"}, "spans rows"),
    ("total", {"transformLogic": "LAG(n * amount) OVER (ORDER BY at)"}, "uses OVER"),
    ("total", {"transformLogic": "LAG(n * amount) OVER w"}, "uses OVER"),
    ("total", {"transformLogic": "amount * (SELECT 1)"}, "uses SELECT"),
    ("total", {"logicalType": "boolean", "transformLogic": "at > now ()"}, "uses NOW"),
    ("total", {"logicalType": "date", "transformLogic": "COALESCE(day, current_date)"}, "uses CURRENT_DATE"),
    ("total", {"transformLogic": "n * amount; DROP TABLE x"}, "is not an SQL expression"),
    ("total", {"transformLogic": "n, amount"}, "is not an SQL expression"),
    ("total", {"transformLogic": "n * price"}, "uses price, which is not a column of the table"),
    ("total", {"transformLogic": "total + 1"}, "uses total, which is itself derived"),
    ("total", {"transformLogic": "1"}, "uses no column of the table"),
    ("total", {"transformLogic": " "}, "construct 'transformLogic' is empty"),
    ("total", {"transformLogic": "amount * 1.5e0"}, "gives Float64, not NUMERIC"),
    ("total", {"logicalType": "string"}, "gives Decimal"),
    ("total", {"transformLogic": "who.zip"}, "cannot be computed"),
    ("total", {"unique": True}, "construct 'unique' cannot be combined with transformLogic"),
    ("total", {"primaryKey": True}, "construct 'primaryKey' cannot be combined with transformLogic"),
]


@pytest.mark.parametrize(("path", "change", "said"), REFUSED_PROPERTIES)
def test_what_is_not_supported_is_refused_by_name(path: str, change: dict[str, Any], said: str) -> None:
    document = contract()
    property_of(document, path).update(change)
    assert said in problem(document)


REFUSED_CUSTOM_PROPERTIES: list[tuple[str, str, Any, str]] = [
    ("", "datset", "x", "construct 'customProperties datset' is not supported; did you mean dataset?"),
    (
        "",
        "WriteDispostion",
        "merge",
        "construct 'customProperties WriteDispostion' is not supported; did you mean write",
    ),
    ("", "dataset", "a.b", "construct 'customProperties dataset' 'a.b' is not a valid name"),
    ("", "dataset", 5, "construct 'customProperties dataset' '5' is not a valid name"),
    ("", "writeDisposition", "overwrite", "must be one of append, merge, replace, not 'overwrite'"),
    ("", "unknownFields", ["keep"], "must be one of ignore, reject, keep, not ['keep']"),
    ("", "versionBy", "updated", "names 'updated', which is not a column of the table"),
    ("", "versionBy", "who", "names who, which is RECORD"),
    ("", "clustering", "n", "must list one to 4 different columns, not 'n'"),
    ("", "clustering", [], "must list one to 4 different columns"),
    ("", "clustering", ["n", "n"], "must list one to 4 different columns"),
    ("", "clustering", ["sale_id", "n", "amount", "at", "day"], "must list one to 4 different columns"),
    ("", "clustering", ["tags"], "names tags, which is an array of STRING"),
    ("", "clustering", [{"n": 1}], "names {'n': 1}, which is not a column of the table"),
    ("", "csv", ";", "construct 'customProperties csv' must be a mapping"),
    ("", "csv", {"separator": ";"}, "'customProperties csv.separator' is not part of the standard"),
    ("", "csv", {"delimiter": "::"}, "'customProperties csv.delimiter' must be one ASCII character, not '::'"),
    ("", "csv", {"delimiter": "\n"}, "'customProperties csv.delimiter' must be one ASCII character"),
    ("", "csv", {"quote": 1}, "'customProperties csv.quote' must be one ASCII character, not 1"),
    ("", "csv", {"quote": ","}, "has the same character as delimiter and quote"),
    ("", "csv", {"encoding": "latin9000"}, "'latin9000' is not a text encoding"),
    ("", "csv", {"encoding": "rot13"}, "rot13 is not supported"),
    ("", "csv", {"encoding": 8}, "8 is not a text encoding"),
    ("", "csv", {"nulls": [None]}, "'customProperties csv.nulls' must be a list of texts"),
    ("n", "dataset", "x", "property n: construct 'customProperties dataset' is not supported; supported here: source"),
    ("n", "source", "", "must be a path such as user.id or a list of names, not ''"),
    ("n", "source", "user..id", "must be a path such as user.id"),
    ("n", "source", [], "must be a path such as user.id"),
    ("n", "source", ["user", 1], "must be a path such as user.id"),
    ("n", "source", {"a": 1}, "must be a path such as user.id"),
    ("total", "source", "a", "construct 'customProperties' cannot be combined with transformLogic"),
    ("tags.items", "source", "a", "property tags.items: construct 'customProperties source' is not supported"),
    ("tags", "epoch", "s", "construct 'customProperties epoch' belongs in items"),
    ("n", "epoch", "s", "construct 'customProperties epoch' is for dates and timestamps, not for INTEGER"),
    ("at", "epoch", "min", "must be one of days, s, ms, us, ns, not 'min'"),
    ("at", "epoch", "days", "days is for dates only"),
    ("at", "numberFormat", {}, "construct 'customProperties numberFormat' is for numbers, not for TIMESTAMP"),
    ("n", "numberFormat", ",", "must be a mapping of decimal, group and strip"),
    (
        "n",
        "numberFormat",
        {"comma": ","},
        "construct 'customProperties numberFormat.comma' is not part of the standard",
    ),
    ("n", "numberFormat", {"decimal": ";"}, "decimal must be '.' or ','"),
    ("n", "numberFormat", {"decimal": ",", "group": ","}, "decimal and group are both ','"),
    ("n", "numberFormat", {"group": "x"}, "group must be one of"),
    ("n", "numberFormat", {"strip": ["-"]}, "strip has '-'; a sign is"),
    ("n", "numberFormat", {"strip": [1]}, "must have texts (in quotes)"),
    ("", "identity", "record", "'record' contradicts the primary key sale_id"),
    ("", "identity", "row", "construct 'customProperties identity' 'row' contradicts the primary key"),
    ("n", "trim", "yes", "construct 'customProperties trim' must be true or false, not 'yes'"),
    ("", "csv", {"header": "no"}, "construct 'customProperties csv.header' must be true or false, not 'no'"),
    ("", "csv", {"raggedRows": 1}, "construct 'customProperties csv.raggedRows' must be true or false, not 1"),
    ("", "csv", {"skipLines": -1}, "construct 'customProperties csv.skipLines' must be a number of lines up to 10,000"),
    ("", "csv", {"skipLines": True}, "construct 'customProperties csv.skipLines' must be a number of lines"),
    ("", "csv", {"escape": "ab"}, "construct 'customProperties csv.escape' must be one ASCII character, not 'ab'"),
    ("", "csv", {"escape": ",", "comment": "#"}, "has the same character as delimiter and escape"),
    ("", "csv", {"comment": '"'}, "has the same character as quote and comment"),
    (
        "",
        "partition",
        {"by": "month"},
        "construct 'customProperties partition' needs a column that is partitioned: true",
    ),
    ("", "partition", "month", "construct 'customProperties partition' must be a mapping of by, expirationDays"),
    ("", "partition", {"per": "month"}, "construct 'customProperties partition.per' is not part of the standard"),
    ("", "recordsPath", "a..b", "construct 'customProperties recordsPath' must be a path such as user.id"),
    ("", "files", [], "construct 'customProperties files' must be a glob or a list of up to 100"),
    ("", "files", ["/a"], "'/a' must be below the input"),
    ("", "files", "a/../b", "'a/../b' must be below the input"),
    ("n", "fileName", True, "construct 'customProperties fileName' is for a string, not for INTEGER"),
    ("n", "fileName", "x", "construct 'customProperties fileName' must be true or false"),
    ("n", "pathPart", "a=b", "construct 'customProperties pathPart' must be the name of a folder"),
    ("tags", "pathPart", "a", "construct 'customProperties pathPart' is for single values"),
    ("who.city", "pathPart", "a", "construct 'customProperties pathPart' is not supported"),
    ("", "csv", {"trim": 1}, "construct 'customProperties csv.trim' must be true or false, not 1"),
]


@pytest.mark.parametrize(("path", "name", "value", "said"), REFUSED_CUSTOM_PROPERTIES)
def test_custom_properties_that_mean_nothing_are_refused(path: str, name: str, value: Any, said: str) -> None:
    document = contract()
    property_of(document, path)["customProperties"] = [{"property": name, "value": value}]
    assert said in problem(document)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([{"property": "dataset", "value": "a"}] * 2, "construct 'customProperties dataset' is duplicated"),
        ([{"value": "a"}], "construct 'customProperties None' is not supported"),
        ([{"property": "dataset", "value": "a", "if": "b"}], "'customProperties.if' is not part of the standard"),
        ([{"property": "dataset", "value": "a", "vendor": "b"}], "'customProperties.vendor' is not supported"),
    ],
)
def test_custom_property_entries_are_read_strictly(entries: list[dict[str, Any]], said: str) -> None:
    document = contract()
    property_of(document, "")["customProperties"] = entries
    assert said in problem(document)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "DataProduct"}, "shop.odcs.yaml: construct 'kind' must be DataContract, not 'DataProduct'"),
        ({"kind": None}, "construct 'kind' must be DataContract, not None"),
        ({"apiVersion": "v2.2.2"}, "construct 'apiVersion' must be one of ODCS v3.0.0 to v3.2.x, not 'v2.2.2'"),
        ({"apiVersion": 3}, "construct 'apiVersion' must be one of"),
        ({"apiVersion": "v4.0.0"}, "construct 'apiVersion' must be one of"),
        ({"id": None}, "construct 'id' is missing"),
        ({"version": None}, "construct 'version' is missing"),
        ({"version": 1.0}, "construct 'version' is not valid: Input should be a valid string (found 1.0)"),
        ({"schema": None}, "construct 'schema' is missing"),
        ({"schema": []}, "construct 'schema' is missing"),
        ({"schema": {"name": "x"}}, "construct 'schema' is not valid"),
        ({"schema": ["x"]}, "table number 1: construct 'schema' is not valid"),
        ({"schemas": []}, "construct 'schemas' is not part of the standard (did you mean 'schema'?)"),
        ({"dataset": []}, "construct 'dataset' is not part of the standard"),
        ({"team": 5}, "construct 'team' is not valid"),
        ({"version": "${VERSION:-1}"}, "construct 'variable ${VERSION:-1}' is not supported: write the value itself"),
        ({"customProperties": [{"property": "clustering", "value": ["n"]}]}, "belongs to a table or property under"),
    ],
)
def test_documents_that_are_no_contract_are_refused(change: dict[str, Any], said: str) -> None:
    assert said in problem({**contract(), **change})


def test_variables_in_the_schema_are_refused() -> None:
    # docs/examples/fundamentals/variables.odcs.yaml (v3.2): any text may hold a variable
    document = contract()
    property_of(document, "sale_id")["logicalTypeOptions"] = {"pattern": "^${PREFIX}"}
    assert "construct 'variable ^${PREFIX}' is not supported" in problem(document)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a.odcs.yaml: not a data contract: its top level is not a mapping"),
        ("- a", "a.odcs.yaml: not a data contract"),
        ("a: [", "a.odcs.yaml: not readable as YAML: line 1, column 5: expected the node content"),
        ("a: 1\n---\nb: 2", "a.odcs.yaml: not readable as YAML"),
        ("a: 1\nb: 2\na: 3", "a.odcs.yaml: not readable as YAML: line 3, column 1: key 'a' is duplicated"),
        ("a: \x00", "a.odcs.yaml: not readable as YAML: unacceptable character"),
        ("a: !!python/object:os.system x", "a.odcs.yaml: not readable as YAML: line 1, column 4: could not determine"),
        ("a: !!int x", "a.odcs.yaml: not readable as YAML"),
        ("[" * 5000, "a.odcs.yaml: not readable as YAML"),
        (
            "kind: DataContract\napiVersion: v3.1.0\nid: a\nversion: a\n1: 2\n"
            "schema: [{name: t, properties: [{name: a, logicalType: string}]}]",
            "construct '1' is not part of the standard",
        ),
    ],
)
def test_text_that_is_no_yaml_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        load([("a.odcs.yaml", text)])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_alias_that_holds_itself_is_refused() -> None:
    document = contract()
    who = property_of(document, "who")
    who["properties"].append(who)
    assert "recursion" in problem(document).lower()


@pytest.mark.parametrize("second", ["sales", "SALES"])
def test_a_table_in_two_files_is_refused(second: str) -> None:
    other = contract()
    other["schema"][0]["name"] = second
    with pytest.raises(UsageError, match=f"b.yaml: table {second} is in a.yaml already"):
        load([("a.yaml", yaml.safe_dump(contract())), ("b.yaml", yaml.safe_dump(other))])


def test_a_table_twice_in_one_file_is_refused() -> None:
    document = contract()
    document["schema"] *= 2
    assert "table sales is in shop.odcs.yaml already" in problem(document)


def test_two_partition_columns_are_refused() -> None:
    document = contract()
    for name in ("at", "day"):
        property_of(document, name)["partitioned"] = True
    assert "property day: construct 'partitioned' is supported for one column of a table" in problem(document)


def test_records_nested_deeper_than_bigquery_allows_are_refused() -> None:
    document = contract()
    nested: dict[str, Any] = {"name": "leaf", "logicalType": "string"}
    for level in range(16):
        nested = {"name": f"r{level}", "logicalType": "object", "properties": [nested]}
    property_of(document, "")["properties"].append(nested)
    assert "is nested more than 15 deep" in problem(document)


KEYLESS = [
    (
        [{"property": "writeDisposition", "value": "merge"}],
        "is merge, but the table has no primaryKey: it can only append",
    ),
    ([{"property": "writeDisposition", "value": "replace"}], "is replace, but the table has no primaryKey"),
    ([{"property": "versionBy", "value": "n"}], "construct 'customProperties versionBy' needs a primaryKey"),
    ([{"property": "identity", "value": "key"}], "construct 'customProperties identity' is key, but no property"),
    ([{"property": "identity", "value": "row"}], "must be one of key, position, record, not 'row'"),
]


@pytest.mark.parametrize(("custom", "said"), KEYLESS)
def test_what_needs_a_key_is_refused_without_one(custom: list[dict[str, Any]], said: str) -> None:
    document = contract()
    del property_of(document, "sale_id")["primaryKey"]
    property_of(document, "")["customProperties"] = custom
    assert said in problem(document)


PARTITIONS = [
    ({"by": "week"}, "construct 'customProperties partition.by' must be one of hour, day, month, year, not 'week'"),
    ({"by": "hour"}, "is hour, but column day is a DATE"),
    ({"expirationDays": 0}, "construct 'customProperties partition.expirationDays' must be a number of days, not 0"),
    ({"requireFilter": "yes"}, "construct 'customProperties partition.requireFilter' must be true or false, not 'yes'"),
]


@pytest.mark.parametrize(("value", "said"), PARTITIONS)
def test_partitions_that_bigquery_does_not_have_are_refused(value: dict[str, Any], said: str) -> None:
    document = contract()
    property_of(document, "day")["partitioned"] = True
    property_of(document, "")["customProperties"] = [{"property": "partition", "value": value}]
    assert said in problem(document)
