"""The task of one contender, which runs in a separate process, on running servers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from apache_beam.io.kafka import ReadFromKafka, default_io_expansion_service
from apache_beam.options.pipeline_options import CrossLanguageOptions
from apache_beam.pvalue import PCollection
from apache_beam.runners.runner import PipelineState
from apache_beam.utils.subprocess_server import JavaJarServer, SubprocessServer

from benchmarks.streaming.probe import PROBE
from connectors.kafka.config import KafkaConfig, java_consumer
from connectors.sources.kafka import KafkaRecord
from local.engines import engines
from local.service import PROJECT
from pipelines.engines.job_options import stream_options
from pipelines.engines.pipeline import new_pipeline
from pipelines.engines.runners import stream_defaults
from pipelines.runs.command_line import CommandLine

__all__ = ["TABLE", "Task", "run_job", "stream_line"]

TABLE = "user_events_streaming"
JAVA_ENVIRONMENT = ["--defaultEnvironmentType=EXTERNAL", "--defaultEnvironmentConfig=localhost:{{PORT}}"]
POLL_SECONDS = 0.05
ENDED = (PipelineState.FAILED, PipelineState.CANCELLED, PipelineState.DONE)


@dataclass(frozen=True)
class Task:
    """One run. It ends when `records` are durable, or `seconds` after the first record."""

    name: str
    """The name of the run's consumer group, dataset and run id."""
    topic: str
    records: int
    seconds: float
    runner: str = "PrismRunner"
    arguments: tuple[str, ...] = ()
    """More options of this project's pipeline."""
    warm_seconds: float = 0.0
    """Latencies count only for records that are sent more than this many seconds after the first."""

    @property
    def servers(self) -> str:
        """Kafka's bootstrap servers."""
        return os.environ["KAFKA_BOOTSTRAP_SERVERS"]

    @property
    def table(self) -> str:
        """The table of events: project.dataset.table."""
        return f"{PROJECT}.{self.name}.{TABLE}"

    def consumer(self) -> dict[str, str]:
        """The Java consumer's configuration, the same for every contender."""
        return java_consumer(KafkaConfig(self.servers), self.name)


@contextmanager
def stream_line(runner: str, *arguments: str) -> Iterator[CommandLine]:
    """Yield a stream's command line for the engines of this machine, which are there during the block."""
    with engines(runner) as added:
        line = CommandLine.parse([f"--runner={runner}", *arguments])
        yield line.with_engine([*added, *stream_defaults(runner, line.given)])


def run_job(task: Task, steps: Callable[[PCollection[KafkaRecord]], object]) -> None:
    """Read the topic into `steps`, until the probe is complete or the task's time is over."""
    with stream_line(task.runner) as line:
        options = stream_options(line.beam(), "benchmark")
        services = options.view_as(CrossLanguageOptions).beam_services
        with JavaJarServer.beam_services(services), SubprocessServer.cache_subprocesses():
            pipeline = new_pipeline(options)
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
