"""A stream that holds its leases: all that its graph is made of is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import apache_beam as beam
from apache_beam.options.pipeline_options import CrossLanguageOptions, PipelineOptions, PortableOptions
from apache_beam.utils.subprocess_server import JavaJarServer, SubprocessServer

from connectors.bigquery.clock import RunClock
from connectors.bookkeeping.heartbeat import Heartbeat
from connectors.bookkeeping.leases import Leases
from connectors.bookkeeping.ledger import LedgerTable
from connectors.bookkeeping.stream_ledger import StreamLedger
from connectors.kafka.config import java_consumer
from connectors.kafka.group_offsets import GroupOffsets
from connectors.sinks.bucket_writers import BucketWriters
from connectors.sinks.destination import Destination
from connectors.sinks.folder import Folding
from connectors.sources.kafka import ReadRecords
from pipelines.engines.job_options import stream_options
from pipelines.engines.pipeline import new_pipeline
from pipelines.runs.beam_arguments import BeamArguments
from pipelines.runs.leasing import refuse_unless_free
from pipelines.stream.graph import Stream
from pipelines.stream.preflight import PreparedStream
from pipelines.stream.progress import CommittedOffsets, GroupProgress, Upkeep
from pipelines.stream.starts import RETRY, commit_first_offsets, number_of_buckets
from transforms.run import Run
from transforms.run_state import RunState, registered

__all__ = ["LeasedStream", "graph_of", "leased"]


@dataclass(frozen=True, kw_only=True)
class LeasedStream:
    """A stream whose leases are held by `run`; its group has a committed offset for every partition."""

    prepared: PreparedStream
    run: Run
    buckets: int
    state: RunState = field(default_factory=RunState)
    """What the run keeps in this process; steps find it by the run's token until the leases are released."""

    @property
    def clock(self) -> RunClock:
        """BigQuery's time."""
        return RunClock(self.prepared.warehouse, self.run)

    @property
    def ledger(self) -> LedgerTable:
        """The ledger of the run."""
        return LedgerTable(self.prepared.warehouse, self.run.operations_dataset)

    @property
    def destination(self) -> Destination:
        """Where the stream writes."""
        prepared = self.prepared
        return Destination(
            run=self.run, tables=prepared.tables, datasets=prepared.datasets, warehouse=prepared.warehouse
        )

    def upkeep(self) -> Upkeep:
        """Return what a running job does every ten minutes."""
        return Upkeep(self._retrying_offsets(), tuple(self.prepared.topics), self.ledger, self.run, self.clock)

    def folding(self, offsets: GroupOffsets) -> Folding:
        """Return what folds the tables that take updates; `offsets` says whether it waits for Kafka."""
        committed = CommittedOffsets(offsets, tuple(self.prepared.topics))
        return Folding(self.destination, committed, self.clock, self.prepared.settings.fold_every.total_seconds())

    def writers(self) -> BucketWriters:
        """Return the writers of the stream's buckets."""
        return BucketWriters(
            destination=self.destination,
            buckets=self.buckets,
            horizon=self.prepared.settings.horizon,
            retry=RETRY,
            progress=GroupProgress(self._retrying_offsets(), tuple(self.prepared.topics), self.ledger, self.clock),
        )

    def graph(self, attempt: str, java_environment: tuple[str, ...], kept_leases: tuple[str, ...]) -> Stream:
        """Return the graph of one execution, named `attempt`. A job that outlives its launcher keeps `kept_leases`."""
        prepared, settings = self.prepared, self.prepared.settings
        return Stream(
            topics=prepared.topics,
            destination=self.destination,
            read=ReadRecords(java_consumer(prepared.kafka, settings.group), tuple(prepared.topics), java_environment),
            writers=self.writers(),
            offsets=self._retrying_offsets(),
            ledger=StreamLedger(self.run, prepared.origins, RETRY, self.clock),
            max_record_bytes=settings.max_record_bytes,
            allow_lost=settings.allow_lost_offsets,
            horizon=settings.horizon,
            clock=self.clock,
            attempt=attempt,
            generations=prepared.generations,
            origins=prepared.origins,
            kept_leases=kept_leases,
            upkeep=self.upkeep() if kept_leases else None,
            folding=self.folding(self._retrying_offsets()) if kept_leases else None,
        )

    def _retrying_offsets(self) -> GroupOffsets:
        return self.prepared.offsets.retrying(RETRY, self.run.token)


@contextmanager
def leased(
    prepared: PreparedStream, log: Callable[[str], None], state: RunState | None = None
) -> Iterator[tuple[LeasedStream, Heartbeat]]:
    """Hold the stream's leases for a new run during the block. Raises Conflict if another run holds one.

    `state` is what the run keeps in this process, by default a new one.
    """
    state = state or RunState()
    run = prepared.new_run()
    leases = Leases(prepared.warehouse, run.operations_dataset)
    refuse_unless_free(leases, prepared.lease_names, run, log)
    with registered(run.token, state), Heartbeat(leases, prepared.lease_names, run.token) as heartbeat:
        buckets = number_of_buckets(prepared, run, prepared.settings.buckets)
        commit_first_offsets(prepared, run, log)
        yield LeasedStream(prepared=prepared, run=run, buckets=buckets, state=state), heartbeat


@contextmanager
def graph_of(
    stream: LeasedStream, beam_arguments: BeamArguments, attempt: str, *, outlives_launcher: bool
) -> Iterator[beam.Pipeline]:
    """Yield the job's graph, and run the expansion service during the block.

    If the Java half of the job runs in the expansion service, the block must last as long as the job. (Beam's own
    `with Pipeline` does the same, but waits for the job's end.)
    """
    options = stream_options(beam_arguments, stream.prepared.version)
    services = beam_arguments.options().view_as(CrossLanguageOptions).beam_services
    kept_leases = stream.prepared.lease_names if outlives_launcher else ()
    java_environment = _java_environment(options, stream.prepared.settings.java_workers)
    with JavaJarServer.beam_services(services), SubprocessServer.cache_subprocesses():
        pipeline = new_pipeline(options)
        stream.graph(attempt, java_environment, kept_leases).build(pipeline)
        yield pipeline


def _java_environment(options: PipelineOptions, java_workers: str | None) -> tuple[str, ...]:
    """Return the expansion service's arguments that say where Kafka's half of the job runs.

    In the pool that --java_workers names; with LOOPBACK workers in the expansion service, because Flink would take
    Docker; else wherever the runner has it.
    """
    if java_workers:
        return "--defaultEnvironmentType=EXTERNAL", f"--defaultEnvironmentConfig={java_workers}"
    if options.view_as(PortableOptions).environment_type != "LOOPBACK":
        return ()
    return "--defaultEnvironmentType=EXTERNAL", "--defaultEnvironmentConfig=localhost:{{PORT}}"
