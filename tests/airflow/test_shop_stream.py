"""The stream's DAG in a real Airflow, on a Flink cluster: whatever it finds, the stream runs in the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from local import flink_cluster, services
from pipelines.flink_jobs import FlinkJobs
from pipelines.jobs import Job, JobState
from tests.airflow.airflows import Airflow
from tests.e2e.clouds import Cloud
from tests.e2e.streams import StreamSite
from tools.airflow import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
DAG = "shop_stream"
NEW_COLUMN = "      - name: referrer\n        logicalType: string\n"


@pytest.fixture(scope="module")
def site(airflow: Airflow, cloud: Cloud) -> StreamSite:
    """What the stream reads and writes, beside an Airflow that has started Kafka and Flink."""
    return StreamSite(cloud.directory, services.status(cloud.directory), "clicks", runner="FlinkRunner")


@pytest.fixture(scope="module")
def jobs(site: StreamSite) -> FlinkJobs:
    """The cluster's."""
    ports = site.endpoints.services[flink_cluster.JOB_MANAGER.name].ports
    return FlinkJobs(f"http://127.0.0.1:{ports['rest']}")


def options(site: StreamSite, **more: Any) -> dict[str, Any]:
    """A run's parameters."""
    named = dict(argument.removeprefix("--").split("=", 1) for argument in site.names())
    return {"options": {**named, **more}}


def ensured(airflow: Airflow, conf: dict[str, Any]) -> dict[str, Any]:
    """Trigger a run and wait for its success; what it says that it did."""
    run = airflow.trigger(DAG, conf)
    state = airflow.wait(DAG, run)
    assert state == "success", airflow.log(DAG, run, "stream")
    found = airflow.xcom(DAG, run, "summary")
    assert found["state"] == "running"
    assert found["job"]["version"] == found["launcher_version"]
    assert isinstance(found, dict)
    return found


def live(jobs: FlinkJobs) -> Job:
    """The job of the stream that runs."""
    job = jobs.find("shop-stream")
    assert job is not None
    assert job.state is JobState.RUNNING
    return job


def with_a_column_more(folder: Path) -> Path:
    """The shipped contracts, with another version of the one that the stream goes by."""
    for path in (ROOT / "contracts").glob("*.odcs.yaml"):
        text = path.read_text()
        if path.name.startswith("user_events"):
            before, mark, after = text.partition("      - name: session_id\n")
            assert mark
            text = before + NEW_COLUMN + mark + after
        (folder / path.name).write_text(text)
    return folder


def test_the_stream_runs_whatever_was_there_before(
    airflow: Airflow, site: StreamSite, jobs: FlinkJobs, tmp_path: Path
) -> None:
    feed = site.feed()
    feed.send(2000)
    found = ensured(airflow, options(site))
    first = live(jobs)
    assert (found["did"], found["job"]["id"]) == ("started", first.id)
    site.wait_until_read(feed.sent)

    found = ensured(airflow, options(site))
    assert (found["did"], found["job"]["id"]) == ("left", first.id)
    assert sum(found["lag"].values()) == 0
    assert found["ledger"]["written"] > 0

    # What cannot run does not end what does.
    run = airflow.trigger(DAG, options(site, topic="clicks=customers"))
    assert airflow.wait(DAG, run) == "failed"
    log = airflow.log(DAG, run, "stream")
    assert "return code 2" in log
    assert "a stream appends, and customers's contract says merge" in " ".join(log.split())
    assert airflow.tries(DAG, run, "stream") == 1, "what is final is not tried again"
    assert live(jobs).id == first.id

    jobs.cancel(first)  # behind the launcher's back
    feed.send(1000)
    found = ensured(airflow, options(site))
    second = live(jobs)
    assert (found["did"], found["job"]["id"]) == ("started", second.id)
    assert second.id != first.id

    with feed.sending(40_000):
        feed.rate = 500
        found = ensured(airflow, options(site, contracts=str(with_a_column_more(tmp_path))))
        assert feed.sent < 43_000
    third = live(jobs)
    assert (found["did"], found["job"]["id"]) == ("replaced", third.id)
    assert third.version != second.version == first.version
    assert jobs.refresh(second).state is JobState.DONE
    site.wait_until_read(feed.sent)
    site.check(feed)
    assert site.rows("SELECT COUNT(referrer) AS n FROM {data}.user_events_streaming") == [{"n": 0}]

    found = ensured(airflow, options(site, contracts=str(tmp_path)))
    assert (found["did"], found["job"]["id"]) == ("left", third.id)
