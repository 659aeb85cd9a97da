"""BigQuery's jobs and statements, and Cloud Storage's objects, as a batch and its leases count on them."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.api_core.exceptions import Conflict
from google.cloud.bigquery import SchemaField

from connectors.bigquery.table_spec import TableSpec, incompatibilities
from connectors.bigquery.warehouse import JobFailed, Warehouse
from connectors.bookkeeping.dataset import ensure_operations
from connectors.bookkeeping.leases import Leases
from connectors.bookkeeping.specs import operations_specs
from connectors.files.storage import join, split_uri
from connectors.sinks.destination import table_spec
from contracts.odcs.tables import shipped
from tests.cloud.places import Place

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(600)]
PRICES = (SchemaField("id", "INTEGER"), SchemaField("name", "STRING"), SchemaField("price", "NUMERIC"))


@pytest.fixture(scope="module")
def dataset(place: Place) -> str:
    """A dataset with the tables of operations in it."""
    name, _ = place.datasets("jobs")
    ensure_operations(place.warehouse, name)
    return name


def put(place: Place, folder: str, *files: pa.Table) -> list[str]:
    """Upload Parquet files below a path that has `key=value` in it; their URIs."""
    uris = []
    for number, table in enumerate(files):
        written = io.BytesIO()
        pq.write_table(table, written)
        uris.append(join(place.folder, folder, "run_id=x", f"{number}.parquet"))
        place.storage.write(uris[-1], written.getvalue())
    return uris


def test_a_step_is_done_once_however_often_it_is_asked_for(place: Place, dataset: str) -> None:
    place.warehouse.ensure_table(TableSpec(dataset, "once", (SchemaField("id", "INTEGER"),)))
    insert, job = f"INSERT INTO `{dataset}`.once (id) VALUES (1), (2)", f"{place.name}-once"
    first = place.warehouse.execute(insert, job)
    again = Warehouse(place.project, place.location).execute(insert, job)
    assert first.job_id == again.job_id == f"{job}-1"
    assert again.num_dml_affected_rows == 2
    with pytest.raises(Conflict):
        place.warehouse.client.query(insert, job_id=f"{job}-1", location=place.location, retry=None, job_retry=None)
    assert place.warehouse.query(f"SELECT COUNT(*) AS n FROM `{dataset}`.once") == [{"n": 2}]


def test_a_statement_that_fails_changes_nothing(place: Place, dataset: str) -> None:
    place.warehouse.ensure_table(TableSpec(dataset, "failed", (SchemaField("id", "INTEGER"),)))
    with pytest.raises(JobFailed, match="no such thing"):
        place.warehouse.execute(
            f"INSERT INTO `{dataset}`.failed (id) SELECT IF(id < 3, id, ERROR('no such thing'))"
            " FROM UNNEST(GENERATE_ARRAY(1, 3)) AS id",
            f"{place.name}-failed",
        )
    assert place.warehouse.query(f"SELECT COUNT(*) AS n FROM `{dataset}`.failed") == [{"n": 0}]


def test_parquet_is_loaded_by_name(place: Place, dataset: str) -> None:
    place.warehouse.ensure_table(TableSpec(dataset, "staging", PRICES))
    files = (
        pa.table({"price": pa.array([Decimal("1.5")], pa.decimal128(38, 9)), "id": [1]}),
        pa.table({"name": ["b", "c"], "id": [2, 3]}),
    )
    job = place.warehouse.load(put(place, "prices", *files), dataset, "staging", PRICES, f"{place.name}-load")
    assert job.output_rows == 3
    assert place.warehouse.query(f"SELECT id, name, price FROM `{dataset}`.staging ORDER BY id") == [
        {"id": 1, "name": None, "price": Decimal("1.5")},
        {"id": 2, "name": "b", "price": None},
        {"id": 3, "name": "c", "price": None},
    ]


@pytest.mark.differs("staging tables")
def test_a_staging_table_goes_by_itself_also_when_it_was_loaded(place: Place, dataset: str) -> None:
    schema = (SchemaField("id", "INTEGER"),)
    place.warehouse.create_staging(TableSpec(dataset, "passing", schema), timedelta(hours=2))
    for load in (False, True):
        if load:  # which recreates the table
            uris = put(place, "passing", pa.table({"id": [1]}))
            place.warehouse.load(uris, dataset, "passing", schema, f"{place.name}-passing")
        staging = place.warehouse.existing(dataset, "passing")
        assert staging is not None
        assert staging.expires is not None
        assert timedelta(0) < staging.expires - datetime.now(UTC) <= timedelta(hours=2)


def test_a_load_whose_second_file_is_broken_loads_nothing(place: Place, dataset: str) -> None:
    schema = (SchemaField("id", "INTEGER"),)
    place.warehouse.ensure_table(TableSpec(dataset, "broken", schema))
    place.warehouse.update(f"INSERT INTO `{dataset}`.broken (id) VALUES (7)")
    uris = put(place, "broken", pa.table({"id": [1]}), pa.table({"id": ["no number"]}))
    with pytest.raises(JobFailed):
        place.warehouse.load(uris, dataset, "broken", schema, f"{place.name}-broken")
    assert place.warehouse.query(f"SELECT id FROM `{dataset}`.broken") == [{"id": 7}]


def test_a_column_that_is_added_can_be_written_and_read(place: Place, dataset: str) -> None:
    before = (SchemaField("id", "INTEGER"),)
    place.warehouse.ensure_table(TableSpec(dataset, "added", before))
    place.warehouse.update(f"INSERT INTO `{dataset}`.added (id) VALUES (1)")
    place.warehouse.ensure_table(TableSpec(dataset, "added", (*before, SchemaField("name", "STRING", "REQUIRED"))))
    place.warehouse.update(f"INSERT INTO `{dataset}`.added (id, name) VALUES (2, 'b')")
    found = place.warehouse.query(f"SELECT id, name FROM `{dataset}`.added ORDER BY id")
    assert found == [{"id": 1, "name": None}, {"id": 2, "name": "b"}]


def test_one_at_most_of_many_takers_at_once_holds_a_lease(place: Place, dataset: str) -> None:
    takers = [Leases(Warehouse(place.project, place.location), dataset) for _ in range(5)]
    with ThreadPoolExecutor(len(takers)) as pool:
        held = list(pool.map(lambda n: takers[n].take(["d.t"], f"run-{n}", f"token-{n}") is None, range(len(takers))))
    holders = {holder.token for holder in takers[0].holders(["d.t"])}
    assert holders
    assert sum(held) <= 1
    assert not any(held) or holders == {f"token-{held.index(True)}"}


def test_signs_of_life_of_many_tables_at_once(place: Place, dataset: str) -> None:
    names = [f"d.busy_{number}" for number in range(5)]
    leases = [Leases(Warehouse(place.project, place.location), dataset) for _ in names]
    assert [one.take([name], "run", name) for one, name in zip(leases, names, strict=True)] == [None] * 5
    with ThreadPoolExecutor(len(names)) as pool:
        for _ in range(3):
            assert all(pool.map(lambda n: leases[n].renew([names[n]], names[n]), range(len(names))))
    assert {holder.token for holder in leases[0].holders(names)} == set(names)


@pytest.mark.differs("`CREATE TABLE` as SQL")
def test_the_statements_of_setup_make_the_tables_of_the_contracts(place: Place) -> None:
    data, operations = f"{place.name}_sql", f"{place.name}_sql_operations"
    script = place.launch(
        "setup",
        "--dry_run",
        f"--project={place.project}",
        f"--location={place.location}",
        f"--dataset={data}",
        f"--operations_dataset={operations}",
    ).stdout
    for statement in script.removesuffix(";\n").split(";\n\n"):
        place.warehouse.query(statement)
    specs = [table_spec(table, data) for table in shipped().values()] + operations_specs(operations)
    for spec in specs:
        table = place.warehouse.existing(spec.dataset, spec.name)
        assert table is not None
        assert incompatibilities(spec, table) == []


@pytest.mark.differs("an object whose name ends with `/`")
def test_the_empty_object_of_a_folder_is_kept(place: Place) -> None:
    folder = join(place.folder, "a_folder", "")
    place.storage.write(folder, b"")
    bucket, name = split_uri(folder)
    assert place.storage.client.bucket(bucket).blob(name).exists()
    assert list(place.storage.list(folder)) == []  # it is no file
