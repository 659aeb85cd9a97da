"""BigQuery as a batch uses it: data sets, tables, and jobs that run once however often they are asked for."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from google.api_core.exceptions import Conflict, NotFound
from google.cloud import bigquery

from connectors.clients import bigquery_client
from contracts.errors import Misuse

__all__ = ["JobFailed", "TableSpec", "Warehouse", "incompatibilities", "lacking"]

TRANSIENT = frozenset({"backendError", "internalError", "rateLimitExceeded", "jobBackendError", "jobInternalError"})
MAX_ATTEMPTS = 5
POLL_SECONDS = (0.05, 2.0)
"""How long to wait between two looks at a job: at first, and at most."""
ROWS_PER_INSERT = 500
Job = bigquery.LoadJob | bigquery.QueryJob


class JobFailed(Exception):
    """A BigQuery job that ended in an error which another attempt would meet again."""


@dataclass(frozen=True, slots=True)
class TableSpec:
    """A table as it should be: `dataset.name`, schema, day partitioning and clustering."""

    dataset: str
    name: str
    schema: tuple[bigquery.SchemaField, ...]
    partition: str | None = None
    clustering: tuple[str, ...] = ()
    description: str = ""


class Warehouse:
    """One project's BigQuery in one location. The client is made on first use, so it pickles."""

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
        """The table's reference in this project."""
        return bigquery.DatasetReference(self.project, dataset).table(name)

    def ensure_dataset(self, dataset: str) -> None:
        """Make the data set where it is absent; Misuse if it is in another location."""
        if self.check_dataset(dataset) is None:
            wanted = bigquery.Dataset(bigquery.DatasetReference(self.project, dataset))
            wanted.location = self.location
            check_location(self.client.create_dataset(wanted, exists_ok=True), self.location)

    def check_dataset(self, dataset: str) -> bigquery.Dataset | None:
        """The data set, None where it is absent; Misuse if it is in another location."""
        try:
            found = self.client.get_dataset(bigquery.DatasetReference(self.project, dataset))
        except NotFound:
            return None
        check_location(found, self.location)
        return found

    def existing(self, dataset: str, name: str) -> bigquery.Table | None:
        """The table as BigQuery has it, None if there is none."""
        try:
            return self.client.get_table(self.reference(dataset, name))
        except NotFound:
            return None

    def check_table(self, spec: TableSpec) -> bigquery.Table | None:
        """The table, None where it is absent; Misuse if it is another one than `spec` says."""
        table = self.existing(spec.dataset, spec.name)
        differing = incompatibilities(spec, table) if table else []
        if differing:
            raise Misuse(f"table {spec.dataset}.{spec.name} does not fit its contract: {'; '.join(differing)}")
        return table

    def ensure_table(self, spec: TableSpec) -> None:
        """Make the table where it is absent, add the columns that it lacks. Misuse if it is another table."""
        table = self.check_table(spec)
        if table is None:
            wanted = bigquery.Table(self.reference(spec.dataset, spec.name), schema=list(spec.schema))
            wanted.description = spec.description or None
            if spec.partition:
                wanted.time_partitioning = bigquery.TimePartitioning(field=spec.partition)
            wanted.clustering_fields = list(spec.clustering) or None
            table = self.client.create_table(wanted, exists_ok=True)
        added = lacking(spec, table)
        if added:
            table.schema = [*table.schema, *map(nullable, added)]
            self.client.update_table(table, ["schema"])

    def load(
        self, uris: Sequence[str], dataset: str, name: str, schema: Sequence[bigquery.SchemaField], job: str
    ) -> bigquery.LoadJob:
        """Load Parquet files into the table, which is made anew, under the job id `job`-n."""
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

        done = self._once(job, submit)
        assert isinstance(done, bigquery.LoadJob)
        return done

    def append(self, rows: Sequence[Mapping[str, Any]], spec: TableSpec) -> None:
        """Append rows by one INSERT. Not idempotent: for tables whose readers take the newest row of a key."""
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
        """Run one DML statement once, under the job id `job`-n."""

        def submit(job_id: str) -> Job:
            return self.client.query(sql, job_id=job_id, location=self.location, job_retry=None, api_method="INSERT")

        done = self._once(job, submit)
        assert isinstance(done, bigquery.QueryJob)
        return done

    def query(self, sql: str, **parameters: str | int | float | datetime | list[str] | None) -> list[dict[str, Any]]:
        """The rows of a statement; parameters by name."""
        config = bigquery.QueryJobConfig(
            query_parameters=[_parameter(name, value) for name, value in parameters.items()]
        )
        rows = self.client.query(sql, job_config=config, location=self.location).result()
        return [dict(row.items()) for row in rows]

    def update(self, sql: str, **parameters: str | int | float | datetime | list[str] | None) -> int:
        """Rows that a DML statement touched."""
        config = bigquery.QueryJobConfig(
            query_parameters=[_parameter(name, value) for name, value in parameters.items()]
        )
        job = self.client.query(sql, job_config=config, location=self.location)
        job.result()
        return int(job.num_dml_affected_rows or 0)

    def create_staging(self, spec: TableSpec, lifetime: timedelta) -> None:
        """Make an empty table that BigQuery drops by itself after `lifetime`."""
        table = bigquery.Table(self.reference(spec.dataset, spec.name), schema=list(map(nullable, spec.schema)))
        table.expires = datetime.now(UTC) + lifetime
        self.client.create_table(table, exists_ok=True)

    def drop(self, dataset: str, name: str) -> None:
        """Drop the table if it is there."""
        self.client.delete_table(self.reference(dataset, name), not_found_ok=True)

    def tables(self, dataset: str, prefix: str) -> list[str]:
        """Names of the data set's tables that begin with `prefix`."""
        listed = self.client.list_tables(bigquery.DatasetReference(self.project, dataset))
        return [table.table_id for table in listed if table.table_id.startswith(prefix)]

    def _once(self, job: str, submit: Callable[[str], Job]) -> Job:
        """The job that did the work, now or in an earlier attempt of the same step.

        Job ids are `job`-1, `job`-2, …: the next one is used only after the one before ended in an error, and an
        id that BigQuery knows already is fetched, not repeated.
        """
        message = ""
        for attempt in range(1, MAX_ATTEMPTS + 1):
            job_id = f"{job}-{attempt}"
            try:
                found: Any = self.client.get_job(job_id, location=self.location)
                fresh = False
            except NotFound:
                fresh = True
                try:
                    found = submit(job_id)
                except Conflict:  # another worker was quicker
                    found = self.client.get_job(job_id, location=self.location)
            self._wait(found)
            if not found.error_result:
                return found  # type: ignore[no-any-return]
            message = f"job {job_id}: {found.error_result.get('message', 'no message')}"
            if fresh and found.error_result.get("reason") not in TRANSIENT:
                break
        raise JobFailed(message)

    def _wait(self, job: Any) -> None:
        pause, longest = POLL_SECONDS
        while job.state != "DONE":
            time.sleep(pause)
            pause = min(pause * 1.5, longest)
            job.reload()


def check_location(dataset: bigquery.Dataset, location: str) -> None:
    """Misuse if the data set is in another location: no job reads in one and writes in another."""
    if dataset.location and dataset.location.casefold() != location.casefold():
        raise Misuse(
            f"data set {dataset.dataset_id} is in {dataset.location}, not in {location}:"
            f" give --location={dataset.location}"
        )


def lacking(spec: TableSpec, table: bigquery.Table) -> list[bigquery.SchemaField]:
    """The columns that the contract has and the table has not: they can be added."""
    names = {field.name.casefold() for field in table.schema}
    return [field for field in spec.schema if field.name.casefold() not in names]


def nullable(field: bigquery.SchemaField) -> bigquery.SchemaField:
    """The field without REQUIRED: a column that is added later has no value in older rows."""
    if field.mode != "REQUIRED":
        return field
    return bigquery.SchemaField.from_api_repr({**field.to_api_repr(), "mode": "NULLABLE"})


def incompatibilities(spec: TableSpec, table: bigquery.Table) -> list[str]:
    """What differs between a table and its contract in a way that no added column mends; empty if nothing does."""
    found: list[str] = []
    existing = {field.name.casefold(): field for field in table.schema}
    for field in spec.schema:
        other = existing.pop(field.name.casefold(), None)
        if other is not None:
            found += _field_differences(field, other, field.name)
    found += [
        f"the table requires column {left.name}, which the contract lacks"
        for left in existing.values()
        if left.mode == "REQUIRED"
    ]
    partition = table.time_partitioning.field if table.time_partitioning else None
    if partition != spec.partition:
        found.append(f"it is partitioned by {partition}, the contract says {spec.partition}")
    if tuple(table.clustering_fields or ()) != spec.clustering:
        clustering = [", ".join(names or ()) or "nothing" for names in (table.clustering_fields, spec.clustering)]
        found.append(f"it is clustered by {clustering[0]}, the contract says {clustering[1]}")
    return found


_SAME_TYPE = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD", "DECIMAL": "NUMERIC"}


def _field_differences(wanted: bigquery.SchemaField, found: bigquery.SchemaField, path: str) -> list[str]:
    types = [_SAME_TYPE.get(field.field_type, field.field_type) for field in (wanted, found)]
    if types[0] != types[1]:
        return [f"column {path} is {types[1]}, the contract says {types[0]}"]
    if (wanted.mode == "REPEATED") != (found.mode == "REPEATED"):
        return [f"column {path} is {found.mode}, the contract says {wanted.mode}"]
    if found.mode == "REQUIRED" and wanted.mode != "REQUIRED":
        return [f"column {path} is REQUIRED, the contract lets it be null"]
    inner = {field.name.casefold(): field for field in found.fields}
    differing: list[str] = []
    for field in wanted.fields:
        other = inner.get(field.name.casefold())
        if other is None:
            differing.append(f"column {path}.{field.name} is missing in the table, and a nested column is not added")
        else:
            differing += _field_differences(field, other, f"{path}.{field.name}")
    return differing


def job_name(*parts: str) -> str:
    """The parts as one job id prefix: letters, digits, _ and - only."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", "-".join(parts))[:900]


def _field_parameter(field: bigquery.SchemaField, value: Any) -> bigquery.ScalarQueryParameter:
    if field.field_type == "JSON":
        return bigquery.ScalarQueryParameter(field.name, "STRING", None if value is None else json.dumps(value))
    return bigquery.ScalarQueryParameter(
        field.name, {"INTEGER": "INT64"}.get(field.field_type, field.field_type), value
    )


def _parameter(name: str, value: Any) -> bigquery.ScalarQueryParameter | bigquery.ArrayQueryParameter:
    if isinstance(value, list):
        return bigquery.ArrayQueryParameter(name, "STRING", value)
    kinds = {int: "INT64", float: "FLOAT64", datetime: "TIMESTAMP"}
    return bigquery.ScalarQueryParameter(name, kinds.get(type(value), "STRING"), value)
