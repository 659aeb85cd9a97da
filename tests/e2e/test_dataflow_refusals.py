"""What Dataflow cannot run is refused before anything is written or started, in one line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from google.cloud import dataflow_v1beta3 as dataflow

import launcher
from connectors.files.storage import Storage
from local.services import Endpoints
from tests.dataflow_service import DataflowService, dataflow_service

pytestmark = pytest.mark.e2e

BUCKET = "gs://shop-jobs"


@pytest.fixture(scope="module")
def directory(local_cloud: tuple[Path, Endpoints]) -> Path:
    """A cloud with a bucket that has one file."""
    storage = Storage("local-project")
    storage.client.create_bucket("shop-jobs")
    storage.write(f"{BUCKET}/raw/customers.csv", b"customer_id,email\nc1,c1@example.com")
    return local_cloud[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--experiments=streaming_mode_at_least_once"], "streaming_mode_at_least_once: the stream's steps keep state"),
        (["--dataflow_service_options=streaming_mode_at_least_once"], "streaming_mode_at_least_once: the stream's"),
        (["--region="], "--region is missing: DataflowRunner needs it"),
        (["--temp_location="], "--temp_location is missing: DataflowRunner needs it"),
        (["--temp_location=gs://nowhere/tmp"], "--temp_location: there is no bucket nowhere"),
        (["--template_location=/here"], "--template_location must be gs://BUCKET/NAME, not /here"),
        (["--template_location=gs://shop-jobs"], "--template_location must be gs://BUCKET/NAME, not gs://shop-jobs"),
        (["--sdk_container_image="], "Dataflow's workers need this code: --setup_file ./setup.py, or an"),
        (["--setup_file=nowhere/setup.py"], "--setup_file: there is no file nowhere/setup.py"),
        (["--environment_type=LOOPBACK"], "--environment_type: Dataflow ignores it and always runs containers"),
        (["--runner=FlinkRunner"], "--template_location is an option of DataflowRunner"),
        (["--local"], "--local: Dataflow's workers cannot reach this machine's services"),
    ],
)
def test_what_dataflow_cannot_run(
    directory: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    code = launcher.main(
        [
            *("stream", "--runner=DataflowRunner", "--project=local-project", "--location=US", "--region=europe-west1"),
            *(f"--temp_location={BUCKET}/tmp", f"--template_location={BUCKET}/refused", "--sdk_container_image=shop"),
            *("--bootstrap_servers=127.0.0.1:1", f"--local_dir={directory}", *arguments),
        ]
    )
    refused(code, capsys, said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--input=raw"], "--input: Dataflow's workers cannot read raw; give a gs:// folder"),
        (["--sdk_container_image="], "Dataflow's workers need this code: --setup_file ./setup.py, or an"),
        (["--job_name=Batch_1"], "--job_name takes a to z, 0 to 9 and -, at most 63, a letter first: not Batch_1"),
        (["--num_workers=3", "--max_num_workers=2"], "--num_workers must not be above --max_num_workers"),
        (["--max_num_workers=0"], "--max_num_workers must be at least 1"),
        (["--dataflow_endpoint=http://127.0.0.1:1"], "--dataflow_endpoint: without TLS it must be http://localhost"),
        (["--runner=DirectRunner"], "--template_location is an option of DataflowRunner"),
        (["--no_wait_until_finish"], "--no_wait_until_finish is an option of streams: a batch's launcher"),
        (["--local"], "--local: Dataflow's workers cannot reach this machine's services"),
    ],
)
def test_what_dataflow_cannot_run_of_a_batch(
    directory: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    code = launcher.main(
        [
            *("batch", "--runner=DataflowRunner", "--project=local-project", "--location=US", "--region=europe-west1"),
            *(f"--input={BUCKET}/raw", f"--processed={BUCKET}/p", f"--dead_letters={BUCKET}/d"),
            *(f"--temp_location={BUCKET}/tmp", f"--template_location={BUCKET}/refused", "--sdk_container_image=shop"),
            *(f"--local_dir={directory}", *arguments),
        ]
    )
    refused(code, capsys, said)


def refused(code: int, capsys: pytest.CaptureFixture[str], said: str) -> None:
    """Hold a refusal to its line, and to having written nothing."""
    found = capsys.readouterr().err
    assert code == 2, found
    assert said in found
    assert not Storage("local-project").client.bucket("shop-jobs").blob("refused").exists()


@pytest.fixture(scope="module")
def service() -> Iterator[DataflowService]:
    """Dataflow's endpoint."""
    with dataflow_service() as running:
        yield running


@pytest.mark.parametrize(
    ("status", "message", "code", "said"),
    [
        (403, "The caller may not", 2, "error: Dataflow refuses the job (403): The caller may not"),
        (409, "There is already an active job b", 2, "error: Dataflow has a live job b already; launcher.py stream"),
        (429, "Quota exceeded", 5, "error: Dataflow does not answer for the job (429): Quota exceeded"),
    ],
)
def test_what_dataflow_refuses(
    directory: Path,
    service: DataflowService,
    capsys: pytest.CaptureFixture[str],
    status: int,
    message: str,
    code: int,
    said: str,
) -> None:
    service.refuse["create"] = [(status, message)]
    assert submitted(service, directory) == code
    found = capsys.readouterr().err
    assert found.splitlines()[-1].startswith(said)
    assert "Traceback" not in found
    assert "CRITICAL" not in found
    assert service.refuse["create"] == []
    assert service.jobs == []


def test_a_name_that_is_answered_by_the_job_that_has_it(
    directory: Path, service: DataflowService, capsys: pytest.CaptureFixture[str]
) -> None:
    service.conflict = False
    service.jobs.append(
        dataflow.Job(id="1", name="b", client_request_id="another's", current_state=dataflow.JobState.JOB_STATE_RUNNING)
    )
    try:
        assert submitted(service, directory) == 2
    finally:
        service.jobs.clear()
    assert "error: Dataflow has a live job b already" in capsys.readouterr().err


def submitted(service: DataflowService, directory: Path) -> int:
    """The exit code of a batch."""
    return launcher.main(
        [
            *("batch", "--runner=DataflowRunner", "--project=local-project", "--location=US", "--region=europe-west1"),
            *(f"--input={BUCKET}/raw", f"--processed={BUCKET}/p", f"--dead_letters={BUCKET}/d", "--job_name=b"),
            *(f"--temp_location={BUCKET}/tmp", "--sdk_container_image=shop", f"--dataflow_endpoint={service.url}"),
            f"--local_dir={directory}",
        ]
    )
