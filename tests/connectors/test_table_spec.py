"""How an existing table may differ from what its contract says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from google.cloud.bigquery import SchemaField, Table

from connectors.bigquery.table_spec import TableSpec, incompatibilities

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
