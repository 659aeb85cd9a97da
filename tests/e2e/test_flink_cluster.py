"""A standalone Flink cluster: jobs outlive their launcher, and a task manager may die."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from commands.local import FLINK_SERVICES
from commands.session import STREAM_SERVICES
from connectors.group_offsets import GroupOffsets
from connectors.kafka_config import KafkaConfig
from connectors.storage import Storage
from local import flink_cluster
from local.services import Endpoints
from pipelines.flink_jobs import FlinkJobs
from pipelines.jobs import Job, JobState
from tests.e2e.clouds import Cloud, cloud_in
from tests.e2e.streams import StreamSite

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Endpoints]]:
    """A local cloud with Kafka and a Flink cluster."""
    directory = tmp_path_factory.mktemp("cloud")
    with cloud_in(directory, (*STREAM_SERVICES, *FLINK_SERVICES)) as endpoints:
        yield directory, endpoints


def rest(endpoints: Endpoints) -> str:
    """The job manager's address."""
    return f"http://127.0.0.1:{endpoints.services[flink_cluster.JOB_MANAGER.name].ports['rest']}"


def until(true: Callable[[], Any], seconds: float = 120) -> Any:
    """Wait for it, and give what it gives."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.5)
    return found


def test_a_batch(cluster: tuple[Path, Endpoints], tmp_path: Path) -> None:
    cloud = Cloud(cluster[0])
    cloud.launch(
        "generate", "--local", f"--output={tmp_path}", "--customers=50", "--products=20", "--transactions=300",
        "--events=2000",
    )  # fmt: skip
    arguments = ("--dataset=by_flink", "--operations_dataset=by_flink_operations", "--max_dead_letter_ratio=1")
    there = cloud.batch(tmp_path, "--runner=FlinkRunner", *arguments)
    (job,) = requests.get(f"{rest(cluster[1])}/jobs/overview", timeout=10).json()["jobs"]
    assert job["state"] == "FINISHED"
    here = cloud.batch(tmp_path, "--dataset=by_direct", "--operations_dataset=by_direct_operations", *arguments[2:])
    assert there["state"] == here["state"] == "done"
    assert there["tables"] == here["tables"]
    for name in there["tables"]:
        keys = [
            cloud.rows(f"SELECT _source, _position FROM {dataset}.{name} ORDER BY _source, _position")
            for dataset in ("by_flink", "by_direct")
        ]
        assert keys[0] == keys[1] != []


def test_a_stream_that_outlives_its_launcher_and_a_task_manager(cluster: tuple[Path, Endpoints]) -> None:
    stream = StreamSite(*cluster, "outlives", runner="FlinkRunner")
    feed = stream.feed()
    jobs = FlinkJobs(rest(cluster[1]))
    with feed.sending(40_000):
        feed.rate = 500
        left = stream.start("--no_wait_until_finish", "--parallelism=2").finish(240)
        assert left["state"] == "running"
        job = jobs.find("stream-outlives")
        assert job is not None
        assert job.state is JobState.RUNNING
        until(lambda: stream.rows_written() > 0)
        until(lambda: checkpoints(cluster[1], job)["counts"]["completed"] > 0)
        assert feed.sent < 40_000

        # Who else would write the table or read the group is told who holds them.
        said = stream.start("--run_id=other", "--job_name=other", "--max_restarts=0").process
        assert "is being written by run outlives" in said.communicate(timeout=120)[0]
        assert said.returncode == 2
        said = stream.start().process
        assert f"job stream-outlives is running already ({job.id})" in said.communicate(timeout=120)[0]
        assert said.returncode == 2

        before = stream.rows_written()
        kill_a_task_manager_that_works(cluster[1], job)
        until(lambda: checkpoints(cluster[1], job)["counts"]["restored"] > 0)
        after = until(lambda: jobs.refresh(job).state is JobState.RUNNING and stream.rows_written() > before)
        assert after
        assert feed.sent < 40_000
    stream.wait_until_read(feed.sent)
    cloud, of_the_stream = Cloud(cluster[0]), ("--runner=FlinkRunner", "--local", *stream.names())
    shown = json.loads(cloud.launch("stream", "status", *of_the_stream, "--format=json").stdout)
    assert (shown["job"]["id"], shown["job"]["state"]) == (job.id, "running")
    assert shown["job"]["version"] == shown["launcher_version"]
    cloud.launch("stream", "drain", *of_the_stream)
    cloud.launch("stream", "status", *of_the_stream, code=1)
    assert jobs.refresh(job).state is JobState.DONE
    stream.check(feed)

    # Workers remember nothing of an earlier job: a start reads from the committed offsets on, wherever that one was.
    offsets = GroupOffsets(KafkaConfig.load(stream.servers, None, Storage("local-project").read), stream.name)
    offsets.commit(offsets.beginnings(offsets.sources([stream.topic])))
    stream.start("--no_wait_until_finish").finish(240)
    feed.send(100)
    ends = offsets.ends(offsets.sources([stream.topic]))
    until(lambda: all(offsets.committed(list(ends))[one] == at for one, at in ends.items()))
    stream.check(feed)


def checkpoints(endpoints: Endpoints, job: Job) -> dict[str, Any]:
    """What Flink says of a job's checkpoints."""
    found: dict[str, Any] = requests.get(f"{rest(endpoints)}/jobs/{job.id}/checkpoints", timeout=10).json()
    return found


def kill_a_task_manager_that_works(endpoints: Endpoints, job: Job) -> None:
    """SIGKILL to a task manager that runs tasks of the job, and to the workers that it has asked for."""
    shown = requests.get(f"{rest(endpoints)}/jobs/{job.id}", timeout=10).json()
    vertex = shown["vertices"][0]["id"]
    found = requests.get(f"{rest(endpoints)}/jobs/{job.id}/vertices/{vertex}/taskmanagers", timeout=10).json()
    name = found["taskmanagers"][0]["taskmanager-id"]
    process = psutil.Process(endpoints.services[name].process.pid)
    listening = {one.laddr.port for one in process.net_connections() if one.status == psutil.CONN_LISTEN}
    pool = psutil.Process(endpoints.services[flink_cluster.PYTHON_WORKERS.name].process.pid)
    workers = [
        one for one in pool.children(recursive=True) if any(f":{port}" in " ".join(one.cmdline()) for port in listening)
    ]
    assert workers
    for pid in (process.pid, *(one.pid for one in workers)):
        os.kill(pid, signal.SIGKILL)
