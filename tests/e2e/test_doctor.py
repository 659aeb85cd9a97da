"""`launcher.py doctor` as a whole: nothing is changed, nothing broken hides anything else; and the runners."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from kafka.admin import KafkaAdminClient

import launcher
from connectors.bigquery.warehouse import Warehouse
from connectors.files.storage import Storage
from local.services import Endpoints
from tests import launching
from tests.e2e.doctors import Doctor, closed_port, doctor
from tests.e2e.proxies import Answer, Proxy

__all__ = ["doctor"]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
PLACE = ("--project=local-project", "--location=US")


def test_nothing_named_is_nothing_checked(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    found = doctor("--project=")
    assert found["python"][0] == found["options"][0] == found["contracts"][0] == "ok"
    assert {about: says for about, (mark, says, _) in found.items() if mark == "not checked"} == {
        "runner": "--runner names none",
        "credentials": "--project or a gs:// folder asks for some",
        "kafka, topics, group": "--bootstrap_servers or --kafka_config names none",
        "folders and buckets": "--input, --processed, --dead_letters not named",
        "bigquery, datasets, tables": "--project and --location name no place",
    }


def everything(servers: str) -> list[Any]:
    """Buckets and their objects, datasets and their tables, topics, offsets that are committed."""
    storage, warehouse = Storage("local-project"), Warehouse("local-project", "US")
    buckets = {
        bucket.name: [blob.name for blob in storage.client.list_blobs(bucket.name)]
        for bucket in storage.client.list_buckets()
    }
    names = sorted(dataset.dataset_id for dataset in warehouse.client.list_datasets())
    client = KafkaAdminClient(bootstrap_servers=servers)
    try:
        topics = sorted(client.list_topics())
        groups = {} if "__consumer_offsets" not in topics else client.list_group_offsets("contract-pipeline")
    finally:
        client.close()
    return [buckets, {name: warehouse.tables(name, "") for name in names}, topics, groups]


def test_this_machine_before_anything_was_made(doctor: Doctor, tmp_path: Path) -> None:
    # In a separate process and cloud: as on a new machine, with its services started and stopped.
    done = launching.run(["doctor", "--local", f"--local_dir={tmp_path}", "--runner=DirectRunner"], timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert all(re.match(r"(ok|warning|wrong|not checked) +\S.*: \S", line) for line in lines)
    text = "\n".join(re.sub(r" +", " ", line) for line in lines)
    for line in (
        "ok local gcs: it starts",
        "ok local kafka: it starts",
        "ok credentials: none needed",
        "warning --processed gs://ecommerce-data-lake/processed: there is no bucket ecommerce-data-lake; fix: a run",
        "warning dataset ecommerce_data: it does not exist; fix: the first run makes it",
        "warning topic user-events: there is no topic user-events",
        "ok group contract-pipeline: new: no group has committed anything here yet",
        "ok runner DirectRunner: no problem",
    ):
        assert line in text
    assert "0 wrong, " in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_is_changed(doctor: Doctor, kafka_cloud: tuple[Path, Endpoints], servers: str) -> None:
    before = everything(servers)
    doctor(
        "--local",
        f"--local_dir={kafka_cloud[0]}",
        "--dataset=never_made",
        "--operations_dataset=never_made_either",
        "--processed=gs://never-made/p",
        "--topic=never-made=user_events_streaming",
        "--create_topics",
    )
    assert everything(servers) == before


def test_one_broken_thing_hides_no_other(doctor: Doctor, servers: str, tmp_path: Path) -> None:
    (tmp_path / "kafka.properties").write_text("ssl.truststore.password=x\n")
    found = doctor(
        *PLACE,
        f"--input={tmp_path}/none",
        "--processed=gs://nowhere/p",
        f"--contracts={tmp_path}/none",
        f"--bootstrap_servers={servers}",
        f"--kafka_config={tmp_path}/kafka.properties",
        "--runner=DirectRunner",
        "--operations_dataset=hidden",
        code=1,
    )
    wrong = {about: says for about, (mark, says, _) in found.items() if mark == "wrong"}
    assert set(wrong) == {
        f"--input {tmp_path}/none",
        "--processed gs://nowhere/p",
        "contracts",
        "kafka config",
        "runner DirectRunner",
    }
    assert "DirectRunner cannot run a stream" in wrong["runner DirectRunner"]
    assert found["table hidden.ledger"][:2] == ("warning", "it does not exist")
    assert found["kafka, topics, group"] == ("not checked", "its configuration is wrong, see above", "")


def test_options_that_are_wrong(doctor: Doctor, capsys: pytest.CaptureFixture[str], servers: str) -> None:
    found = doctor(*PLACE, "--operations_dataset=x`; DROP TABLE y", f"--bootstrap_servers={servers}", code=1)
    assert found["options"][0] == "wrong"
    assert "is not a dataset name" in found["options"][1]
    assert found["bigquery, datasets, tables"] == ("not checked", "an option is wrong, see above", "")
    assert found["kafka"][0] == "ok"
    assert launcher.main(["doctor", "--projekt=p"]) == 2
    assert capsys.readouterr().err == "error: unknown option --projekt; did you mean --project?\n"


def test_a_service_of_this_machine_that_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir()
    (tmp_path / "kafka" / "formatted").touch()  # its data is gone
    done = launching.run(["doctor", "--local", f"--local_dir={tmp_path}", "--format=json"], timeout=200)
    assert done.returncode == 1, done.stderr
    found = {one["about"]: one for one in json.loads(done.stdout)["findings"]}
    assert found["local kafka"]["mark"] == "wrong"
    assert "kafka ended before it was ready; its log is" in found["local kafka"]["message"]
    assert found["kafka, topics, group"]["mark"] == "not checked"
    assert found["local bigquery"]["mark"] == found["bigquery"]["mark"] == "ok"


class Flink(Proxy):
    """Answers as a Flink's REST interface does to the one question that doctor has."""

    def __init__(self, version: str, slots: int, free: int) -> None:
        self._overview = {
            "taskmanagers": min(1, slots),
            "slots-total": slots,
            "slots-available": free,
            "flink-version": version,
        }
        super().__init__("http://127.0.0.1:1")

    def answer(self, request: str, body: bytes, forward: Any) -> Answer:
        assert request == "GET /overview"
        return Answer(200, [("Content-Type", "application/json")], json.dumps(self._overview).encode())


@pytest.mark.parametrize(
    ("version", "slots", "free", "mark", "says"),
    [
        ("1.19.2", 2, 2, "ok", "Flink 1.19.2, 2 of 2 task slots free"),
        ("1.19.2", 2, 1, "warning", "1 of 2 task slots are free, --parallelism is 2"),
        ("1.19.2", 0, 0, "wrong", "it has no task manager: a job waits, and fails"),
        ("1.16.0", 2, 2, "wrong", "it is Flink 1.16.0, the job server is for 1.19"),
    ],
)
def test_a_flink_cluster(doctor: Doctor, version: str, slots: int, free: int, mark: str, says: str) -> None:
    with Flink(version, slots, free) as flink:
        address = flink.address.removeprefix("http://")
        arguments = ["--runner=FlinkRunner", f"--flink_master={address}", "--flink_version=1.19", "--parallelism=2"]
        found = [finding for about, finding in doctor(*arguments, code=mark == "wrong").items() if "flink" in about]
    assert (mark, says) in [finding[:2] for finding in found]


def test_a_flink_that_is_not_there(doctor: Doctor) -> None:
    address = f"127.0.0.1:{closed_port()}"
    mark, says, fix = doctor("--runner=FlinkRunner", f"--flink_master={address}", code=1)["runner FlinkRunner"]
    assert says.startswith(f"no Flink answers at http://{address}: ")
    assert (mark, fix) == ("wrong", "start the cluster, or correct --flink_master HOST:PORT")


def test_a_job_service(doctor: Doctor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert doctor("--runner=PortableRunner", f"--job_endpoint={address}")[f"job service {address}"][0] == "ok"
    found = doctor("--runner=PortableRunner", f"--job_endpoint={address}", code=1)["runner PortableRunner"]
    assert found[0] == "wrong"
    assert f"nobody answers at {address}" in found[1]


def test_dataflow_that_lacks_something(doctor: Doctor, servers: str) -> None:
    Storage("local-project").client.create_bucket("bucket")
    found = doctor("--runner=DataflowRunner", *PLACE, "--temp_location=gs://bucket/tmp", code=1)[
        "runner DataflowRunner"
    ]
    assert found[0] == "wrong"
    assert "--region is missing" in found[1]


def test_a_runner_that_doctor_does_not_know(doctor: Doctor) -> None:
    assert doctor("--runner=SparkRunner")["runner SparkRunner"] == ("not checked", "doctor does not know how", "")
