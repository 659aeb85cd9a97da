"""Quality rules and relationships as a contract states them, and the statements that measure them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from connectors.sinks.quality import Outcome, QualityResult
from contracts.odcs.tables import load
from contracts.quality import OPERATORS, Bound, Metric, Rule, Severity, Target
from contracts.quality_sql import library_query, orphans_query, sql_query
from contracts.table import Column, Kind, Table
from tests.contracts.small_contract import contract, load_one, property_of

TABLE = Table("t", (Column("id", Kind.INTEGER), Column("s", Kind.STRING), Column("b", Kind.BOOLEAN)), ("id",))


def rules(**of: list[dict[str, Any]]) -> tuple[Rule, ...]:
    """The rules of the small contract with these rules of properties; `table` stands for the table."""
    document = contract()
    for path, listed in of.items():
        property_of(document, "" if path == "table" else path)["quality"] = listed
    return load_one(document).rules


def test_a_rule_is_an_error_in_rows_unless_the_contract_says_else() -> None:
    (rule,) = rules(n=[{"metric": "nullValues", "mustBe": 0}])
    assert rule == Rule("nullValues of n", Metric.NULL_VALUES, (Bound("mustBe", (Decimal(0),)),), columns=(("n",),))
    assert rule.severity is Severity.ERROR
    (rule,) = rules(
        n=[{"rule": "nullValues", "mustBeLessThan": 0.1, "unit": "Percent", "severity": "INFO", "name": "x"}]
    )
    assert (rule.name, rule.percent, rule.severity) == ("x", True, Severity.INFO)
    assert rule.expected == "must be less than 0.1 per cent"


def test_text_is_for_people() -> None:
    assert rules(n=[{"type": "text", "description": "round"}]) == ()


def test_rules_of_one_name_are_told_apart() -> None:
    each = {"metric": "nullValues", "mustBe": 0}
    assert [rule.name for rule in rules(n=[each, each, {**each, "id": "x"}])] == [
        "nullValues of n",
        "nullValues of n (2)",
        "x",
    ]


HOLDS = {
    "mustBe": (False, True, False, False),
    "mustNotBe": (True, False, True, True),
    "mustBeGreaterThan": (False, False, True, True),
    "mustBeGreaterOrEqualTo": (False, True, True, True),
    "mustBeLessThan": (True, False, False, False),
    "mustBeLessOrEqualTo": (True, True, False, False),
    "mustBeBetween": (False, True, True, False),
    "mustNotBeBetween": (True, False, False, True),
}


@pytest.mark.parametrize("operator", OPERATORS)
def test_an_operator_is_what_its_name_says(operator: str) -> None:
    numbers = (Decimal(5), Decimal(7)) if operator.endswith("Between") else (Decimal(5),)
    assert tuple(Bound(operator, numbers).holds(Decimal(value)) for value in (4, 5, 7, 8)) == HOLDS[operator]


FOREIGN = """apiVersion: v3.1.0
kind: DataContract
id: rides
version: 1.0.0
schema:
  - id: rides_tbl
    name: rides
    relationships: [RELATION]
    properties:
      - {id: zone_prop, name: zone, physicalName: zone_name, logicalType: string}
      - {name: n, logicalType: integer}
      - {name: place, logicalType: object, properties: [{name: zone, logicalType: string, relationships: [NESTED]}]}
"""
ZONES = """apiVersion: v3.1.0
kind: DataContract
id: zones
version: 1.0.0
schema:
  - id: zones_tbl
    name: zones
    physicalName: all_zones
    properties:
      - {id: zone_id, name: zone, logicalType: string}
      - {name: n, logicalType: integer}
"""


def related(relation: str, nested: str = "") -> Table:
    text = FOREIGN.replace("[RELATION]", f"[{relation}]").replace("[NESTED]", f"[{nested}]")
    return load([("rides.odcs.yaml", text), ("zones.odcs.yaml", ZONES)])["rides"]


@pytest.mark.parametrize(
    "relation",
    [
        "{from: rides.zone, to: zones.zone}",
        "{type: foreignKey, from: schema/rides_tbl/properties/zone_prop, to: schema/zones_tbl/properties/zone_id}",
        "{from: schema/rides/properties/zone, to: zones.odcs.yaml#/schema/zones_tbl/properties/zone_id}",
        "{from: rides.zone, to: 'https://example.com/zones.odcs.yaml#zones.zone'}",
    ],
)
def test_a_relationship_names_columns_by_names_or_ids(relation: str) -> None:
    (rule,) = related(relation).rules
    assert (rule.metric, rule.severity, rule.columns) == (Metric.ORPHANS, Severity.WARNING, (("zone_name",),))
    assert rule.target == Target("all_zones", (("zone",),))


def test_a_relationship_of_several_columns_and_one_within_an_object() -> None:
    relation = "{from: [rides.zone, rides.n], to: [zones.zone, zones.n]}"
    strict = "{to: zones.zone, customProperties: [{property: severity, value: error}]}"
    both, nested = related(relation, strict).rules
    assert (both.columns, both.target) == ((("zone_name",), ("n",)), Target("all_zones", (("zone",), ("n",))))
    assert (nested.columns, nested.severity) == ((("place", "zone"),), Severity.ERROR)


def test_the_statements_read_the_loaded_rows_only() -> None:
    """The condition names the run and its partitions: it is on the table itself, where BigQuery prunes by it."""
    null = Rule("a", Metric.NULL_VALUES, (), columns=(("s",),))
    invalid = Rule("b", Metric.INVALID_VALUES, (), columns=(("b",),), values=("true", None), pattern='"')
    missing = Rule("c", Metric.MISSING_VALUES, (), columns=(("id",),), values=(Decimal("7.0"), "n/a", None))
    assert library_query(TABLE, "`p`.`d`.`t`", "here", [null, invalid, missing]) == (
        "SELECT COUNT(*) AS total, COUNTIF(`s` IS NULL) AS value_0, COUNTIF(NOT ((`b` IS NULL OR CAST(`b` AS STRING)"
        ' IN ("true")) AND REGEXP_CONTAINS(CAST(`b` AS STRING), "\\""))) AS value_1,'
        ' COUNTIF((`id` IS NULL OR `id` IN (7.0) OR CAST(`id` AS STRING) IN ("n/a"))) AS value_2'
        " FROM `p`.`d`.`t` WHERE here"
    )
    rule = Rule("d", Metric.SQL, (), columns=(("s",),), query="SELECT {property} FROM ${object} -- {other}")
    assert sql_query(TABLE, "x", "here", rule) == (
        "WITH `t` AS (SELECT * FROM x WHERE here)\nSELECT * FROM (\nSELECT s FROM t -- {other}\n)"
    )
    orphans = orphans_query("x", "here", null, Target("u", (("k",),)), "y", "all")
    assert "FROM x WHERE here) AS loaded" in orphans
    assert "FROM y WHERE all) AS target" in orphans


def test_a_result_says_what_is_wrong() -> None:
    (rule,) = rules(n=[{"metric": "nullValues", "mustBe": 0, "unit": "percent", "severity": "warning"}])
    broken = QualityResult("sales", rule, Outcome.BROKEN, Decimal(100) / 3)
    assert str(broken) == "sales: nullValues of n is 33.3333, must be 0 per cent"
    assert not broken.fails_run
    failed = QualityResult("sales", rule, Outcome.FAILED, None, "no such table")
    assert str(failed) == "sales: nullValues of n cannot be checked: no such table"
    assert failed.fails_run
