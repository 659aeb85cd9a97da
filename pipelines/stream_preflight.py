"""All that is looked at before a stream starts, so that what cannot end well is refused with exit code 2."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, PortableOptions, StandardOptions

from connectors.bigquery_append import Destination
from connectors.bigquery_load import table_spec
from connectors.clients import write_client
from connectors.group_offsets import GroupOffsets, made_anew, removed_unread
from connectors.kafka_client import NEW_PARTITIONS, admin, create_topics
from connectors.kafka_config import KafkaConfig, java_consumer
from connectors.operations_dataset import ensure_operations
from connectors.patience import Patience
from connectors.storage import Storage
from connectors.stream_ledger import StreamLedger
from connectors.warehouse import Warehouse
from connectors.write_streams import WriteStreams
from contracts.errors import Misuse
from contracts.table import Table, WriteDisposition
from pipelines.dataflow import check_dataflow
from pipelines.options import DEFAULT_GROUP, OperationsOptions, StreamOptions
from pipelines.preflight import check_names, load_contracts
from pipelines.stream import Stream
from transforms.run import Run

__all__ = [
    "DEFAULT_TOPIC",
    "PreparedStream",
    "check_runner",
    "prepare_stream",
    "resolve_starts",
    "topics_of",
    "with_buckets",
]

DEFAULT_TOPIC = "user-events=user_events_streaming"
DEFAULT_BUCKETS = 8
MAX_BUCKETS = 256
PATIENCE = Patience(300.0)
"""How long a step waits for BigQuery before the job fails and is submitted again."""
ENGINES = "PrismRunner on one machine, FlinkRunner or DataflowRunner on many"
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True)
class PreparedStream:
    """A stream that may start once it holds the leases; `lanes` are the tables that it writes, dataset.table."""

    stream: Stream
    lanes: tuple[str, ...]
    offsets: GroupOffsets
    """The launcher's own view of the group: it does not wait for a broker that is away."""

    @property
    def lease_names(self) -> tuple[str, ...]:
        """What only one stream at a time may have: its tables and its group."""
        return (*self.lanes, f"group:{self.offsets.group}")

    def outliving(self) -> PreparedStream:
        """The same for a job that outlives its launcher, and keeps the leases itself."""
        return replace(self, stream=replace(self.stream, kept_leases=self.lease_names))

    def sources(self) -> list[str]:
        """The partitions that the topics have now."""
        return self.offsets.sources(self.stream.topics)


def prepare_stream(options: PipelineOptions, servers: str | None, log: Callable[[str], None]) -> PreparedStream:
    """Check the configuration and make what is absent. Misuse for whatever cannot end well.

    `servers` are Kafka's bootstrap servers, None where nobody named any.
    """
    ours, streams = options.view_as(OperationsOptions), options.view_as(StreamOptions)
    check_runner(options)
    project = options.view_as(GoogleCloudOptions).project
    _check_required(ours, streams, project, servers)
    check_dataflow(options)
    assert project is not None
    horizon = _duration(streams.dedup_horizon or "24h", "--dedup_horizon")
    warehouse = Warehouse(project, ours.location or "US")
    contracts = load_contracts(Storage(project), ours.contracts)
    topics = topics_of(streams.topic or [DEFAULT_TOPIC], contracts)
    tables = {name: contracts[name] for name in topics.values()}
    datasets = {name: ours.dataset or table.dataset for name, table in tables.items()}
    group = streams.group_id or DEFAULT_GROUP
    config = KafkaConfig.load(servers, streams.kafka_config, Storage(project).read)
    offsets = GroupOffsets(config, group)
    if streams.create_topics:
        with admin(config) as client:
            for topic in create_topics(client, config, dict.fromkeys(topics, NEW_PARTITIONS)):
                log(f"made topic {topic} with {NEW_PARTITIONS} partitions")
    offsets.check(topics)
    ensure_operations(warehouse, ours.operations_dataset)
    for name, table in tables.items():
        warehouse.ensure_dataset(datasets[name])
        warehouse.ensure_table(table_spec(table, datasets[name]))
    now = datetime.now(UTC)
    run_id = ours.run_id or f"stream-{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    run = Run(
        run_id, secrets.token_hex(8), "stream", now, project, warehouse.location, ours.operations_dataset, "", "",
        ours.max_record_bytes, ours.max_dead_letter_ratio, ours.keep_duplicates,
    )  # fmt: skip
    patient = offsets.patient(PATIENCE.deadline)
    committed = _Committed(patient, tuple(topics))
    destination = Destination(run, tables, datasets, warehouse, 0, horizon, PATIENCE, committed)
    stream = Stream(
        topics, java_consumer(config, group), destination, patient, StreamLedger(run, topics, PATIENCE),
        ours.max_record_bytes, streams.allow_lost_offsets, "", _java_environment(options),
    )  # fmt: skip
    return PreparedStream(stream, tuple(destination.lane_name(name) for name in tables), offsets)


def with_buckets(prepared: PreparedStream, wanted: int | None) -> PreparedStream:
    """The stream with its number of buckets: what the table's last owners had, another one only once all is read."""
    stream, to = prepared.stream, prepared.stream.destination
    streams = WriteStreams(to.warehouse, to.run.operations_dataset, to.run.run_id, PATIENCE)
    known = {lane: streams.buckets(lane) for lane in prepared.lanes}
    buckets = wanted or next((number for number in known.values() if number), None) or DEFAULT_BUCKETS
    for lane, number in known.items():
        if number is None or number == buckets:
            continue
        sources = prepared.sources()
        ends, committed = prepared.offsets.ends(sources), prepared.offsets.committed(sources)
        if any((committed[source] or 0) < ends[source] for source in sources):
            raise Misuse(
                f"--buckets: {lane} is split into {number}; another number needs a drained stream"
                " (stop it when nothing is left to read)"
            )
        streams.end_all(write_client(), lane)
    return replace(prepared, stream=replace(stream, destination=replace(to, buckets=buckets)))


def resolve_starts(prepared: PreparedStream, start_from: str | None, log: Callable[[str], None]) -> None:
    """Commit where each partition begins, so that every reader begins there. Misuse where that cannot be right."""
    stream, offsets = prepared.stream, prepared.offsets
    sources = prepared.sources()
    committed, beginnings, ends = offsets.committed(sources), offsets.beginnings(sources), offsets.ends(sources)
    starts = _first_starts(offsets, [source for source in sources if committed[source] is None], start_from)
    for source in sources:
        at = committed[source]
        if at is None:
            continue
        if anew := made_anew(source, at, ends[source], offsets.group):
            raise Misuse(anew)
        if lost := removed_unread(source, at, beginnings[source]):
            if not stream.allow_lost:
                stream.ledger.record_lost(source, at, beginnings[source] - 1)
                raise Misuse(f"{lost}; --allow_lost_offsets goes on behind them")
            log(lost)
            stream.ledger.record_lost(source, at, beginnings[source] - 1)
            starts[source] = beginnings[source]
    offsets.commit(starts)


def _first_starts(offsets: GroupOffsets, sources: list[str], start_from: str | None) -> dict[str, int]:
    where = start_from or "earliest"
    if where == "earliest":
        return offsets.beginnings(sources) if sources else {}
    if where == "latest":
        return offsets.ends(sources) if sources else {}
    kind, _, text = where.partition(":")
    try:
        if kind != "timestamp":
            raise ValueError
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Misuse(f"--start_from is earliest, latest or timestamp:2026-01-31T12:00:00Z, not {where!r}") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    ends = offsets.ends(sources) if sources else {}
    found = offsets.at_times(sources, int(moment.timestamp() * 1000)) if sources else {}
    return {source: ends[source] if offset is None else offset for source, offset in found.items()}


@dataclass(frozen=True)
class _Committed:
    """The committed offset of every source that the topics have now."""

    offsets: GroupOffsets
    topics: tuple[str, ...]

    def __call__(self) -> Mapping[str, int]:
        committed = self.offsets.committed(self.offsets.sources(self.topics))
        return {source: offset or 0 for source, offset in committed.items()}


def check_runner(options: PipelineOptions) -> None:
    """Misuse for a runner that reads no topic."""
    runner = options.view_as(StandardOptions).runner
    if runner in (None, "DirectRunner"):
        raise Misuse(f"a stream has no end, and DirectRunner reads nothing without one: take {ENGINES}")


def _check_required(ours: OperationsOptions, streams: StreamOptions, project: str | None, servers: str | None) -> None:
    check_names(ours)
    if streams.max_restarts < 0:
        raise Misuse("--max_restarts must be at least 0")
    if streams.stop_when_idle is not None and streams.stop_when_idle < 0:
        raise Misuse("--stop_when_idle must be at least 0 seconds")
    if streams.buckets is not None and not 1 <= streams.buckets <= MAX_BUCKETS:
        raise Misuse(f"--buckets is a number from 1 to {MAX_BUCKETS}")
    kafka = servers or streams.kafka_config
    required = {"--project": project, "--location": ours.location or ours.local, "--bootstrap_servers": kafka}
    missing = [name for name, value in required.items() if not value]
    if missing:
        raise Misuse(
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing; to try it on this machine:"
            " python launcher.py stream --runner PrismRunner --local"
        )


def topics_of(given: list[str], contracts: Mapping[str, Table]) -> dict[str, str]:
    """Table by topic, of --topic's values. Misuse for what cannot be streamed."""
    topics: dict[str, str] = {}
    for item in ",".join(given).split(","):  # a Flex Template passes an option once
        topic, _, table = item.partition("=")
        if not topic or not table:
            raise Misuse(f"--topic is TOPIC=TABLE, not {item!r}")
        if topic in topics:
            raise Misuse(f"--topic: {topic} is given twice")
        if table not in contracts:
            raise Misuse(f"--topic: no contract has a table {table}; there are {', '.join(sorted(contracts))}")
        if contracts[table].disposition is not WriteDisposition.APPEND:
            raise Misuse(f"--topic: a stream appends, and {table}'s contract says {contracts[table].disposition.value}")
        topics[topic] = table
    return topics


def _duration(text: str, option: str) -> timedelta:
    match = re.fullmatch(r"([1-9][0-9]*)([smhd])", text)
    if match is None:
        raise Misuse(f"{option} is a number with s, m, h or d, such as 24h, not {text!r}")
    return timedelta(**{UNITS[match[2]]: int(match[1])})


def _java_environment(options: PipelineOptions) -> tuple[str, ...]:
    """Where Kafka's half of the job runs: beside LOOPBACK workers in the expansion service, for Flink would take
    Docker; in the pool that --java_workers names; else wherever the runner has it."""
    if pool := options.view_as(StreamOptions).java_workers:
        return "--defaultEnvironmentType=EXTERNAL", f"--defaultEnvironmentConfig={pool}"
    if options.view_as(PortableOptions).environment_type != "LOOPBACK":
        return ()
    return "--defaultEnvironmentType=EXTERNAL", "--defaultEnvironmentConfig=localhost:{{PORT}}"
