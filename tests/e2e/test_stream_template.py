"""A stream's job graph for Dataflow, built against the local Cloud Storage, BigQuery and Kafka."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from apache_beam.portability.api import beam_runner_api_pb2

import launcher
from connectors.storage import Storage
from local.engines import engines
from local.services import Endpoints
from tests.brokers import LOGIN, sasl_broker
from tests.e2e.clouds import ROOT, cloud_in
from tests.e2e.streams import Feed
from tests.planted import found_in

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

USER, PASSWORD = "alice7nameIsNoSecret", "pl4nted5ecret9Word2Find"
BUCKET = "gs://shop-jobs"
GRAPH = f"{BUCKET}/templates/stream"


@dataclass
class Templates:
    """The launcher, told to write a job graph."""

    folder: Path
    endpoints: Endpoints
    servers: str
    options: list[str] = field(default_factory=list)
    """That tell Beam where the expansion service is."""

    def launch(self, *arguments: str, code: int = 0) -> str:
        """What it said."""
        jaas = f'{LOGIN} username="{USER}" password="env:SHOP_KAFKA_PASSWORD";'
        properties = self.folder / "kafka.properties"
        properties.write_text(f"security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config={jaas}\n")
        done = subprocess.run(
            [
                *(sys.executable, "launcher.py", "stream", "--runner=DataflowRunner", "--project=local-project"),
                *("--location=US", "--region=europe-west1", f"--temp_location={BUCKET}/tmp", *self.options),
                *(f"--bootstrap_servers={self.servers}", f"--kafka_config={properties}", *arguments),
            ],
            cwd=ROOT, text=True, capture_output=True, timeout=240, check=False,
            env={**os.environ, **self.endpoints.environment(), "SHOP_KAFKA_PASSWORD": PASSWORD},
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Templates]:
    """Servers on this machine, and a topic with events."""
    directory = tmp_path_factory.mktemp("cloud")
    with (
        cloud_in(directory) as endpoints,
        sasl_broker(tmp_path_factory.mktemp("kafka"), USER, PASSWORD) as ports,
        engines("DataflowRunner") as options,
    ):
        Storage("local-project").client.create_bucket("shop-jobs")
        Feed(f"127.0.0.1:{ports['broker']}", "user-events").send(10)
        folder = tmp_path_factory.mktemp("given")
        yield Templates(folder, endpoints, f"127.0.0.1:{ports['sasl']}", options)


def test_a_job_graph(templates: Templates) -> None:
    said = templates.launch(
        f"--template_location={GRAPH}", "--setup_file=setup.py", "--experiments=own", "--group_id=g"
    )
    assert f"wrote {GRAPH}; gcloud dataflow jobs run starts a job from it" in said
    storage = Storage("local-project")
    graph = storage.read(GRAPH)
    job = json.loads(graph)
    assert job["type"] == "JOB_TYPE_STREAMING"
    environment = job["environment"]
    assert environment["experiments"].count("streaming_mode_exactly_once") == 1
    assert {"own", "enable_streaming_engine", "enable_windmill_service"} <= set(environment["experiments"])
    options = environment["sdkPipelineOptions"]["options"]
    assert options["enable_streaming_engine"] is True
    assert options["streaming"] is True

    staged = {file.uri: storage.read(file.uri) for file in storage.list(f"{BUCKET}/tmp")}
    proto = staged[options["pipelineUrl"]]
    assert hashlib.sha256(proto).hexdigest() == options["pipelineProtoHash"]
    pipeline = beam_runner_api_pb2.Pipeline.FromString(proto)
    java, python = images(pipeline)
    (read,) = (step for step in pipeline.components.transforms.values() if step.unique_name == "Read from Kafka")
    of_the_read = {pipeline.components.transforms[step].environment_id for step in descendants(pipeline, read)} - {""}
    assert {image_of(pipeline, name) for name in of_the_read} == {java}
    assert "beam_java" in java
    assert "beam_python" in python
    assert {image["containerImage"] for image in environment["workerPools"][0]["sdkHarnessContainerImages"]} == {
        java,
        python,
    }
    for described in pipeline.components.environments.values():
        for needed in described.dependencies:
            url = beam_runner_api_pb2.ArtifactUrlPayload.FromString(needed.type_payload)
            assert hashlib.sha256(staged[url.url]).hexdigest() == url.sha256
    (code,) = (data for uri, data in staged.items() if uri.endswith("/workflow.tar.gz"))
    with tarfile.open(fileobj=io.BytesIO(code)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"connectors/bigquery_append.py", "contracts/user_events.odcs.yaml"} <= names

    assert found_in(proto, USER)  # the name, which no secret is, stands beside where the password would
    for where, data in {GRAPH: graph, **staged}.items():
        assert found_in(data, PASSWORD) is None, where
    for place in (str(ROOT), str(Path.home()), tempfile.gettempdir() + "/", "file:/", str(templates.folder)):
        for text in (graph, proto):
            assert place.encode() not in text.replace(f"{BUCKET}/tmp/".encode(), b"").replace(b"shop-jobs/tmp/", b"")


def images(pipeline: beam_runner_api_pb2.Pipeline) -> list[str]:
    """The container images, by name."""
    return sorted(image_of(pipeline, name) for name in pipeline.components.environments)


def image_of(pipeline: beam_runner_api_pb2.Pipeline, name: str) -> str:
    """The container image of an environment."""
    payload = pipeline.components.environments[name].payload
    return str(beam_runner_api_pb2.DockerPayload.FromString(payload).container_image)


def descendants(pipeline: beam_runner_api_pb2.Pipeline, step: beam_runner_api_pb2.PTransform) -> Iterator[str]:
    """The names of all that a step consists of."""
    for name in step.subtransforms:
        yield name
        yield from descendants(pipeline, pipeline.components.transforms[name])


def test_an_image_of_ones_own(templates: Templates) -> None:
    location = f"{BUCKET}/templates/image"
    templates.launch(f"--template_location={location}", "--sdk_container_image=eu.example/shop:1", "--group_id=g")
    (pool,) = json.loads(Storage("local-project").read(location))["environment"]["workerPools"]
    assert "eu.example/shop:1" in {image["containerImage"] for image in pool["sdkHarnessContainerImages"]}
    assert not any("workflow" in package["name"] for package in pool["packages"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--experiments=streaming_mode_at_least_once"], "streaming_mode_at_least_once: the stream's steps keep state"),
        (["--dataflow_service_options=streaming_mode_at_least_once"], "streaming_mode_at_least_once: the stream's"),
        (["--region="], "--region is missing: DataflowRunner needs it"),
        (["--temp_location="], "--temp_location is missing: DataflowRunner needs it"),
        (["--temp_location=gs://nowhere/tmp"], "--temp_location: there is no bucket nowhere"),
        (["--template_location=/here"], "--template_location is gs://BUCKET/NAME, not /here"),
        (["--template_location=gs://shop-jobs"], "--template_location is gs://BUCKET/NAME, not gs://shop-jobs"),
        (["--sdk_container_image="], "Dataflow's workers need this code: --setup_file ./setup.py, or an"),
        (["--setup_file=nowhere/setup.py"], "--setup_file: there is no file nowhere/setup.py"),
        (["--environment_type=LOOPBACK"], "--environment_type: Dataflow's workers are containers"),
        (["--runner=FlinkRunner"], "--template_location is an option of DataflowRunner"),
        (["--local"], "--local: Dataflow's workers reach no server of this machine"),
    ],
)
def test_what_dataflow_cannot_run(
    templates: Templates, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    code = launcher.main([
        *("stream", "--runner=DataflowRunner", "--project=local-project", "--location=US", "--region=europe-west1"),
        *(f"--temp_location={BUCKET}/tmp", f"--template_location={BUCKET}/refused", "--sdk_container_image=shop"),
        *("--bootstrap_servers=127.0.0.1:1", f"--local_dir={templates.folder}", *arguments),
    ])  # fmt: skip
    found = capsys.readouterr().err
    assert code == 2, found
    assert said in found
    assert not Storage("local-project").client.bucket("shop-jobs").blob("refused").exists()
