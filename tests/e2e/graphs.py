"""A job's graph as it was staged for Dataflow, run on Prism by the job API alone: no launcher, nothing of ours but what
the workers run.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc, beam_runner_api_pb2, endpoints_pb2
from google.protobuf import struct_pb2

from connectors.files.storage import Storage
from local.engines import prefetch
from local.processes import free_port
from local.programs.java import java
from tests.e2e.clouds import ROOT

__all__ = ["Graph", "Prism", "PrismEnded", "image_of", "prism"]

ANSWER_SECONDS = 30
LOG_CHARACTERS = 5_000
ENDED = ("DONE", "FAILED", "CANCELLED", "STOPPED")


@dataclass(frozen=True)
class Graph:
    """What a template or a job says is to run."""

    job: Mapping[str, Any]
    pipeline: beam_runner_api_pb2.Pipeline

    @classmethod
    def at(cls, location: str) -> Graph:
        """The one that was written to --template_location."""
        return cls.of(json.loads(Storage("local-project").read(location)))

    @classmethod
    def of(cls, job: Mapping[str, Any]) -> Graph:
        """The one of a job, as JSON has it."""
        url = job["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"]
        return cls(job, beam_runner_api_pb2.Pipeline.FromString(Storage("local-project").read(url)))

    @property
    def options(self) -> dict[str, Any]:
        """The options that the job keeps."""
        return dict(self.job["environment"]["sdkPipelineOptions"]["options"])


def image_of(pipeline: beam_runner_api_pb2.Pipeline, name: str) -> str:
    """The container image of an environment."""
    payload = pipeline.components.environments[name].payload
    return str(beam_runner_api_pb2.DockerPayload.FromString(payload).container_image)


class PrismEnded(Exception):
    """Prism has ended, with what its log says last."""


@dataclass(frozen=True)
class Prism:
    """A Prism, and pools of Python's and Java's workers. `log` is Prism's."""

    service: beam_job_api_pb2_grpc.JobServiceStub
    python: str
    java: str
    log: Path

    def submit(self, graph: Graph) -> str:
        """Start the graph as it is, but for where its workers are; the job's id."""
        pipeline = beam_runner_api_pb2.Pipeline()
        pipeline.CopyFrom(graph.pipeline)
        for name, environment in pipeline.components.environments.items():
            assert environment.urn == common_urns.environments.DOCKER.urn
            pool = self.java if "beam_java" in image_of(pipeline, name) else self.python
            environment.urn = common_urns.environments.EXTERNAL.urn
            external = beam_runner_api_pb2.ExternalPayload(endpoint=endpoints_pb2.ApiServiceDescriptor(url=pool))
            environment.payload = external.SerializeToString()
            del environment.dependencies[:]  # a pool's workers have them
        options = struct_pb2.Struct()
        options.update({f"beam:option:{name}:v1": value for name, value in graph.options.items()})
        request = beam_job_api_pb2.PrepareJobRequest(job_name="graph", pipeline=pipeline, pipeline_options=options)
        prepared = self.service.Prepare(request, timeout=ANSWER_SECONDS)
        run = beam_job_api_pb2.RunJobRequest(preparation_id=prepared.preparation_id)
        return str(self.service.Run(run, timeout=ANSWER_SECONDS).job_id)

    def state(self, job_id: str) -> str:
        """Its state now."""
        answer = self.service.GetState(beam_job_api_pb2.GetJobStateRequest(job_id=job_id), timeout=ANSWER_SECONDS)
        return str(beam_job_api_pb2.JobState.Enum.Name(answer.state))

    def wait(self, job_id: str, seconds: float = 120) -> str:
        """Wait until it has ended; its state then. Raises PrismEnded."""
        deadline = time.monotonic() + seconds
        try:
            while (state := self.state(job_id)) not in ENDED:
                assert time.monotonic() < deadline, state
                time.sleep(0.2)
        except grpc.RpcError as error:
            raise PrismEnded(f"{error}\n{self.log.read_text()[-LOG_CHARACTERS:]}") from None
        return state

    def cancel(self, job_id: str) -> None:
        """End it."""
        self.service.Cancel(beam_job_api_pb2.CancelJobRequest(job_id=job_id), timeout=ANSWER_SECONDS)


@contextmanager
def prism(folder: Path, environment: Mapping[str, str]) -> Iterator[Prism]:
    """A Prism and its pools while the block lasts; `environment` is the workers'. Logs go to `folder`."""
    files = prefetch(["kafka-io", "prism"])
    job, python, java_pool = (free_port(0, ()) for _ in range(3))
    commands = {
        "prism": [str(files["prism"]), f"--job_port={job}", "--serve_http=false", "--log_level=warn"],
        "python": [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={python}"],
        "java": [str(java()), "-jar", str(files["kafka-io"]), str(java_pool), "--alsoStartLoopbackWorker"],
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # the pool's workers are `python`
    running = []
    try:
        for name, command in commands.items():
            with (folder / f"{name}.log").open("wb") as log:
                running.append(
                    subprocess.Popen(
                        command,
                        cwd=ROOT,
                        env={**os.environ, **environment, "PATH": path},
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                )
        for port in (job, python, java_pool):
            with grpc.insecure_channel(f"localhost:{port}") as channel:
                grpc.channel_ready_future(channel).result(timeout=60)
        with grpc.insecure_channel(f"localhost:{job}") as channel:
            service = beam_job_api_pb2_grpc.JobServiceStub(channel)
            yield Prism(service, f"localhost:{python}", f"localhost:{java_pool}", folder / "prism.log")
    finally:
        for process in running:
            os.killpg(process.pid, signal.SIGKILL)  # the pool's workers too
            process.wait()
