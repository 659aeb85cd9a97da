"""How an existing table may differ from what its contract says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from google.cloud.bigquery import SchemaField, Table

from connectors.bigquery.table_spec import TableSpec, extended, incompatibilities, lacking

FIELDS = (SchemaField("id", "STRING"), SchemaField("_ingested_at", "TIMESTAMP"))
SPEC = TableSpec("d", "t", FIELDS, default_clustering=("_ingested_at",))


def clustered(*names: str) -> Table:
    """An existing table."""
    table = Table("p.d.t", schema=FIELDS)
    table.clustering_fields = list(names) or None
    return table


@pytest.mark.parametrize("names", [(), ("_ingested_at",)])
def test_a_contract_without_clustering_fits_the_default_and_a_table_without(names: tuple[str, ...]) -> None:
    assert SPEC.created_clustering == ("_ingested_at",)
    assert incompatibilities(SPEC, clustered(*names)) == []


def test_another_clustering_is_named() -> None:
    said = "it is clustered by id, the contract says nothing"
    assert incompatibilities(SPEC, clustered("id")) == [said]
    by_contract = replace(SPEC, clustering=("id",))
    assert by_contract.created_clustering == ("id",)
    assert incompatibilities(by_contract, clustered("id")) == []
    said = "it is clustered by _ingested_at, the contract says id"
    assert incompatibilities(by_contract, clustered("_ingested_at")) == [said]
    assert incompatibilities(by_contract, clustered()) == ["it is clustered by nothing, the contract says id"]


def box(*fields: SchemaField, mode: str = "NULLABLE") -> SchemaField:
    """An object of these fields."""
    return SchemaField("box", "RECORD", mode, fields=fields)


W, H, D = (SchemaField(name, "INTEGER") for name in "whd")
TIGHT = SchemaField("lid", "RECORD", "REQUIRED", fields=(SchemaField("kind", "STRING", "REQUIRED"),))
LOOSE = SchemaField("lid", "RECORD", "NULLABLE", fields=(SchemaField("kind", "STRING", "NULLABLE"),))


@pytest.mark.parametrize("mode", ["NULLABLE", "REPEATED"])
def test_a_field_in_the_middle_of_an_object_is_added_behind_those_that_exist(mode: str) -> None:
    spec = TableSpec("d", "t", (SchemaField("id", "STRING"), box(W, D, TIGHT, H, mode=mode)))
    table = Table("p.d.t", schema=(box(W, H, mode=mode), SchemaField("old", "STRING")))
    assert incompatibilities(spec, table) == []
    assert [added.path for added in lacking(spec, table)] == ["id", "box.d", "box.lid"]
    assert extended(spec.schema, table.schema) == [
        box(W, H, D, LOOSE, mode=mode),
        SchemaField("old", "STRING"),
        SchemaField("id", "STRING"),
    ]


def test_names_are_compared_without_case_at_any_depth() -> None:
    spec = TableSpec("d", "t", (box(W, H, box(D)),))
    table = Table("p.d.t", schema=(SchemaField("BOX", "RECORD", fields=(H, SchemaField("W", "INTEGER"), box(D))),))
    assert (incompatibilities(spec, table), lacking(spec, table)) == ([], [])
    assert extended(spec.schema, table.schema) == table.schema


def test_a_field_that_only_the_table_has_must_not_be_required() -> None:
    spec, said = TableSpec("d", "t", (box(W),)), "the table requires column box.lid, which the contract does not have"
    assert incompatibilities(spec, Table("p.d.t", schema=(box(W, H),))) == []
    assert incompatibilities(spec, Table("p.d.t", schema=(box(W, TIGHT),))) == [said]
