"""The checks of doctor for a command line of batch or stream: those of the preflights, and the machine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    KafkaStreamsRunnerOptions,
    PipelineOptions,
    PortableOptions,
    PrismRunnerOptions,
    StandardOptions,
)

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.specs import operations_specs
from connectors.files.storage import Storage, join
from connectors.kafka.config import KafkaConfig
from connectors.sinks.destination import table_spec
from contracts.errors import ReportedError
from contracts.table import Table
from operations.doctor.buckets import READ, WRITE, check_credentials, check_folder, check_input
from operations.doctor.engines import check_flink, check_job_service
from operations.doctor.findings import Check, Finding, Mark, examine
from operations.doctor.machine import check_disk, check_python
from operations.doctor.tables import check_dataset, check_jobs, check_leases, check_table
from operations.doctor.topics import Kafka, read_config
from pipelines.engines.dataflow import check_dataflow
from pipelines.runs.contracts import load_contracts
from pipelines.runs.options import DEFAULT_GROUP, DEFAULT_TOPIC, LOCAL_BUCKET, OperationsOptions, StreamOptions
from pipelines.runs.settings import check_names
from pipelines.stream.preflight import check_runner, topics_of

__all__ = ["Examination", "Machine"]

GOOGLE = ("gcs", "bigquery")
KAFKA_OPTIONS = ("bootstrap_servers", "kafka_config", "topic", "group_id")
ROLES = "give the caller roles/bigquery.dataEditor, .jobUser and .readSessionUser, and look at --project"


class Machine(Protocol):
    """This machine: its local cloud, Java and Prism, of which this package knows nothing."""

    def services(self, kafka: bool) -> Mapping[str, Finding]:
        """Start the local cloud, if it is asked for; return a finding for each service by its name."""
        ...

    def places(self) -> Mapping[str, Path]:
        """Return the folders that a run writes, by what it keeps there."""
        ...

    def check_java(self, needed: bool) -> Iterator[Finding]:
        """Check that there is a Java; `needed`: something that needs it was asked for."""
        ...

    def check_prism(self, location: str | None) -> Iterator[Finding]:
        """Check that Prism is here, or can be had. `location` is --prism_location."""
        ...


class Examination:
    """All checks of one command line. What the first half finds decides what the second half can check."""

    def __init__(self, options: PipelineOptions, argv: Sequence[str], machine: Machine) -> None:
        """`argv` is what the user gave; `options` has defaults of the local cloud too."""
        self._options, self._here = options, machine
        self._given = {argument.split("=", 1)[0].removeprefix("--") for argument in argv}
        self._ours, self._streams = options.view_as(OperationsOptions), options.view_as(StreamOptions)
        self._local = bool(self._ours.local)
        self._streaming = not self._given.isdisjoint(KAFKA_OPTIONS)
        google = options.view_as(GoogleCloudOptions)
        self._temp = google.temp_location
        self._project: str | None = google.project
        self._location: str | None = self._ours.location
        self._group = self._streams.group_id or DEFAULT_GROUP
        self._storage = Storage(self._project)
        self._contracted: Mapping[str, Table] | None = None
        self._tables: Mapping[str, Table] = {}
        """What the contracts say, and those of it that are wanted."""
        self._config: KafkaConfig | None = None
        self._unusable: dict[str, str] = {}
        """Of gcs, bigquery, kafka and names those that cannot be asked, and why."""

    def findings(self) -> list[Finding]:
        """Return the findings of all checks."""
        services = self._here.services(kafka="bootstrap_servers" not in self._given)
        broken = [name for name, finding in services.items() if finding.mark is Mark.WRONG]
        self._unusable |= dict.fromkeys(broken, "it does not run on this machine, see above")
        first = examine(self._machine())
        first += services.values()
        first += examine(self._configuration())
        if any(finding.about == "credentials" and finding.mark is Mark.WRONG for finding in first):
            self._unusable |= dict.fromkeys(GOOGLE, "there are no credentials, see above")
        return [*first, *examine([*self._folders(), *self._warehouse(), *self._kafka()])]

    def _machine(self) -> Iterator[Check]:
        yield Check("python", partial(check_python, ("local",) if self._local else ()))
        yield Check("disk", lambda: check_disk(self._here.places()))
        yield Check("java", partial(self._here.check_java, self._streaming))
        yield self._runner()

    def _runner(self) -> Check:
        runner = self._options.view_as(StandardOptions).runner if "runner" in self._given else None
        flink = self._options.view_as(FlinkRunnerOptions)
        about = f"runner {runner}"
        if runner is None:
            return _unchecked("runner", "--runner names none")
        if runner == "PrismRunner":
            location = self._options.view_as(PrismRunnerOptions).prism_location
            return Check(about, partial(self._here.check_prism, location))
        if runner == "FlinkRunner" and flink.flink_master not in ("[auto]", "[local]"):
            jar = self._local or flink.flink_job_server_jar
            versions = FlinkRunnerOptions.PUBLISHED_FLINK_VERSIONS if jar else [flink.flink_version]
            look = partial(check_flink, flink.flink_master, versions, flink.parallelism)
            return Check(about, look, "start the cluster, or correct --flink_master HOST:PORT")
        if runner == "PortableRunner" and "job_endpoint" in self._given:
            endpoint = self._options.view_as(PortableOptions).job_endpoint
            return Check(about, partial(check_job_service, endpoint), "start the job service, or correct HOST:PORT")
        if runner in ("DirectRunner", "FlinkRunner", "DataflowRunner"):
            return Check(about, partial(self._own_runner, about))
        return _unchecked(about, "doctor does not know how")

    def _own_runner(self, about: str) -> Iterator[Finding]:
        """A runner that needs nothing of this machine, or a Flink within the launcher: what the preflights refuse."""
        if self._streaming:
            check_runner(self._options)
        check_dataflow(self._options)
        yield Finding(about, Mark.OK, "no problem found")

    def _configuration(self) -> Iterator[Check]:
        yield Check("options", self._names)
        folders = [*self._places().values(), self._ours.contracts or "", self._streams.kafka_config or ""]
        if self._project or any(folder.startswith("gs://") for folder in folders):
            if self._unusable.keys().isdisjoint(GOOGLE):
                yield Check("credentials", check_credentials)
        else:
            yield _unchecked("credentials", "--project or a gs:// folder asks for some")
        yield Check(
            "contracts", self._contracts, "correct the contract; docs/reference/contracts.md says what one can say"
        )
        if not self._kafka_named():
            yield _unchecked("kafka, topics, group", "--bootstrap_servers or --kafka_config names none")
        elif "kafka" not in self._unusable:
            yield Check("kafka config", self._kafka_config)

    def _names(self) -> Iterator[Finding]:
        try:
            check_names(self._ours)
        except ReportedError:
            self._unusable["names"] = "an option is wrong, see above"
            raise
        yield Finding("options", Mark.OK, "all are known, and their values may be")

    def _contracts(self) -> Iterator[Finding]:
        tables = load_contracts(self._storage, self._ours.contracts)
        yield Finding("contracts", Mark.OK, f"{len(tables)} tables: {', '.join(sorted(tables))}")
        wanted = [name.strip() for name in (self._ours.tables or "").split(",") if name.strip()]
        for name in wanted:
            if name not in tables:
                message = f"no contract has a table {name}; there are {', '.join(sorted(tables))}"
                yield Finding("--tables", Mark.WRONG, message)
        self._contracted = tables
        self._tables = {name: table for name, table in tables.items() if not wanted or name in wanted}

    def _kafka_named(self) -> bool:
        return self._local or self._streaming or bool(os.environ.get("KAFKA_BOOTSTRAP_SERVERS"))

    def _kafka_config(self) -> Iterator[Finding]:
        given = "bootstrap_servers" in self._given
        servers = self._options.view_as(KafkaStreamsRunnerOptions).bootstrap_servers if given else None
        servers = servers or os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
        self._config = read_config(servers, self._streams.kafka_config, self._group, self._storage.read)
        yield Finding("kafka config", Mark.OK, f"{len(self._config.properties)} properties, secrets are there")

    def _places(self) -> dict[str, str]:
        """The folders that are read and written, by option."""
        ours, local = self._ours, self._local
        folders = {
            "--input": ours.input or (join(LOCAL_BUCKET, "raw") if local else None),
            "--processed": ours.processed or (join(LOCAL_BUCKET, "processed") if local else None),
            "--dead_letters": ours.dead_letters or (join(LOCAL_BUCKET, "dead_letters") if local else None),
            "--temp_location": self._temp,
        }
        return {option: folder for option, folder in folders.items() if folder}

    def _folders(self) -> Iterator[Check]:
        places = self._places()
        if missing := [option for option in ("--input", "--processed", "--dead_letters") if option not in places]:
            yield _unchecked("folders and buckets", f"{', '.join(missing)} not named")
        for option, folder in places.items():
            about = f"{option} {folder}"
            if folder.startswith("gs://") and "gcs" in self._unusable:
                yield _unchecked(about, self._unusable["gcs"])
                continue
            needs = READ if option == "--input" else WRITE
            made = self._local and (option != "--input" or not self._ours.input)
            fix = "give the caller roles/storage.objectAdmin and storage.buckets.get on the bucket"
            yield Check(about, partial(check_folder, self._storage, option, folder, needs, made), fix)
            if option == "--input" and self._tables:
                look = partial(check_input, self._storage, folder, self._tables, made)
                yield Check(f"files in {folder}", look, fix)
            if option in ("--processed", "--dead_letters") and not folder.startswith("gs://") and not self._local:
                message = "it must be a gs:// folder, for BigQuery loads from there"
                yield Check(about, partial(_one, Finding(about, Mark.WRONG, message)))

    def _warehouse(self) -> Iterator[Check]:
        about = "bigquery, datasets, tables"
        why = self._unusable.get("bigquery") or self._unusable.get("names")
        project, location = self._project, self._location
        if not project or not location:
            why = "--project and --location name no place"
        if why or not project or not location:
            yield _unchecked(about, str(why))
            return
        warehouse, operations = Warehouse(project, location), self._ours.operations_dataset
        yield Check("bigquery", partial(check_jobs, warehouse), ROLES)
        specs = [table_spec(t, self._ours.dataset or t.dataset) for t in self._wanted().values()]
        for dataset in sorted({operations, *(spec.dataset for spec in specs)}):
            yield Check(f"dataset {dataset}", partial(check_dataset, warehouse, dataset), ROLES)
        for spec in [*specs, *operations_specs(operations)]:
            about = f"table {spec.dataset}.{spec.name}"
            yield Check(about, partial(check_table, warehouse, spec), ROLES)
        names = [*(f"{spec.dataset}.{spec.name}" for spec in specs), f"group:{self._group}"]
        yield Check("leases", partial(check_leases, warehouse, operations, names), ROLES)

    def _wanted(self) -> Mapping[str, Table]:
        """The tables to look at: those of the topics if topics are named and no files, else all."""
        if "topic" not in self._given or self._ours.input or self._ours.tables:
            return self._tables
        wanted = {item.partition("=")[2] for item in ",".join(self._streams.topic).split(",")}
        return {name: table for name, table in self._tables.items() if name in wanted}

    def _kafka(self) -> Iterator[Check]:
        if "kafka" in self._unusable:
            yield _unchecked("kafka, topics, group", self._unusable["kafka"])
            return
        if self._config is None:
            if self._kafka_named():
                yield _unchecked("kafka, topics, group", "its configuration is wrong, see above")
            return
        good: list[str] = []
        for item in ",".join(self._streams.topic or [DEFAULT_TOPIC]).split(","):
            try:
                if self._contracted is not None:
                    topics_of([*good, item], self._contracted)
                good.append(item)
            except ReportedError as error:
                yield Check(f"--topic {item}", partial(_one, Finding(f"--topic {item}", Mark.WRONG, str(error))))
        warned = self._streams.create_topics or "topic" not in self._given
        kafka = Kafka(
            self._config, [item.partition("=")[0] for item in good], self._group, Mark.WARNING if warned else Mark.WRONG
        )
        yield Check("kafka", kafka.check, "start the broker, or correct --bootstrap_servers and --kafka_config")


def _unchecked(about: str, why: str) -> Check:
    return Check(about, partial(_one, Finding(about, Mark.UNCHECKED, why)))


def _one(finding: Finding) -> Iterable[Finding]:
    return (finding,)
