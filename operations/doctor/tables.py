"""BigQuery: jobs, datasets, tables against their contracts, and who is writing them. No check creates anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from google.cloud import bigquery

from connectors.bigquery.table_spec import TableSpec, lacking
from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.leases import Leases
from contracts.errors import ReportedError
from operations.doctor.findings import Finding, Mark

__all__ = ["check_dataset", "check_jobs", "check_leases", "check_table"]

FIRST_RUN = "the first run makes it; launcher.py setup makes all of them now"


def check_jobs(warehouse: Warehouse) -> Iterator[Finding]:
    """BigQuery answers, and the caller may run jobs in the project."""
    warehouse.client.query("SELECT 1", job_config=bigquery.QueryJobConfig(dry_run=True), location=warehouse.location)
    yield Finding("bigquery", Mark.OK, f"project {warehouse.project}, location {warehouse.location}")


def check_dataset(warehouse: Warehouse, dataset: str) -> Iterator[Finding]:
    """The dataset is there, in the right location."""
    about = f"dataset {dataset}"
    try:
        existing = warehouse.check_dataset(dataset)
    except ReportedError as error:
        yield Finding(about, Mark.WRONG, str(error))  # it says what to give
        return
    if existing is None:
        yield Finding(about, Mark.WARNING, "it does not exist", FIRST_RUN)
    else:
        yield Finding(about, Mark.OK, f"in {warehouse.location}")


def check_table(warehouse: Warehouse, spec: TableSpec) -> Iterator[Finding]:
    """The table is what its contract says."""
    about = f"table {spec.dataset}.{spec.name}"
    try:
        table = warehouse.check_table(spec)
    except ReportedError as error:
        yield Finding(about, Mark.WRONG, str(error), "change the contract, drop the table, or give another --dataset")
        return
    if table is None:
        yield Finding(about, Mark.WARNING, "it does not exist", FIRST_RUN)
        return
    added = [column.path for column in lacking(spec, table)]
    if added:
        yield Finding(
            about, Mark.WARNING, f"it lacks the columns {', '.join(added)}", "the next run adds them, for new rows"
        )
    else:
        yield Finding(about, Mark.OK, "as its contract says")


def check_leases(warehouse: Warehouse, dataset: str, names: Sequence[str]) -> Iterator[Finding]:
    """Who is writing the tables (dataset.table), or reading for the group (group:NAME), now."""
    if warehouse.existing(dataset, "leases") is None:
        yield Finding("leases", Mark.OK, "nobody has run yet")
        return
    holders = Leases(warehouse, dataset).holders(names)
    for holder in holders:
        yield Finding(
            f"lease of {holder.table}",
            Mark.WARNING,
            f"run {holder.run_id} holds it until {holder.until:%H:%M:%S} UTC",
            "another run is refused meanwhile: wait until it ends, or stop it",
        )
    if not holders:
        yield Finding("leases", Mark.OK, f"all of {len(names)} are free")
