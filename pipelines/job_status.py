"""How a stream's job is: what its engine, Kafka and the ledger say of it, for a person and for a program."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from connectors.group_offsets import GroupOffsets
from connectors.kafka_config import KafkaConfig
from connectors.leases import Leases
from connectors.ledger_table import LedgerTable
from connectors.storage import Storage
from connectors.warehouse import Warehouse
from contracts.errors import Misuse
from pipelines.jobs import Job, stream_version
from pipelines.options import DEFAULT_GROUP, OperationsOptions, StreamOptions
from pipelines.preflight import load_contracts
from pipelines.stream_preflight import DEFAULT_TOPIC, topics_of

__all__ = ["job_status", "status_lines"]


def job_status(options: PipelineOptions, servers: str | None, job: Job | None) -> dict[str, Any]:
    """The status as JSON has it: `job`, `lag` by source, `lease`, `ledger` (its last line), each None where there is
    none, and `launcher_version`, which a job that is submitted now would carry. Misuse where options are missing.
    """
    ours, streams = options.view_as(OperationsOptions), options.view_as(StreamOptions)
    required = {"--location": ours.location or ours.local, "--bootstrap_servers": servers or streams.kafka_config}
    if missing := [name for name, value in required.items() if not value]:
        raise Misuse(f"{', '.join(missing)} missing: status takes the options that the stream was started with")
    group = streams.group_id or DEFAULT_GROUP
    project = options.view_as(GoogleCloudOptions).project
    config = KafkaConfig.load(servers, streams.kafka_config, Storage(project).read)
    contracts = load_contracts(Storage(project), ours.contracts)
    topics = topics_of(streams.topic or [DEFAULT_TOPIC], contracts)
    offsets = GroupOffsets(config, group)
    offsets.check(topics)
    sources = offsets.sources(topics)
    committed, ends = offsets.committed(sources), offsets.ends(sources)
    return {
        "job": job and asdict(job),
        "launcher_version": stream_version({name: contracts[name] for name in topics.values()}),
        "group": group,
        "lag": {source: max(0, ends[source] - (committed[source] or 0)) for source in sources},
        **_recorded(Warehouse(str(project), ours.location or "US"), ours.operations_dataset, group, sources),
    }


def _recorded(warehouse: Warehouse, dataset: str, group: str, sources: list[str]) -> dict[str, Any]:
    """What the operations data set has of the stream; nothing where no stream has made it yet."""
    if warehouse.existing(dataset, "leases") is None:
        return {"lease": None, "ledger": None}
    holders = Leases(warehouse, dataset).holders([f"group:{group}"])
    lease = {"run_id": holders[0].run_id, "until": holders[0].until} if holders else None
    return {"lease": lease, "ledger": LedgerTable(warehouse, dataset).newest_offsets(sources)}


def status_lines(found: dict[str, Any]) -> list[str]:
    """The same for a person."""
    job, lag, lease, line = found["job"], found["lag"], found["lease"], found["ledger"]
    lines = ["job      none of that name"]
    if job:
        lines = [f"job      {job['name']} is {job['state']} ({job['detail']}), id {job['id']}"]
        lines.append(f"version  {job['version'] or 'not known'}; this launcher is {found['launcher_version']}")
        lines += [f"page     {job['url']}"] if job["url"] else []
    lines.append(f"lag      {sum(lag.values()):,} records of group {found['group']} in {len(lag)} partitions")
    lines.append(f"lease    run {lease['run_id']}, until {lease['until']:%H:%M:%S}" if lease else "lease    nobody")
    if line is None:
        return [*lines, "ledger   no line yet"]
    doors = f"written {line['written']}, duplicates {line['duplicate']}, dead letters {line['dead_letter']}"
    offsets = f"{line['source']} offsets {line['first_offset']} to {line['last_offset']}"
    return [*lines, f"ledger   {offsets}: {doors}, at {line['recorded_at']:%Y-%m-%d %H:%M:%S}"]
