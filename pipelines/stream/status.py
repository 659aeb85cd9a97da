"""The status of a stream's job: what its engine, Kafka and the ledger say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.leases import Leases
from connectors.bookkeeping.ledger import LedgerTable
from connectors.files.storage import Storage
from connectors.kafka.config import KafkaConfig
from connectors.kafka.group_offsets import GroupOffsets
from connectors.kafka.lag import lag
from contracts.changes import takes_updates
from contracts.table import Table
from pipelines.engines.job import Job
from pipelines.engines.naming import stream_version
from pipelines.runs.contracts import load_contracts
from pipelines.runs.settings import StreamSettings
from pipelines.stream.preflight import topics_of

__all__ = ["HeldLease", "StreamStatus", "stream_status"]

MOMENT = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True, slots=True)
class HeldLease:
    """Which run holds the group's lease, and until when without another heartbeat."""

    run_id: str
    until: datetime


@dataclass(frozen=True, kw_only=True)
class StreamStatus:
    """How a stream's job is. What does not exist is None."""

    job: Job | None
    launcher_version: str
    """The version that a job submitted now would carry."""
    group: str
    lag: Mapping[str, int]
    """Offsets that are left to read, by source."""
    lease: HeldLease | None
    ledger: Mapping[str, Any] | None
    """The newest line of the ledger about the stream's sources: of the run with the lease, else of any run."""
    fold: Mapping[str, Any] | None = None
    """The newest line of the ledger about updates that were merged, by column."""

    def to_json(self) -> dict[str, Any]:
        """Return what `stream status --format json` prints."""
        return {
            "job": self.job and asdict(self.job),
            "launcher_version": self.launcher_version,
            "group": self.group,
            "lag": dict(self.lag),
            "lease": self.lease and asdict(self.lease),
            "ledger": self.ledger and dict(self.ledger),
            "fold": self.fold and dict(self.fold),
        }

    def lines(self) -> list[str]:
        """Return what `stream status` prints."""
        lines = ["job      none of this name"]
        if job := self.job:
            lines = [f"job      {job.name} is {job.state} ({job.detail}), id {job.id}"]
            lines.append(f"version  {job.version or 'unknown'}; this launcher is {self.launcher_version}")
            lines += [f"page     {job.url}"] if job.url else []
        lines.append(f"lag      {sum(self.lag.values()):,} records of group {self.group} in {len(self.lag)} partitions")
        lease = f"run {self.lease.run_id}, until {self.lease.until:%H:%M:%S}" if self.lease else "free"
        lines.append(f"lease    {lease}")
        if fold := self.fold:
            when = f"{fold['recorded_at']:{MOMENT}}"
            lines.append(f"fold     {fold['written']:,} rows of {fold['table']} changed, at {when}")
        if self.ledger is None:
            return [*lines, f"ledger   no line{' of this run' if self.lease else ''} yet"]
        line = self.ledger
        doors = f"written {line['written']}, duplicates {line['duplicate']}, dead letters {line['dead_letter']}"
        offsets = f"{line['source']} offsets {line['first_offset']} to {line['last_offset']}"
        run = "" if self.lease else f", by run {line['run_id']}, which has ended"
        return [*lines, f"ledger   {offsets}: {doors}, at {line['recorded_at']:{MOMENT}}{run}"]


def stream_status(settings: StreamSettings, job: Job | None) -> StreamStatus:
    """Return the status of a stream whose job is `job`. Raises UsageError for a topic that does not exist."""
    storage = Storage(settings.project)
    offsets = GroupOffsets(KafkaConfig.load(settings.servers, settings.kafka_config, storage.read), settings.group)
    contracts = load_contracts(storage, settings.contracts)
    topics = topics_of(settings.topics, contracts)
    offsets.check(topics)
    sources = offsets.sources(topics)
    tables = {name: contracts[name] for name in topics.values()}
    lease, line, fold = _bookkeeping(settings, sources, tables)
    return StreamStatus(
        job=job,
        launcher_version=stream_version(tables),
        group=settings.group,
        lag=lag(offsets.committed(sources), offsets.ends(sources)),
        lease=lease,
        ledger=line,
        fold=fold,
    )


def _bookkeeping(
    settings: StreamSettings, sources: Sequence[str], tables: Mapping[str, Table]
) -> tuple[HeldLease | None, Mapping[str, Any] | None, Mapping[str, Any] | None]:
    """Return the group's lease and the newest lines about its sources and folds; None each if there is none yet.

    Other groups may read the same topics, so a line counts only if it is of the run that holds the lease.
    """
    warehouse, dataset = Warehouse(settings.project, settings.location), settings.operations_dataset
    if warehouse.existing(dataset, "leases") is None:
        return None, None, None
    holders = Leases(warehouse, dataset).holders([f"group:{settings.group}"])
    lease = HeldLease(holders[0].run_id, holders[0].until) if holders else None
    ledger = LedgerTable(warehouse, dataset)
    line = ledger.newest_offsets(list(sources), lease.run_id if lease else None)
    folded = settings.datasets({name: table for name, table in tables.items() if takes_updates(table)})
    return lease, line, ledger.newest_fold(folded) if folded else None
