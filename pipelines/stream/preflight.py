"""All that is checked before a stream starts, so that a stream that cannot succeed is refused."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.dataset import ensure_operations
from connectors.bookkeeping.leases import Leases
from connectors.files.storage import Storage
from connectors.kafka.client import NEW_PARTITIONS, admin, cluster_id, create_topics, topic_ids
from connectors.kafka.config import KafkaConfig
from connectors.kafka.group_offsets import GroupOffsets
from connectors.sinks.destination import table_spec
from contracts.changes import changes_of, takes_updates
from contracts.errors import UsageError
from contracts.table import Identity, Table, WriteDisposition
from pipelines.engines.dataflow import check_dataflow
from pipelines.engines.naming import stream_version
from pipelines.runs.availability import wait_for_bigquery
from pipelines.runs.contracts import check_table, load_contracts
from pipelines.runs.settings import StreamSettings
from transforms.origin import Origin
from transforms.run import Run

__all__ = ["PreparedStream", "check_runner", "prepare_stream", "topics_of"]

ENGINES = "PrismRunner on one machine, FlinkRunner or DataflowRunner on many"


@dataclass(frozen=True, kw_only=True)
class PreparedStream:
    """A stream that may start as soon as it holds its leases. Its topics, datasets and tables exist."""

    settings: StreamSettings
    topics: Mapping[str, str]
    """The table of each topic."""
    tables: Mapping[str, Table]
    warehouse: Warehouse
    kafka: KafkaConfig
    offsets: GroupOffsets
    """The launcher's own view of the group: it does not wait for a broker that does not answer."""
    cluster: str = ""
    """The id of Kafka's cluster."""
    topic_ids: Mapping[str, str] = field(default_factory=dict)
    """The id of each topic, which a recreated topic does not share."""
    group_is_known: bool = False
    """Whether a stream has had the lease of the group before."""

    @property
    def datasets(self) -> dict[str, str]:
        """The dataset of each table."""
        return self.settings.datasets(self.tables)

    @property
    def generations(self) -> dict[str, str]:
        """The id of each topic whose records are told apart by their offsets."""
        by_place = {name for name, table in self.tables.items() if told_apart_by_place(table)}
        return {topic: identity for topic, identity in self.topic_ids.items() if self.topics[topic] in by_place}

    @property
    def origins(self) -> dict[str, Origin]:
        """What the lines of the ledger and the dead letters of each topic are about."""
        return {
            topic: Origin(name, self.datasets[name], self.cluster, self.topic_ids[topic])
            for topic, name in self.topics.items()
        }

    @property
    def stream_tables(self) -> tuple[str, ...]:
        """The tables that the stream writes, DATASET.TABLE."""
        return tuple(f"{dataset}.{name}" for name, dataset in self.datasets.items())

    @property
    def lease_names(self) -> tuple[str, ...]:
        """What only one stream at a time may hold: its tables and its group."""
        return (*self.stream_tables, f"group:{self.offsets.group}")

    @property
    def version(self) -> str:
        """The version that the stream's job carries."""
        return stream_version(self.tables)

    def sources(self) -> list[str]:
        """Return the partitions that the topics have now."""
        return self.offsets.sources(self.topics)

    def new_run(self, run_id: str | None = None, token: str | None = None) -> Run:
        """Return a run that starts now. `--run_id` wins over `run_id`; what is not given is random."""
        settings, now = self.settings, datetime.now(UTC)
        return Run(
            run_id=settings.run_id or run_id or f"stream-{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}",
            token=token or secrets.token_hex(8),
            pipeline="stream",
            started_at=now,
            project=settings.project,
            location=settings.location,
            operations_dataset=settings.operations_dataset,
            processed="",
            dead_letters="",
            max_record_bytes=settings.max_record_bytes,
            max_dead_letter_ratio=settings.max_dead_letter_ratio,
            keep_duplicates=settings.keep_duplicates,
        )


def prepare_stream(settings: StreamSettings, log: Callable[[str], None]) -> PreparedStream:
    """Check the settings and create the topics, datasets and tables that do not exist.

    Raises UsageError for what cannot succeed, Conflict for a group with members, Unavailable for a service that does
    not answer.
    """
    options = settings.beam.changed(streaming=True).options()
    check_runner(options)
    check_dataflow(options)
    storage, warehouse = Storage(settings.project), Warehouse(settings.project, settings.location)
    wait_for_bigquery(warehouse, settings.operations_dataset, log)
    contracts = load_contracts(storage, settings.contracts)
    topics = topics_of(settings.topics, contracts)
    kafka = KafkaConfig.load(settings.servers, settings.kafka_config, storage.read)
    prepared = PreparedStream(
        settings=settings,
        topics=topics,
        tables={name: contracts[name] for name in topics.values()},
        warehouse=warehouse,
        kafka=kafka,
        offsets=GroupOffsets(kafka, settings.group),
    )
    if settings.create_topics:
        with admin(kafka) as client:
            for topic in create_topics(client, kafka, dict.fromkeys(topics, NEW_PARTITIONS)):
                log(f"created topic {topic} with {NEW_PARTITIONS} partitions")
    prepared.offsets.check(topics)
    with admin(kafka) as client:
        ids = topic_ids(client, kafka, list(topics))
        prepared = replace(prepared, cluster=cluster_id(client, kafka), topic_ids=ids)
    ensure_operations(warehouse, settings.operations_dataset)
    known = Leases(warehouse, settings.operations_dataset).known([f"group:{settings.group}"])
    prepared = replace(prepared, group_is_known=bool(known))
    for name, table in prepared.tables.items():
        if table.rules:
            log(f"{table.name}: quality rules of its contract are checked by a batch, not by a stream")
        for note in table.notes:
            log(f"{name}: {note}")
        warehouse.ensure_dataset(prepared.datasets[name])
        warehouse.ensure_table(table_spec(table, prepared.datasets[name]))
        if takes_updates(table):
            warehouse.ensure_table(table_spec(changes_of(table), prepared.datasets[name]))
    return prepared


def told_apart_by_place(table: Table) -> bool:
    """Whether a stream tells the records of a table apart by their offsets, and not by a key."""
    return table.identity is Identity.POSITION or takes_updates(table)


def check_runner(options: PipelineOptions) -> None:
    """Raise UsageError for a runner that reads no topic."""
    runner = options.view_as(StandardOptions).runner
    if runner in (None, "DirectRunner"):
        raise UsageError(f"DirectRunner cannot run a stream, which has no end: take {ENGINES}")


def topics_of(items: Sequence[str], contracts: Mapping[str, Table]) -> dict[str, str]:
    """Return the table of each topic, from items TOPIC=TABLE. Raises UsageError for what cannot be streamed."""
    topics: dict[str, str] = {}
    for item in ",".join(items).split(","):
        topic, _, table = item.partition("=")
        if not topic or not table:
            raise UsageError(f"--topic is TOPIC=TABLE, not {item!r}")
        if topic in topics:
            raise UsageError(f"--topic: {topic} is given twice")
        check_table("--topic", table, contracts)
        if contracts[table].disposition is WriteDisposition.REPLACE:
            raise UsageError(
                f"--topic: a stream appends or merges, and {table}'s contract says {contracts[table].disposition.value}"
            )
        if takes_updates(contracts[table]) and (changes := changes_of(contracts[table]).name) in contracts:
            raise UsageError(
                f"--topic: {table}'s changes need the name {changes}, which a contract has for another table"
            )
        if contracts[table].records_path or contracts[table].files:
            construct = "recordsPath" if contracts[table].records_path else "files"
            raise UsageError(f"--topic: {table}'s contract has {construct}, which is about files")
        topics[topic] = table
    return topics
