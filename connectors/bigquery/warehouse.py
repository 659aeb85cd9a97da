"""Datasets, tables and jobs of BigQuery. A job takes effect once, even if its step is repeated."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from google.api_core.exceptions import Conflict, NotFound
from google.cloud import bigquery

from connectors.bigquery.table_spec import TableSpec, extended, incompatibilities, lacking, nullable, partition_changes
from connectors.google.clients import bigquery_client
from connectors.retry import pauses
from contracts.errors import UsageError

__all__ = ["JobFailed", "Warehouse", "job_name"]

TRANSIENT = frozenset({"backendError", "internalError", "rateLimitExceeded", "jobBackendError", "jobInternalError"})
MAX_ATTEMPTS = 5
POLL_SECONDS = (0.05, 2.0)
"""Seconds between two polls of a job: the first pause and the longest."""
ROWS_PER_INSERT = 500
Job = bigquery.LoadJob | bigquery.QueryJob


class JobFailed(Exception):
    """A BigQuery job ended in an error that another attempt would meet again."""


WAYS_OUT = (
    "give the column a new name in the contract, load into another --dataset, or change the table with ALTER TABLE"
    " (docs/how-to/change-a-contract.md)"
)
"""What helps if a table and its contract differ."""


class Warehouse:
    """BigQuery of one project in one location. It pickles, and creates its client on first use."""

    def __init__(self, project: str, location: str) -> None:
        self.project = project
        self.location = location
        self._client: bigquery.Client | None = None

    def __getstate__(self) -> dict[str, object]:
        return {"project": self.project, "location": self.location, "_client": None}

    @property
    def client(self) -> bigquery.Client:
        """The BigQuery client."""
        if self._client is None:
            self._client = bigquery_client(self.project, self.location)
        return self._client

    def reference(self, dataset: str, name: str) -> bigquery.TableReference:
        """Return the reference of a table in this project."""
        return bigquery.DatasetReference(self.project, dataset).table(name)

    def ensure_dataset(self, dataset: str) -> None:
        """Create the dataset if it does not exist. Raises UsageError if it is in another location."""
        if self.check_dataset(dataset) is None:
            new = bigquery.Dataset(bigquery.DatasetReference(self.project, dataset))
            new.location = self.location
            check_location(self.client.create_dataset(new, exists_ok=True), self.location)

    def check_dataset(self, dataset: str) -> bigquery.Dataset | None:
        """Return the dataset, None if it does not exist. Raises UsageError if it is in another location."""
        try:
            existing = self.client.get_dataset(bigquery.DatasetReference(self.project, dataset))
        except NotFound:
            return None
        check_location(existing, self.location)
        return existing

    def existing(self, dataset: str, name: str) -> bigquery.Table | None:
        """Return the table as it is in BigQuery, None if it does not exist."""
        try:
            return self.client.get_table(self.reference(dataset, name))
        except NotFound:
            return None

    def check_table(self, spec: TableSpec) -> bigquery.Table | None:
        """Return the table, None if it does not exist. Raises UsageError if it is incompatible with `spec`."""
        table = self.existing(spec.dataset, spec.name)
        differing = incompatibilities(spec, table) if table else []
        if differing:
            raise UsageError(
                f"table {spec.dataset}.{spec.name} does not fit its contract: {'; '.join(differing)}; {WAYS_OUT}"
            )
        return table

    def ensure_table(self, spec: TableSpec) -> bigquery.Table:
        """Create the table if it does not exist, or add its missing columns; return it as it is then.

        Raises UsageError if the existing table is incompatible with `spec`.
        """
        table = self.check_table(spec)
        if table is None:
            new = bigquery.Table(self.reference(spec.dataset, spec.name), schema=list(spec.schema))
            new.description = spec.description or None
            new.time_partitioning = spec.partitioning
            if spec.require_filter:
                new.require_partition_filter = True
            new.clustering_fields = list(spec.created_clustering) or None
            table = self.client.create_table(new, exists_ok=True)
        if lacking(spec, table):
            table.schema = extended(spec.schema, table.schema)
            table = self.client.update_table(table, ["schema"])
        changed = partition_changes(spec, table)
        if changed:
            table.time_partitioning = spec.partitioning
            table.require_partition_filter = spec.require_filter
            table = self.client.update_table(table, changed)
        return table

    def load(
        self, uris: Sequence[str], dataset: str, name: str, schema: Sequence[bigquery.SchemaField], job: str
    ) -> bigquery.LoadJob:
        """Replace the content of the table by Parquet files, in a job called `job`-n. Raises JobFailed."""
        config = bigquery.LoadJobConfig(
            schema=list(schema), source_format=bigquery.SourceFormat.PARQUET, write_disposition="WRITE_TRUNCATE"
        )
        config.parquet_options = bigquery.ParquetOptions()
        config.parquet_options.enable_list_inference = True
        destination = self.reference(dataset, name)

        def submit(job_id: str) -> Job:
            return self.client.load_table_from_uri(
                list(uris), destination, job_id=job_id, location=self.location, job_config=config
            )

        finished = self._once(job, submit)
        assert isinstance(finished, bigquery.LoadJob)
        return finished

    def append(self, rows: Sequence[Mapping[str, Any]], spec: TableSpec) -> None:
        """Append rows by INSERT statements. Not idempotent: for tables whose readers use the newest row of a key."""
        for start in range(0, len(rows), ROWS_PER_INSERT):
            structs = [
                bigquery.StructQueryParameter(
                    None, *(_field_parameter(field, row.get(field.name)) for field in spec.schema)
                )
                for row in rows[start : start + ROWS_PER_INSERT]
            ]
            names = [f"`{field.name}`" for field in spec.schema]
            values = [
                f"PARSE_JSON(line.{n})" if f.field_type == "JSON" else f"line.{n}"
                for n, f in zip(names, spec.schema, strict=True)
            ]
            job = self.client.query(
                f"INSERT INTO `{self.project}`.`{spec.dataset}`.`{spec.name}` ({', '.join(names)})"
                f" SELECT {', '.join(values)} FROM UNNEST(@lines) AS line",
                job_config=bigquery.QueryJobConfig(
                    query_parameters=[bigquery.ArrayQueryParameter("lines", "STRUCT", structs)]
                ),
                location=self.location,
            )
            job.result()

    def execute(self, sql: str, job: str) -> bigquery.QueryJob:
        """Run one DML statement once, in a job called `job`-n. Raises JobFailed."""

        def submit(job_id: str) -> Job:
            return self.client.query(sql, job_id=job_id, location=self.location, job_retry=None, api_method="INSERT")

        finished = self._once(job, submit)
        assert isinstance(finished, bigquery.QueryJob)
        return finished

    def query(
        self, sql: str, **parameters: str | int | float | datetime | list[str] | list[int] | None
    ) -> list[dict[str, Any]]:
        """Run a statement with named parameters and return its rows: one request if it is short."""
        return list(self.rows(sql, **parameters))

    def rows(
        self, sql: str, **parameters: str | int | float | datetime | list[str] | list[int] | None
    ) -> Iterator[dict[str, Any]]:
        """As `query`, but yield the rows page by page: for more of them than memory holds."""
        config = bigquery.QueryJobConfig(
            query_parameters=[_parameter(name, value) for name, value in parameters.items()]
        )
        for row in self.client.query_and_wait(sql, job_config=config, location=self.location):
            yield dict(row.items())

    def update(self, sql: str, **parameters: str | int | float | datetime | list[str] | list[int] | None) -> int:
        """Run a DML statement with named parameters and return the number of rows that it changed."""
        config = bigquery.QueryJobConfig(
            query_parameters=[_parameter(name, value) for name, value in parameters.items()]
        )
        job = self.client.query(sql, job_config=config, location=self.location)
        job.result()
        return int(job.num_dml_affected_rows or 0)

    def create_staging(self, spec: TableSpec, lifetime: timedelta) -> None:
        """Create an empty table that BigQuery drops after `lifetime`. Its columns are nullable."""
        table = bigquery.Table(self.reference(spec.dataset, spec.name), schema=list(map(nullable, spec.schema)))
        table.expires = datetime.now(UTC) + lifetime
        self.client.create_table(table, exists_ok=True)

    def drop(self, dataset: str, name: str) -> None:
        """Drop the table if it exists."""
        self.client.delete_table(self.reference(dataset, name), not_found_ok=True)

    def tables(self, dataset: str, prefix: str) -> list[str]:
        """Return the names of the tables in the dataset that begin with `prefix`."""
        listed = self.client.list_tables(bigquery.DatasetReference(self.project, dataset))
        return [table.table_id for table in listed if table.table_id.startswith(prefix)]

    def _once(self, job: str, submit: Callable[[str], Job]) -> Job:
        """Return the job that succeeded, in this attempt of the step or in an earlier one.

        Job ids are `job`-1, `job`-2, …: the next one is used only after the previous one ended in an error. A job
        whose id exists is fetched, not submitted again. Raises JobFailed.
        """
        message = ""
        for attempt in range(1, MAX_ATTEMPTS + 1):
            job_id = f"{job}-{attempt}"
            try:
                submitted: Any = self.client.get_job(job_id, location=self.location)
                fresh = False
            except NotFound:
                fresh = True
                try:
                    submitted = submit(job_id)
                except Conflict:  # another worker has submitted it meanwhile
                    submitted = self.client.get_job(job_id, location=self.location)
            self._wait(submitted)
            if not submitted.error_result:
                return submitted  # type: ignore[no-any-return]
            message = f"job {job_id}: {submitted.error_result.get('message', 'no message')}"
            if fresh and submitted.error_result.get("reason") not in TRANSIENT:
                break
        raise JobFailed(message)

    def _wait(self, job: Any) -> None:
        polls = pauses(*POLL_SECONDS)
        while job.state != "DONE":
            time.sleep(next(polls))
            job.reload()


def check_location(dataset: bigquery.Dataset, location: str) -> None:
    """Raise UsageError if the dataset is in another location: a job cannot read in one and write in another."""
    if dataset.location and dataset.location.casefold() != location.casefold():
        raise UsageError(
            f"dataset {dataset.dataset_id} is in {dataset.location}, not in {location}:"
            f" give --location={dataset.location}"
        )


def job_name(*parts: str) -> str:
    """Join the parts to a prefix of job ids, which hold only letters, digits, _ and -."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", "-".join(parts))[:900]


def _field_parameter(field: bigquery.SchemaField, value: Any) -> bigquery.ScalarQueryParameter:
    if field.field_type == "JSON":
        return bigquery.ScalarQueryParameter(field.name, "STRING", None if value is None else json.dumps(value))
    return bigquery.ScalarQueryParameter(
        field.name, {"INTEGER": "INT64"}.get(field.field_type, field.field_type), value
    )


def _parameter(name: str, value: Any) -> bigquery.ScalarQueryParameter | bigquery.ArrayQueryParameter:
    kinds = {int: "INT64", float: "FLOAT64", datetime: "TIMESTAMP"}
    if isinstance(value, list):
        return bigquery.ArrayQueryParameter(name, kinds.get(type(value[0]) if value else str, "STRING"), value)
    return bigquery.ScalarQueryParameter(name, kinds.get(type(value), "STRING"), value)
