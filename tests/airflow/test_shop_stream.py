"""The stream's DAG in a real Airflow, on a Flink cluster: the stream runs in the end, whatever was there before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from local import flink_cluster, services
from pipelines.engines.flink_jobs import FlinkJobs
from pipelines.engines.job import Job, JobState
from tests.airflow.airflows import Airflow
from tests.airflow.forwarder import Forwarder
from tests.e2e.clouds import Cloud
from tests.e2e.streams import StreamSite
from tools.airflow import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
DAG = "shop_stream"
NEW_COLUMN = "      - name: referrer\n        logicalType: string\n"


@pytest.fixture(scope="module")
def site(airflow: Airflow, cloud: Cloud) -> StreamSite:
    """What the stream reads and writes. Airflow has started Kafka and Flink."""
    return StreamSite(cloud.directory, services.status(cloud.directory), "clicks", runner="FlinkRunner")


@pytest.fixture(scope="module")
def jobs(site: StreamSite) -> FlinkJobs:
    """The jobs of the cluster."""
    ports = site.endpoints.services[flink_cluster.JOB_MANAGER.name].ports
    return FlinkJobs(f"http://127.0.0.1:{ports['rest']}")


@pytest.fixture
def unavailable_at_first() -> Iterator[Callable[[str], Forwarder]]:
    """Create a forwarder to a server. It refuses connections until it is opened."""
    with ExitStack() as stack:
        yield lambda backend: stack.enter_context(Forwarder(backend))


def options(site: StreamSite, **more: Any) -> dict[str, Any]:
    """The parameters of a run."""
    named = dict(argument.removeprefix("--").split("=", 1) for argument in site.names())
    return {"options": {**named, **more}}


def ensured(airflow: Airflow, run: str) -> dict[str, Any]:
    """Wait for the success of a run; return its summary."""
    state = airflow.wait(DAG, run)
    assert state == "success", airflow.log(DAG, run, "stream")
    found = airflow.xcom(DAG, run, "summary")
    assert found["state"] == "running"
    assert found["job"]["version"] == found["launcher_version"]
    assert isinstance(found, dict)
    return found


def live(jobs: FlinkJobs) -> Job:
    """Return the running job of the stream."""
    job = jobs.find("shop-stream")
    assert job is not None
    assert job.state is JobState.RUNNING
    return job


def with_a_column_more(folder: Path) -> Path:
    """Write the shipped contracts to `folder`, with a new version of the stream's contract."""
    for path in (ROOT / "contracts").glob("*.odcs.yaml"):
        text = path.read_text()
        if path.name.startswith("user_events"):
            before, mark, after = text.partition("      - name: session_id\n")
            assert mark
            text = before + NEW_COLUMN + mark + after
        (folder / path.name).write_text(text)
    return folder


def test_the_stream_runs_whatever_was_there_before(
    airflow: Airflow,
    site: StreamSite,
    jobs: FlinkJobs,
    unavailable_at_first: Callable[[str], Forwarder],
    tmp_path: Path,
) -> None:
    feed = site.feed()
    feed.send(2000)
    kafka = unavailable_at_first(site.servers)
    run = airflow.trigger(DAG, options(site, bootstrap_servers=kafka.address))
    airflow.wait_for_retry(DAG, run, "stream")
    kafka.open()
    found = ensured(airflow, run)
    log = airflow.log(DAG, run, "stream", 1)
    assert "return code 5" in log
    assert f"no Kafka broker answers at {kafka.address}" in " ".join(log.split())
    first = live(jobs)
    assert (found["action"], found["job"]["id"]) == ("started", first.id)
    site.wait_until_read(feed.sent)

    found = ensured(airflow, airflow.trigger(DAG, options(site)))
    assert (found["action"], found["job"]["id"]) == ("kept", first.id)
    assert sum(found["lag"].values()) == 0
    assert found["ledger"]["written"] > 0

    # A job that cannot start does not end the running one.
    run = airflow.trigger(DAG, options(site, topic="clicks=nothing"))
    assert airflow.wait(DAG, run) == "failed"
    log = airflow.log(DAG, run, "stream")
    assert "return code 2" in log
    assert "--topic: no contract has a table nothing" in " ".join(log.split())
    assert airflow.tries(DAG, run, "stream") == 1, "a final code is not retried"
    assert live(jobs).id == first.id

    jobs.cancel(first)  # without the launcher
    feed.send(1000)
    found = ensured(airflow, airflow.trigger(DAG, options(site)))
    second = live(jobs)
    assert (found["action"], found["job"]["id"]) == ("started", second.id)
    assert second.id != first.id

    with feed.sending(40_000):
        feed.rate = 500
        found = ensured(airflow, airflow.trigger(DAG, options(site, contracts=str(with_a_column_more(tmp_path)))))
        assert feed.sent < 43_000
    third = live(jobs)
    assert (found["action"], found["job"]["id"]) == ("replaced", third.id)
    assert third.version != second.version == first.version
    assert jobs.refresh(second).state is JobState.DONE
    site.wait_until_read(feed.sent)
    site.check(feed)
    assert site.rows("SELECT COUNT(referrer) AS n FROM {data}.user_events_streaming") == [{"n": 0}]

    found = ensured(airflow, airflow.trigger(DAG, options(site, contracts=str(tmp_path))))
    assert (found["action"], found["job"]["id"]) == ("kept", third.id)
