"""A load that changes more partitions than one statement may: several in one transaction."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from connectors.bigquery.warehouse import JobFailed, Warehouse
from connectors.sinks.destination import table_spec
from connectors.sinks.merge import merge_statement
from connectors.sinks.partition_ranges import MAX_PARTITIONS, conditions, partitions_query
from contracts.table import Column, Kind, PartitionBy, Table, WriteDisposition
from local.service import PROJECT
from local.services import Endpoints

DAYS = 4_500
FIRST = "DATE '2014-01-01'"
KEY, DAY, VALUE = Column("id", Kind.STRING, required=True), Column("day", Kind.DATE), Column("value", Kind.INTEGER)
TABLE = Table("history", (KEY, DAY, VALUE), ("id",), partition="day")
HELD = "TRUE"


@pytest.fixture
def warehouse(local_cloud: tuple[Path, Endpoints], request: pytest.FixtureRequest) -> tuple[Warehouse, str]:
    """A table, and a staging table with a row a day and one without a day."""
    warehouse, dataset = Warehouse(PROJECT, "US"), request.node.name.replace("[", "_").replace(".", "_").rstrip("]")
    warehouse.ensure_dataset(dataset)
    warehouse.ensure_table(table_spec(TABLE, dataset))
    stage(warehouse, dataset, DAYS, value=1)
    return warehouse, dataset


def stage(warehouse: Warehouse, dataset: str, days: int, value: int) -> None:
    """Let the staging table have that many days."""
    lineage = (
        "0 AS _hash, 's' AS _source, 0 AS _position, 'r' AS _run_id, CAST(NULL AS STRING) AS _contract_version,"
        " TIMESTAMP '2026-01-01' AS _ingested_at"
    )
    numbers = f"UNNEST(GENERATE_ARRAY(0, {days})) AS n"
    day = f"IF(n = {days}, NULL, DATE_ADD({FIRST}, INTERVAL n DAY)) AS day"
    warehouse.query(
        f"CREATE OR REPLACE TABLE `{dataset}`.staging AS"
        f" SELECT CAST(n AS STRING) AS id, {day}, {value} AS value, {lineage} FROM {numbers}"
    )


def load(warehouse: Warehouse, dataset: str, disposition: WriteDisposition, job: str, lease: str = HELD) -> str:
    """Load the staging table as a batch does; the statement."""
    table = replace(TABLE, disposition=disposition)
    paths = [f"`{PROJECT}`.`{dataset}`.`{name}`" for name in ("history", "staging")]
    begins = {row["begin"] for path in paths for row in warehouse.query(partitions_query(table, path))}
    sql = merge_statement(table, paths[0], paths[1], lease, conditions(table, sorted(begins)))
    warehouse.execute(sql, f"{dataset}-{job}")
    return sql


def held(warehouse: Warehouse, dataset: str) -> list[tuple[int, int, int]]:
    """Rows, days and the sum of values of the table."""
    rows = warehouse.query(f"SELECT COUNT(*) AS n, COUNT(DISTINCT day) AS d, SUM(value) AS v FROM `{dataset}`.history")
    return [tuple(row.values()) for row in rows]


@pytest.mark.e2e
@pytest.mark.parametrize("disposition", WriteDisposition)
def test_a_history_is_loaded_in_ranges(warehouse: tuple[Warehouse, str], disposition: WriteDisposition) -> None:
    client, dataset = warehouse
    for attempt in range(2):  # the second changes nothing
        sql = load(*warehouse, disposition, f"load-{attempt}")
        assert held(*warehouse) == [(DAYS + 1, DAYS, DAYS + 1)]
    ranges = set(re.findall(r"WHERE TRUE AND (\(`day`.*?\))(?:;|\) AS incoming_row)", sql))
    assert len(ranges) == 3
    for each in ranges:
        (row,) = client.query(f"SELECT COUNT(DISTINCT day) AS n FROM `{dataset}`.staging WHERE {each}")
        assert 0 < 2 * row["n"] <= MAX_PARTITIONS
    stage(client, dataset, DAYS, value=2)
    load(*warehouse, disposition, "again")
    changed = 1 if disposition is WriteDisposition.APPEND else 2
    assert held(*warehouse) == [(DAYS + 1, DAYS, changed * (DAYS + 1))]


@pytest.mark.e2e
def test_a_range_that_fails_changes_nothing(warehouse: tuple[Warehouse, str]) -> None:
    with pytest.raises(JobFailed, match="the lease is lost"):
        load(
            *warehouse,
            WriteDisposition.APPEND,
            "lost",
            "IF(`day` > DATE '2024-01-01', ERROR('the lease is lost'), TRUE)",
        )
    assert held(*warehouse)[0][:2] == (0, 0)


def test_few_partitions_are_one_statement() -> None:
    days = [f"{2014 + n // 365}-{n}" for n in range(MAX_PARTITIONS)]
    assert conditions(TABLE, days[:-1]) == []
    assert len(conditions(TABLE, days)) == 3
    hours = replace(TABLE, columns=(KEY, Column("day", Kind.TIMESTAMP), VALUE), partition_by=PartitionBy.HOUR)
    assert partitions_query(hours, "t").startswith("SELECT DISTINCT CAST(TIMESTAMP_TRUNC(`day`, HOUR) AS STRING)")
    assert conditions(hours, days)[0].startswith("(`day` < TIMESTAMP '")
