"""Jobs on Dataflow, through the launcher, against a service that holds every request to Google's published types."""

from __future__ import annotations

import json
import logging
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from google.cloud import dataflow_v1beta3 as dataflow
from google.cloud.dataflow_v1beta3 import JobState

from connectors.bigquery.warehouse import Warehouse
from connectors.files.storage import Storage
from contracts.odcs.tables import shipped
from local.engines import engines
from local.services import Endpoints
from pipelines.engines.naming import stream_version
from tests import launching
from tests.dataflow_service import DataflowService, dataflow_service
from tests.e2e.graphs import Graph, PrismEnded, prism
from tests.e2e.streams import Feed

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

BUCKET = "gs://shop-jobs"
TABLE = "user_events_streaming"
VERSION = stream_version({TABLE: shipped()[TABLE]})
FLEET = (
    "--machine_type=n2-standard-2",
    "--num_workers=1",
    "--max_num_workers=3",
    "--disk_size_gb=40",
    "--autoscaling_algorithm=THROUGHPUT_BASED",
    "--network=shop",
    "--subnetwork=regions/europe-west1/subnetworks/shop",
    "--no_use_public_ips",
    "--labels=team=shop",
    "--service_account_email=worker@local-project.iam.gserviceaccount.com",
)


@dataclass
class Place:
    """The launcher, and the Dataflow that it talks to."""

    endpoints: Endpoints
    service: DataflowService
    options: list[str] = field(default_factory=list)
    """That tell Beam where the expansion service is."""

    @property
    def servers(self) -> str:
        """Kafka's."""
        return self.endpoints.environment()["KAFKA_BOOTSTRAP_SERVERS"]

    def launch(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run the launcher, whose words come before its options, and hold it to its exit code."""
        words = [argument for argument in arguments if not argument.startswith("-")]
        options = [argument for argument in arguments if argument.startswith("-")]
        done = launching.run(
            [
                *words,
                "--runner=DataflowRunner",
                *("--project=local-project", "--region=europe-west1", "--location=US"),
                *(f"--dataflow_endpoint={self.service.url}", f"--temp_location={BUCKET}/tmp"),
                *("--sdk_container_image=eu.example/shop:1", *options),
            ],
            {**os.environ, **self.endpoints.environment()},
            timeout=240,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert "CRITICAL" not in done.stderr
        return done

    def stream(self, group: str, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """The same with a stream's options."""
        return self.launch(
            "stream",
            *self.options,
            f"--bootstrap_servers={self.servers}",
            f"--group_id={group}",
            f"--dataset={group}",
            f"--operations_dataset={group}_operations",
            *arguments,
            code=code,
        )

    def status(self, group: str, code: int) -> dict[str, Any]:
        """What `stream status` says."""
        found = json.loads(self.stream(group, "status", "--format=json", code=code).stdout)
        assert isinstance(found, dict)
        return found

    def running(self, name: str) -> dataflow.Job:
        """A stream's job that runs already."""
        job = dataflow.Job(
            id=f"of-{name}",
            name=name,
            project_id="local-project",
            location="europe-west1",
            current_state=JobState.JOB_STATE_RUNNING,
            type_=dataflow.JobType.JOB_TYPE_STREAMING,
            create_time="2026-11-24T00:00:00Z",
            labels={"pipeline_version": "0-0-1"},
        )
        self.service.jobs.append(job)
        return job


@pytest.fixture(scope="module")
def place(kafka_cloud: tuple[Path, Endpoints]) -> Iterator[Place]:
    """A cloud with Kafka, a topic with ten events, a bucket with raw files."""
    _, endpoints = kafka_cloud
    with dataflow_service() as service, engines("DataflowRunner") as options:
        storage = Storage("local-project")
        storage.client.create_bucket("shop-jobs")
        storage.write(f"{BUCKET}/raw/customers.csv", b"customer_id,email\nc1,c1@example.com\nc2,c2@example.com\nc3,")
        place = Place(endpoints, service, options)
        Feed(place.servers, "user-events", dirty=0).send(10)
        yield place


def test_a_stream_from_its_start_to_its_end(place: Place) -> None:
    service = place.service
    service.refuse["list"] = [(429, "Quota exceeded"), (503, "try again")]  # which passes
    started = place.stream("life", "--no_wait_until_finish", *FLEET)
    job = service.job("stream-life")
    assert f"Created job with id: [{job.id}]" in started.stderr
    assert job.type_ == dataflow.JobType.JOB_TYPE_STREAMING
    assert dict(job.labels) == {"team": "shop", "pipeline_version": VERSION}
    (pool,) = job.environment.worker_pools
    assert (pool.machine_type, pool.num_workers, pool.disk_size_gb) == ("n2-standard-2", 1, 40)
    assert pool.autoscaling_settings.max_num_workers == 3
    assert pool.autoscaling_settings.algorithm == dataflow.AutoscalingAlgorithm.AUTOSCALING_ALGORITHM_BASIC
    assert (pool.network, pool.subnetwork) == ("shop", "regions/europe-west1/subnetworks/shop")
    assert pool.ip_configuration == dataflow.WorkerIPAddressConfiguration.WORKER_IP_PRIVATE
    assert job.environment.service_account_email == "worker@local-project.iam.gserviceaccount.com"
    assert {"streaming_mode_exactly_once", "no_use_multiple_sdk_containers"} <= set(job.environment.experiments)
    assert "eu.example/shop:1" in {image.container_image for image in pool.sdk_harness_container_images}

    again = place.stream("life", "--no_wait_until_finish", code=2)
    assert "error: job stream-life is running already" in again.stderr
    assert len(service.jobs) == 1

    found = place.status("life", code=0)
    assert (found["job"]["id"], found["job"]["state"]) == (job.id, "running")
    assert found["job"]["detail"] == "JOB_STATE_RUNNING"
    assert found["job"]["version"] == found["launcher_version"] == VERSION
    assert sum(found["lag"].values()) == 10  # nothing runs here
    assert found["ledger"] is None
    assert found["lease"]["run_id"].startswith("stream-")

    updated = place.stream("life", "update")
    new = service.job("stream-life")
    assert new.replace_job_id == job.id != new.id
    assert (job.current_state, job.replaced_by_job_id) == (JobState.JOB_STATE_UPDATED, new.id)
    assert f"Created job with id: [{new.id}]" in updated.stderr
    assert f"job {new.id} has replaced {job.id}" in updated.stderr
    assert place.status("life", code=0)["lease"]["run_id"] == found["lease"]["run_id"]

    drained = place.stream("life", "drain")
    assert f"job stream-life ({new.id}) is done (JOB_STATE_DRAINED)" in drained.stderr
    assert (new.current_state, new.requested_state) == (JobState.JOB_STATE_DRAINED, JobState.JOB_STATE_DRAINING)
    assert place.status("life", code=1)["job"]["detail"] == "JOB_STATE_DRAINED"
    for action in ("drain", "cancel", "update"):
        said = place.stream("life", action, code=2).stderr
        assert "error: no job stream-life runs; the last one ended: JOB_STATE_DRAINED" in said


def test_a_stream_that_is_to_run(place: Place, tmp_path: Path) -> None:
    """Started if there is none, kept if it has this version, else replaced."""
    jobs = place.service.jobs
    before = len(jobs)
    summary = tmp_path / "summary.json"

    def ensured() -> tuple[str, str]:
        said = place.stream("ensured", "--ensure_running", f"--summary={summary}").stderr
        found = json.loads(summary.read_text())
        assert (found["state"], found["job"]["state"]) == ("running", "running")
        assert found["job"]["version"] == found["launcher_version"] == VERSION
        assert f"Created job with id: [{found['job']['id']}]" in said, "so that Airflow's operator knows it"
        return found["action"], found["job"]["id"]

    action, first = ensured()
    assert action == "started"
    assert ensured() == ("kept", first)
    place.service.job("stream-ensured").labels["pipeline_version"] = "0-0-1"
    action, second = ensured()
    assert action == "replaced"
    assert place.service.job("stream-ensured").replace_job_id == first != second
    place.stream("ensured", "drain")
    action, third = ensured()
    assert action == "started"
    assert len({job.id for job in jobs[before:]}) == 3
    assert third not in (first, second)


def test_a_stream_that_is_to_run_and_cannot(place: Place) -> None:
    job = place.running("stream-r")
    said = place.stream("r", "--ensure_running", "--topic=user-events=nothing", code=2).stderr
    assert "error: --topic: no contract has a table nothing; there are " in said
    assert job.current_state == JobState.JOB_STATE_RUNNING
    place.service.jobs.remove(job)
    said = place.stream("r", "--ensure_running", "--runner=PrismRunner", code=2).stderr
    assert "error: --ensure_running: a stream on PrismRunner ends with its launcher" in said


def test_a_job_is_cancelled(place: Place) -> None:
    job = place.running("of-another-name")
    said = place.stream("c", "cancel", "--job_name=of-another-name").stderr
    assert f"job of-another-name ({job.id}) is done (JOB_STATE_CANCELLED)" in said
    assert job.requested_state == JobState.JOB_STATE_CANCELLED


def test_a_job_of_another_version_that_failed_says_why(place: Place) -> None:
    job = place.running("stream-f")
    place.service.errors["stream-f"] = "Traceback (most recent call last):\n  ...\nValueError: no such table"
    job.current_state = JobState.JOB_STATE_FAILED
    found = place.stream("f", "status", code=1).stdout
    assert "job      stream-f is failed (JOB_STATE_FAILED: ValueError: no such table), id of-stream-f" in found
    assert f"version  0-0-1; this launcher is {VERSION}" in found
    assert "lag      10 records of group f in 4 partitions" in found


def test_a_stream_that_fails_ends_with_the_reason(place: Place) -> None:
    place.service.errors["stream-e"] = "Traceback (most recent call last):\n  ...\nLeaseLost: it is another's"
    done = place.stream("e", "--max_restarts=0", code=1)
    assert "the job failed: JOB_STATE_FAILED: LeaseLost: it is another's" in done.stderr


@pytest.mark.parametrize(
    ("action", "question", "answer", "said", "code"),
    [
        (
            "status",
            "list",
            (403, "The caller does not have permission"),
            "Dataflow refuses (403): The caller does not",
            2,
        ),
        ("drain", "update", (403, "dataflow.jobs.updateContents"), "Dataflow refuses (403): dataflow.jobs.update", 2),
        ("status", "list", (429, "Quota exceeded"), "Dataflow does not answer: 429", 5),
    ],
)
def test_what_dataflow_refuses(
    place: Place, action: str, question: str, answer: tuple[int, str], said: str, code: int
) -> None:
    job = place.running("stream-r")
    place.service.refuse[question] = [answer] * 100
    try:
        done = place.stream("r", action, code=code)
    finally:
        place.service.refuse.clear()
        place.service.jobs.remove(job)
    assert done.stderr.splitlines()[-1].startswith(f"error: {said}")
    assert job.current_state == JobState.JOB_STATE_RUNNING


def test_a_job_that_ends_with_its_launcher_is_not_asked_for(place: Place) -> None:
    said = place.stream("p", "drain", "--runner=PrismRunner", code=2).stderr
    assert "error: a stream on PrismRunner ends with its launcher" in said


def test_a_batch_that_dataflow_runs(place: Place, tmp_path: Path) -> None:
    """The service runs the job that it was sent, on Prism: the launcher only waits, and reads the ledger."""

    def executed(job: dataflow.Job) -> str:
        with prism(tmp_path, place.endpoints.environment()) as engine:
            return engine.wait(
                engine.submit(Graph.of(json.loads(dataflow.Job.to_json(job, use_integers_for_enums=False))))
            )

    def execute(job: dataflow.Job) -> JobState:
        try:
            ended = executed(job)
        except PrismEnded:  # now and then; Dataflow repeats what a worker that is gone has done
            logging.getLogger(__name__).warning("Prism is started again", exc_info=True)
            ended = executed(job)
        return JobState.JOB_STATE_DONE if ended == "DONE" else JobState.JOB_STATE_FAILED

    place.service.execute = execute
    summary = tmp_path / "summary.json"
    done = batch(place, "run", f"--summary={summary}", "--labels=pipeline_version=mine")
    job = place.service.job("run")
    assert f"Created job with id: [{job.id}]" in done.stderr
    assert dict(job.labels) == {"pipeline_version": "mine"}
    found = json.loads(summary.read_text())
    assert found["state"] == "done"
    assert found["tables"]["customers"]["written"] == 2
    assert found["tables"]["customers"]["dead_letter_by_code"] == {"missing_required": 1}
    assert len(Warehouse("local-project", "US").query("SELECT 1 FROM ecommerce_data.customers")) == 2


def test_a_batch_that_ends_without_closing_its_run_has_failed(place: Place) -> None:
    place.service.execute = lambda job: JobState.JOB_STATE_DONE
    said = batch(place, "nothing", code=1)
    assert "no step of it has closed the run" in said.stdout + said.stderr


def test_a_batch_that_fails_says_why(place: Place) -> None:
    place.service.execute = None
    place.service.errors["bad"] = "Traceback (most recent call last):\n  ...\nRunStopped: the ledger does not balance"
    said = batch(place, "bad", code=1)
    assert "RunStopped: the ledger does not balance" in said.stdout + said.stderr


def batch(place: Place, name: str, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a batch under that name."""
    return place.launch(
        *("batch", f"--job_name={name}", f"--input={BUCKET}/raw", f"--processed={BUCKET}/processed"),
        *(f"--dead_letters={BUCKET}/dead_letters", *arguments),
        code=code,
    )
