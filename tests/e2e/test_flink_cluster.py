"""A standalone Flink cluster: jobs outlive their launcher, a task manager may die, and how-to/deploy/flink.md is right.

The tests share one cluster, and come in the order of what befalls it.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from commands.local import FLINK_SERVICES
from commands.session import STREAM_SERVICES
from connectors.files.storage import Storage
from local import flink_cluster, services
from local.services import Endpoints
from pipelines.engines.flink_jobs import FlinkJobs
from pipelines.engines.job import Job, JobState
from tests import launching, oracle
from tests.deploy_docs import run_here
from tests.e2e.clouds import Cloud, cloud_in
from tests.e2e.doctors import Doctor, doctor
from tests.e2e.listening import hold, listeners
from tests.e2e.streams import Feed, StreamSite
from tests.waiting import wait_until

__all__ = ["doctor"]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
RAW = "gs://ecommerce-data-lake/raw"
LISTENING = (
    "fake-gcs-server",
    "local.bigquery.server",
    "kafka.Kafka",
    "StandaloneSessionClusterEntrypoint",
    "TaskManagerRunner",
    "local.worker_pool",
    "flink-",
)
"""Parts of the commands whose processes listen while a job runs: on this machine's own address only."""
DOORS = ("read", "written", "duplicate", "dead_letter")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Endpoints]]:
    """A local cloud with Kafka and a Flink cluster."""
    directory = tmp_path_factory.mktemp("cloud")
    with cloud_in(directory, (*STREAM_SERVICES, *FLINK_SERVICES)) as endpoints:
        yield directory, endpoints


def rest(endpoints: Endpoints) -> str:
    """The job manager's address."""
    return f"http://127.0.0.1:{endpoints.services[flink_cluster.JOB_MANAGER.name].ports['rest']}"


def looked_at(doctor: Doctor, cluster: tuple[Path, Endpoints], *arguments: str, code: int = 0) -> tuple[str, str]:
    """What doctor says of the cluster, for the command line of a job on it."""
    where = rest(cluster[1])
    found = doctor("--runner=FlinkRunner", "--local", f"--local_dir={cluster[0]}", *arguments, code=code)
    return next(finding[:2] for about, finding in found.items() if about == f"flink {where.removeprefix('http://')}")


def test_doctor_finds_nothing_wrong(doctor: Doctor, cluster: tuple[Path, Endpoints]) -> None:
    wait_until(lambda: requests.get(f"{rest(cluster[1])}/overview", timeout=10).json()["slots-available"] == 4)
    mark, says = looked_at(doctor, cluster, "--parallelism=4")
    assert mark == "ok"
    assert says.startswith("Flink 1.19.")
    assert says.endswith(", 4 of 4 task slots free")


def test_a_stream_that_outlives_its_launcher_and_a_task_manager(cluster: tuple[Path, Endpoints]) -> None:
    stream = StreamSite(*cluster, "outlives", runner="FlinkRunner", expansion=())
    feed = stream.feed()
    jobs = FlinkJobs(rest(cluster[1]))
    with feed.sending(40_000):
        feed.rate = 150
        left = stream.start("--no_wait_until_finish", "--parallelism=2").finish(240)
        assert left["state"] == "running"
        hold(listeners(), *LISTENING)
        job = jobs.find("stream-outlives")
        assert job is not None
        assert job.state is JobState.RUNNING
        wait_until(lambda: stream.rows_written() > 0)
        wait_until(lambda: checkpoints(cluster[1], job)["counts"]["completed"] > 0)
        assert feed.sent < 40_000

        # The error of another run of the table or group names the holder.
        said = stream.start("--run_id=other", "--job_name=other", "--max_restarts=0").process
        assert "group outlives is read by run outlives" in said.communicate(timeout=120)[0]
        assert said.returncode == 2
        said = stream.start().process
        assert f"job stream-outlives is running already ({job.id})" in said.communicate(timeout=120)[0]
        assert said.returncode == 2

        before = stream.rows_written()
        kill_a_task_manager_that_works(cluster[1], job)
        wait_until(lambda: checkpoints(cluster[1], job)["counts"]["restored"] > 0)
        after = wait_until(lambda: jobs.refresh(job).state is JobState.RUNNING and stream.rows_written() > before)
        assert after
        assert feed.sent < 40_000

        # A job that is cancelled while it reads leaves nothing in the workers that another one would take for its own.
        jobs.cancel(job)
        wait_until(lambda: jobs.refresh(job).state.ended)
        stream.start("--no_wait_until_finish", "--parallelism=2").finish(240)
        again = jobs.find("stream-outlives")
        assert again is not None
        assert again.id != job.id
        assert feed.sent < 40_000
    stream.wait_until_read(feed.sent)
    cloud, of_the_stream = Cloud(cluster[0]), ("--runner=FlinkRunner", "--local", *stream.names())
    shown = json.loads(cloud.launch("stream", "status", *of_the_stream, "--format=json").stdout)
    assert (shown["job"]["id"], shown["job"]["state"]) == (again.id, "running")
    assert shown["job"]["version"] == shown["launcher_version"]
    cloud.launch("stream", "drain", *of_the_stream)
    cloud.launch("stream", "status", *of_the_stream, code=1)
    assert jobs.refresh(again).state is JobState.DONE
    stream.check(feed)


def test_doctor_finds_the_task_manager_that_was_killed(doctor: Doctor, cluster: tuple[Path, Endpoints]) -> None:
    wait_until(lambda: requests.get(f"{rest(cluster[1])}/overview", timeout=10).json()["slots-total"] == 2)
    says = "2 of 2 task slots are free, --parallelism is 4"
    assert looked_at(doctor, cluster, "--parallelism=4") == ("warning", says)


class Newcomer:
    """Runs the lines of docs/how-to/deploy/flink.md on the cluster, and looks at what comes of each.

    The first of them starts the task manager again that another test has killed.
    """

    def __init__(self, cluster: tuple[Path, Endpoints], folder: Path) -> None:
        self._directory, self._endpoints = cluster
        self._cloud = Cloud(self._directory)
        self._jobs = FlinkJobs(rest(self._endpoints))
        self._raw, self._events = folder / "raw", folder / "events"
        """Copies of the raw files, and of the one that is sent to Kafka."""
        self._stream: Job | None = None

    def run(self, command: str) -> None:
        """Run one line and hold it to what it is there for."""
        python, *words = shlex.split(command)
        assert (python, words[0]) == ("python", "launcher.py")
        done = launching.run([*words[1:], "--local_dir", str(self._directory)], timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        name = "_".join(word for word in words[1:3] if not word.startswith("-"))
        getattr(self, f"after_{name}")(done.stdout)

    def after_local_up(self, _: str) -> None:
        assert set(services.status(self._directory).services) == {*STREAM_SERVICES, *FLINK_SERVICES}

    def after_local_status(self, said: str) -> None:
        assert rest(self._endpoints) in said
        assert all(f"{name}: " in said for name in FLINK_SERVICES)

    def after_generate(self, _: str) -> None:
        storage = Storage("local-project")
        for folder, wanted in ((self._raw, ""), (self._events, "user_events.json")):
            folder.mkdir()
            for file in storage.list(RAW):
                if file.uri.endswith(wanted):
                    (folder / file.uri.rpartition("/")[2]).write_bytes(storage.read(file.uri))

    def after_produce(self, _: str) -> None:
        servers = self._endpoints.environment()["KAFKA_BOOTSTRAP_SERVERS"]
        assert Feed(servers, "user-events").visible() == oracle.expected(self._events)["user_events"].read > 0

    def after_stream(self, _: str) -> None:
        self._stream = self._jobs.find("stream-contract-pipeline")
        assert self._stream is not None
        assert self._stream.state is JobState.RUNNING
        expected = oracle.expected(self._events)["user_events"]
        wait_until(lambda: self._sums("offsets").get("user_events_streaming", (0,))[0] == expected.read)
        assert self._sums("offsets") == {"user_events_streaming": doors(expected)}
        (found,) = self._cloud.rows("SELECT COUNT(*) AS n FROM ecommerce_streaming.user_events_streaming")
        assert found["n"] == len(expected.rows)

    def after_stream_status(self, said: str) -> None:
        assert self._stream is not None
        assert f"stream-contract-pipeline is running (RUNNING), id {self._stream.id}" in said

    def after_stream_drain(self, _: str) -> None:
        assert self._stream is not None
        assert self._jobs.refresh(self._stream).state is JobState.DONE

    def after_batch(self, _: str) -> None:
        expected = oracle.expected(self._raw)
        assert self._sums("loaded") == {name: doors(table) for name, table in expected.items()}
        for name, table in expected.items():
            rows = self._cloud.rows(f"SELECT _source, _position FROM ecommerce_data.{name}")
            held = Counter((row["_source"], row["_position"]) for row in rows)
            assert held == Counter((f"{RAW}/{file}", position) for file, position in table.positions.values())
        jobs = requests.get(f"{rest(self._endpoints)}/jobs/overview", timeout=10).json()["jobs"]
        assert [job["state"] for job in jobs if not job["name"].startswith("stream-")] == ["FINISHED"]

    def after_local_down(self, _: str) -> None:
        assert services.status(self._directory).services == {}

    def _sums(self, kind: str) -> dict[str, tuple[int, ...]]:
        """What the ledger has of each table."""
        sums = ", ".join(f"SUM(`{door}`) AS `{door}`" for door in DOORS)
        rows = self._cloud.rows(
            f"SELECT `table` AS name, {sums} FROM pipeline_operations.ledger_current WHERE kind = '{kind}' GROUP BY 1"
        )
        return {row["name"]: tuple(int(row[door]) for door in DOORS) for row in rows}


def doors(table: oracle.Expected) -> tuple[int, ...]:
    """By which doors a table's records have to leave."""
    return (table.read, len(table.rows), table.duplicate, sum(table.by_code.values()))


def test_the_lines_of_the_document(
    doctor: Doctor, cluster: tuple[Path, Endpoints], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newcomer = Newcomer(cluster, tmp_path)
    for line in run_here("flink.md"):
        newcomer.run(line)
    # The last line has stopped all of it, and doctor finds that.
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS")
    address = rest(cluster[1])
    found = doctor("--runner=FlinkRunner", f"--flink_master={address}", code=1)["runner FlinkRunner"]
    assert found[0] == "wrong"
    assert found[1].startswith(f"no Flink answers at {address}: ")


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
    workers = []
    for pool in (flink_cluster.PYTHON_WORKERS, flink_cluster.JAVA_WORKERS):
        started = psutil.Process(endpoints.services[pool.name].process.pid).children(recursive=True)
        its = [one for one in started if any(to.raddr and to.raddr.port in listening for to in one.net_connections())]
        assert its, pool.name
        workers += its
    for pid in (process.pid, *(one.pid for one in workers)):
        os.kill(pid, signal.SIGKILL)
