"""What one contender is told: it runs in a process of its own, on servers that are there already."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.io.kafka import ReadFromKafka, default_io_expansion_service
from apache_beam.options.pipeline_options import CrossLanguageOptions, PipelineOptions
from apache_beam.pvalue import PCollection
from apache_beam.runners.runner import PipelineState
from apache_beam.utils.subprocess_server import JavaJarServer, SubprocessServer

from benchmarks.streaming.probe import PROBE
from connectors.kafka_config import KafkaConfig, java_consumer
from connectors.kafka_source import KafkaRecord
from local.engines import engines
from local.service import PROJECT
from pipelines.runners import stream_defaults
from pipelines.stream_run import streaming_options

__all__ = ["TABLE", "Task", "beam_options", "run_job"]

TABLE = "user_events_streaming"
JAVA_ENVIRONMENT = ["--defaultEnvironmentType=EXTERNAL", "--defaultEnvironmentConfig=localhost:{{PORT}}"]
POLL_SECONDS = 0.05
ENDED = (PipelineState.FAILED, PipelineState.CANCELLED, PipelineState.DONE)


@dataclass(frozen=True)
class Task:
    """One run. It ends when `records` are durable, or `seconds` behind the first."""

    name: str
    """What this run alone has: its group, its data set, its run id."""
    topic: str
    records: int
    seconds: float
    runner: str = "PrismRunner"
    arguments: tuple[str, ...] = ()
    """Further options of this project's pipeline."""
    warm_seconds: float = 0.0
    """Latencies count of records that are sent so long behind the first."""

    @property
    def servers(self) -> str:
        """Kafka's bootstrap servers."""
        return os.environ["KAFKA_BOOTSTRAP_SERVERS"]

    @property
    def table(self) -> str:
        """Where events go: project.dataset.table."""
        return f"{PROJECT}.{self.name}.{TABLE}"

    def consumer(self) -> dict[str, str]:
        """The Java consumer's configuration, the same for every contender."""
        return java_consumer(KafkaConfig(self.servers), self.name)


@contextmanager
def beam_options(runner: str, *arguments: str) -> Iterator[PipelineOptions]:
    """A stream's options for the engines of this machine, while the block lasts."""
    with engines(runner) as added:
        options = PipelineOptions([*added, f"--runner={runner}", *stream_defaults(runner, []), *arguments])
        streaming_options(options)
        yield options


def run_job(task: Task, steps: Callable[[PCollection[KafkaRecord]], object]) -> None:
    """Read the task's topic into `steps`, until the probe is complete or the task's time is over."""
    with beam_options(task.runner) as options:
        services = options.view_as(CrossLanguageOptions).beam_services
        with JavaJarServer.beam_services(services), SubprocessServer.cache_subprocesses():
            pipeline = beam.Pipeline(options=options)
            expansion = default_io_expansion_service(JAVA_ENVIRONMENT)
            steps(
                pipeline | ReadFromKafka(task.consumer(), [task.topic], with_metadata=True, expansion_service=expansion)
            )
            result = pipeline.run()
            while not PROBE.complete.wait(POLL_SECONDS):
                if result.state in ENDED:
                    result.wait_until_finish()
                    raise RuntimeError(f"the job has ended by itself ({result.state})")
                if PROBE.first and time.monotonic() - PROBE.first > task.seconds:
                    break
            result.cancel()
