"""Job graphs for Dataflow, built against the local Cloud Storage, BigQuery and Kafka, and what they do by themselves.

The graphs that are looked into are run as well: on Prism, by the job API, without a launcher.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from apache_beam.portability.api import beam_runner_api_pb2

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.ledger import LedgerTable
from connectors.files.storage import Storage
from connectors.kafka.config import KafkaConfig
from connectors.kafka.group_offsets import GroupOffsets
from contracts.odcs.tables import shipped
from local.engines import engines
from local.services import Endpoints
from pipelines.engines.naming import stream_version, version_as_label
from tests import launching
from tests.brokers import LOGIN, sasl_broker
from tests.e2e.clouds import ROOT
from tests.e2e.graphs import Graph, Prism, image_of, prism
from tests.e2e.streams import Feed, StreamSite
from tests.planted import found_in

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

USER, PASSWORD = "alice7nameIsNoSecret", "pl4nted5ecret9Word2Find"
BUCKET = "gs://shop-jobs"
STREAM, BATCH = f"{BUCKET}/templates/stream", f"{BUCKET}/templates/batch"
EVENTS = 500


@dataclass
class Templates:
    """The launcher, told to write a job graph."""

    folder: Path
    endpoints: Endpoints
    servers: str
    feed: Feed
    options: list[str] = field(default_factory=list)
    """That tell Beam where the expansion service is."""

    @property
    def environment(self) -> dict[str, str]:
        """What the launcher and the workers find in theirs."""
        return {**self.endpoints.environment(), "SHOP_KAFKA_PASSWORD": PASSWORD}

    def stream(self, *arguments: str) -> str:
        """What the launcher said."""
        jaas = f'{LOGIN} username="{USER}" password="env:SHOP_KAFKA_PASSWORD";'
        properties = self.folder / "kafka.properties"
        properties.write_text(f"security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config={jaas}\n")
        return self.launch(
            "stream", *self.options, f"--bootstrap_servers={self.servers}", f"--kafka_config={properties}", *arguments
        )

    def launch(self, *arguments: str) -> str:
        """What the launcher said."""
        done = launching.run(
            [
                *arguments,
                "--runner=DataflowRunner",
                "--project=local-project",
                *("--location=US", "--region=europe-west1", f"--temp_location={BUCKET}/tmp"),
            ],
            {**os.environ, **self.environment},
            timeout=240,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def templates(local_cloud: tuple[Path, Endpoints], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Templates]:
    """Servers on this machine, a topic with events, and raw files."""
    with sasl_broker(tmp_path_factory.mktemp("kafka"), USER, PASSWORD) as ports, engines("DataflowRunner") as options:
        storage = Storage("local-project")
        storage.client.create_bucket("shop-jobs")
        lines = [f"c{number},c{number}@example.com" for number in range(50)]
        customers = "\n".join(["customer_id,email", *lines, lines[0], "c50,"])  # a duplicate, and one without address
        storage.write(f"{BUCKET}/raw/customers.csv", customers.encode())
        feed = Feed(f"127.0.0.1:{ports['broker']}", "user-events")
        feed.send(EVENTS)
        yield Templates(tmp_path_factory.mktemp("given"), local_cloud[1], f"127.0.0.1:{ports['sasl']}", feed, options)


@pytest.fixture(scope="module")
def stream(templates: Templates) -> Graph:
    """A stream's graph."""
    said = templates.stream(
        f"--template_location={STREAM}",
        "--setup_file=setup.py",
        "--experiments=own",
        "--group_id=written",
        "--dataset=written",
        "--operations_dataset=written_operations",
    )
    assert f"wrote {STREAM} (run stream-" in said
    return Graph.at(STREAM)


@pytest.fixture(scope="module")
def batch(templates: Templates) -> Graph:
    """A batch's graph."""
    said = templates.launch(
        *("batch", f"--template_location={BATCH}", "--setup_file=setup.py", "--run_id=written-down"),
        *(f"--input={BUCKET}/raw", f"--processed={BUCKET}/processed", f"--dead_letters={BUCKET}/dead_letters"),
        f"--summary={templates.folder}/summary.json",
    )
    assert f"wrote {BATCH} (run written-down, 1 files); gcloud dataflow jobs run starts a job from it" in said
    return Graph.at(BATCH)


@pytest.fixture(scope="module")
def engine(templates: Templates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prism]:
    """Prism, with workers that know where the servers are."""
    with prism(tmp_path_factory.mktemp("prism"), templates.environment) as running:
        yield running


def staged(graph: Graph) -> dict[str, bytes]:
    """What was staged with the graph, by name; it is what its environments ask for."""
    storage = Storage("local-project")
    url = graph.options["pipelineUrl"]
    found = {file.uri: storage.read(file.uri) for file in storage.list(url.rpartition("/")[0])}
    assert hashlib.sha256(found[url]).hexdigest() == graph.options["pipelineProtoHash"]
    for described in graph.pipeline.components.environments.values():
        for needed in described.dependencies:
            artifact = beam_runner_api_pb2.ArtifactUrlPayload.FromString(needed.type_payload)
            assert hashlib.sha256(found[artifact.url]).hexdigest() == artifact.sha256
    return found


def holds_the_code(graph: Graph) -> bool:
    """Whether the package of this code, contracts included, is among what the workers install."""
    (code,) = (data for uri, data in staged(graph).items() if uri.endswith("/workflow.tar.gz"))
    with tarfile.open(fileobj=io.BytesIO(code)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    return {"connectors/sinks/append.py", "contracts/user_events.odcs.yaml"} <= names


def names_nothing_of_here(graph: Graph, location: str, templates: Templates) -> bool:
    """Whether no secret is in what was written, and no path of this machine in graph and job."""
    job, proto = Storage("local-project").read(location), graph.pipeline.SerializeToString()
    for where, data in {location: job, **staged(graph)}.items():
        assert found_in(data, PASSWORD) is None, where
    for place in (str(ROOT), str(Path.home()), tempfile.gettempdir() + "/", "file:/", str(templates.folder)):
        for text in (job, proto):
            assert place.encode() not in text.replace(f"{BUCKET}/tmp/".encode(), b"").replace(b"shop-jobs/tmp/", b"")
    return True


def step(graph: Graph, name: str) -> beam_runner_api_pb2.PTransform:
    """The step of that name."""
    (found,) = (one for one in graph.pipeline.components.transforms.values() if one.unique_name == name)
    return found


def test_a_stream(stream: Graph, templates: Templates) -> None:
    assert stream.job["type"] == "JOB_TYPE_STREAMING"
    assert stream.job["name"] == "stream-written"
    tables = {"user_events_streaming": shipped()["user_events_streaming"]}
    assert stream.job["labels"] == {"pipeline_version": stream_version(tables)}
    environment = stream.job["environment"]
    assert environment["experiments"].count("streaming_mode_exactly_once") == 1
    assert {"own", "enable_streaming_engine", "enable_windmill_service"} <= set(environment["experiments"])
    assert stream.options["enable_streaming_engine"] is True
    assert stream.options["streaming"] is True
    java, python = images(stream.pipeline)
    read = descendants(stream.pipeline, step(stream, "Read from Kafka"))
    of_the_read = {stream.pipeline.components.transforms[name].environment_id for name in read} - {""}
    assert {image_of(stream.pipeline, name) for name in of_the_read} == {java}
    assert "beam_java" in java
    assert "beam_python" in python
    assert {image["containerImage"] for image in environment["workerPools"][0]["sdkHarnessContainerImages"]} == {
        java,
        python,
    }
    assert holds_the_code(stream)
    assert found_in(stream.pipeline.SerializeToString(), USER)  # no secret: it is next to the place of the password
    assert names_nothing_of_here(stream, STREAM, templates)


def test_a_batch(batch: Graph, templates: Templates) -> None:
    assert batch.job["type"] == "JOB_TYPE_BATCH"
    assert batch.job["labels"] == {"pipeline_version": version_as_label()}
    # The gate is in the graph, and everything that is loaded has been through it.
    loading = [f"Load tables/{name}" for name in ("Record balance", "Load staging", "Merge", "Close")]
    names = ["Balance ledger/Balance", *loading]
    for before, after in pairwise(names):
        made, needs = step(batch, before).outputs.values(), step(batch, after).inputs.values()
        assert set(needs) <= downstream(batch.pipeline, set(made)), (before, after)
    (image,) = images(batch.pipeline)
    assert "beam_python" in image
    assert holds_the_code(batch)
    assert names_nothing_of_here(batch, BATCH, templates)


def downstream(pipeline: beam_runner_api_pb2.Pipeline, collections: set[str]) -> set[str]:
    """These collections, and all that is made of them."""
    while True:
        more = {
            made
            for one in pipeline.components.transforms.values()
            if collections & set(one.inputs.values())
            for made in one.outputs.values()
        }
        if more <= collections:
            return collections
        collections = collections | more


def test_the_batch_fills_its_table_without_a_launcher(batch: Graph, engine: Prism) -> None:
    warehouse = Warehouse("local-project", "US")
    ledger = LedgerTable(warehouse, "pipeline_operations")
    assert ledger.lines("written-down", "run") == []
    assert engine.wait(engine.submit(batch)) == "DONE"
    assert [line["state"] for line in ledger.lines("written-down", "run")] == ["done"]
    (line,) = ledger.lines("written-down", "loaded")
    assert [line[door] for door in ("read", "written", "duplicate", "dead_letter")] == [52, 50, 1, 1]
    (found,) = warehouse.query(
        "SELECT COUNT(*) AS n, COUNT(DISTINCT customer_id) AS ids, MIN(_run_id) AS run FROM ecommerce_data.customers"
    )
    assert found == {"n": 50, "ids": 50, "run": "written-down"}
    (letter,) = warehouse.query("SELECT error_code FROM pipeline_operations.dead_letters WHERE `table` = 'customers'")
    assert letter["error_code"] == "missing_required"


def test_the_stream_fills_its_table_without_a_launcher(stream: Graph, engine: Prism, templates: Templates) -> None:
    job = engine.submit(stream)
    offsets = GroupOffsets(KafkaConfig.load(templates.feed.servers, None, _nothing), "written")
    sources = offsets.sources(["user-events"])
    deadline = time.monotonic() + 120
    while offsets.committed(sources) != offsets.ends(sources):
        assert engine.state(job) == "RUNNING"
        assert time.monotonic() < deadline
        time.sleep(0.5)
    engine.cancel(job)
    assert engine.wait(job) == "CANCELLED"
    StreamSite(templates.folder, templates.endpoints, "written").check(templates.feed)


def _nothing(path: str) -> bytes:
    return b""


def images(pipeline: beam_runner_api_pb2.Pipeline) -> list[str]:
    """The container images, by name."""
    return sorted(image_of(pipeline, name) for name in pipeline.components.environments)


def descendants(pipeline: beam_runner_api_pb2.Pipeline, step: beam_runner_api_pb2.PTransform) -> Iterator[str]:
    """The names of all that a step consists of."""
    for name in step.subtransforms:
        yield name
        yield from descendants(pipeline, pipeline.components.transforms[name])


def test_an_image_of_ones_own(templates: Templates) -> None:
    location = f"{BUCKET}/templates/image"
    templates.stream(f"--template_location={location}", "--sdk_container_image=eu.example/shop:1", "--group_id=g")
    (pool,) = Graph.at(location).job["environment"]["workerPools"]
    assert "eu.example/shop:1" in {image["containerImage"] for image in pool["sdkHarnessContainerImages"]}
    assert not any("workflow" in package["name"] for package in pool["packages"])
