"""A Kafka password is in the place that gives it, and nowhere else: on Prism and on Flink, with every log kept."""

from __future__ import annotations

import json
import secrets
import signal
import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

import apache_beam as beam
import grpc
import psutil
import pytest
from apache_beam.io.kafka import ReadFromKafka
from apache_beam.options.pipeline_options import CrossLanguageOptions, PipelineOptions
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc
from apache_beam.utils.subprocess_server import JavaJarServer

from commands.session import SERVICES
from connectors.kafka.config import KafkaConfig, java_consumer
from local.engines import engines
from local.services import Endpoints
from tests.brokers import LOGIN, sasl_broker
from tests.e2e.clouds import cloud_in
from tests.e2e.listening import hold, watching
from tests.e2e.streams import Feed, StreamSite
from tests.marked import marked
from tests.planted import found_in, found_in_files

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

LOG = "org.slf4j.simpleLogger.log"
VARIABLE = "SHOP_KAFKA_PASSWORD"
MARK = "CONTRACT_PIPELINE_SECRETS_TEST"
LETTERS = string.ascii_letters + string.digits


def word() -> str:
    """A word that is nowhere by chance."""
    return "".join(secrets.choice(LETTERS) for _ in range(24))


@dataclass(frozen=True)
class Planted:
    """The broker that takes the password, and the user's name, which is no secret and shows where one would be."""

    servers: str
    """For those who know the password."""
    open_servers: str
    user: str
    password: str


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    """A separate broker, whose folder is not searched: it has to know the password."""
    user, password = word(), word()
    with sasl_broker(tmp_path_factory.mktemp("kafka"), user, password) as ports:
        yield Planted(f"127.0.0.1:{ports['sasl']}", f"127.0.0.1:{ports['broker']}", user, password)


@dataclass(frozen=True)
class Folders:
    """Where a test's files are: `kept` what the loud launcher wrote down, `temporary` all temporary files."""

    kept: Path
    temporary: Path
    given: Path
    """The user's own, which may hold the password."""

    @classmethod
    def below(cls, folder: Path) -> Folders:
        """New ones."""
        found = cls(folder / "kept", folder / "temporary", folder / "given")
        for one in (found.kept, found.temporary, found.given):
            one.mkdir()
        return found

    def properties(self, planted: Planted, reference: str) -> Path:
        """A file for --kafka_config."""
        file = self.given / "kafka.properties"
        jaas = f'{LOGIN} username="{planted.user}" password="{reference}";'
        file.write_text(f"security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config={jaas}\n")
        return file

    def environment(self) -> dict[str, str]:
        """For a launcher: Java's logs too, and all temporary files in one place."""
        java = {
            "java.io.tmpdir": str(self.temporary),
            f"{LOG}.org.apache.kafka": "debug",
            f"{LOG}.org.apache.beam": "debug",
        }
        flags = " ".join(f"-D{name}={value}" for name, value in java.items())
        return {"TMPDIR": str(self.temporary), "JAVA_TOOL_OPTIONS": flags}


@pytest.fixture(scope="module")
def own_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Endpoints]]:
    """A cloud whose folder has nothing of other modules: all of it is searched, more than once."""
    directory = tmp_path_factory.mktemp("cloud")
    with cloud_in(directory, SERVICES) as endpoints:
        yield directory, endpoints


@pytest.mark.parametrize("runner", ["PrismRunner", "FlinkRunner"])
def test_a_password_is_nowhere(
    own_cloud: tuple[Path, Endpoints], planted: Planted, tmp_path: Path, runner: str
) -> None:
    folders = Folders.below(tmp_path)
    if runner == "PrismRunner":
        reference, variables, arguments = f"env:{VARIABLE}", {VARIABLE: planted.password}, ["--prism_log_level=debug"]
    else:
        reference, variables, arguments = f"file:{folders.given}/password", {}, []
        (folders.given / "password").write_text(planted.password)
    site = StreamSite(
        *own_cloud,
        f"secrets_{runner.lower()}",
        runner=runner,
        launcher=("-m", "tests.e2e.loud_launcher", str(folders.kept)),
        arguments=(
            f"--bootstrap_servers={planted.servers}",
            f"--kafka_config={folders.properties(planted, reference)}",
            *arguments,
        ),
        environment={MARK: runner, **folders.environment(), **variables},
    )
    feed = Feed(planted.open_servers, site.topic)
    feed.send(500)
    searched = (folders.kept, folders.temporary, own_cloud[0])
    start = site.start()
    try:
        with watching() as seen:
            assert site.written_by(start) > 0
            site.wait_until_read(feed.sent)
        hold(seen(), runner.removesuffix("Runner").lower(), "kafka-io", "loud_launcher", "kafka.Kafka")
        running = marked(MARK, runner)
        places = {"command lines": "\n".join(running.values()).encode(), **engine_pages(running)}
        files = {path: how for folder in searched for path, how in found_in_files(folder, planted.password).items()}
        start.process.send_signal(signal.SIGTERM)
        said, _ = start.process.communicate(timeout=120)
    finally:
        start.kill()
    assert start.process.returncode == 0, said
    site.check(feed)
    places |= {"its output": said.encode(), **tables(site)}
    files |= {path: how for folder in searched for path, how in found_in_files(folder, planted.password).items()}
    assert files == {}
    assert {name: how for name, text in places.items() if (how := found_in(text, planted.password))} == {}
    # The name travels with the password: a place that has the name was searched for the password too.
    known = {Path(path).name for path in found_in_files(folders.kept, planted.user)}
    known |= {name.split()[-1] for name, text in places.items() if found_in(text, planted.user)}
    sent = {
        f"{name}.{form}" for name in ("0-expansion-request", "1-expansion-answer", "2-graph") for form in ("bin", "txt")
    }
    assert known >= {"log.txt", "pipeline", *sent}
    assert "sasl.jaas.config = [hidden]" in (folders.kept / "log.txt").read_text()  # Kafka's Java half is heard too
    pages = {name.split()[-1] for name in places}
    assert pages >= {"pipeline", "metrics", f"{site.name}_operations.dead_letters", f"{site.name}_operations.ledger"}
    if runner == "FlinkRunner":
        assert pages >= {"jobs/overview", "jobs/plan", "jobs/config", "jobmanager/config"}
    assert any("prism" in command or "flink" in command for command in running.values())


def test_a_password_in_a_graph_is_found(planted: Planted) -> None:
    class Knows(beam.DoFn):
        """Holds what its pickle then holds."""

        def __init__(self, secret: str) -> None:
            self.secret = secret

        def process(self, element: object) -> None:
            """Nothing."""

    # Snappy replaces what was there before: the second half of the password is not in one piece with the first.
    jaas = f'{LOGIN} username="{planted.password[:16]}" password="{planted.password}";'
    careless = java_consumer(KafkaConfig(planted.servers), "group") | {"sasl.jaas.config": jaas}
    with engines("PrismRunner") as added:
        options = PipelineOptions([*added, "--streaming"])
        with JavaJarServer.beam_services(options.view_as(CrossLanguageOptions).beam_services):
            pipeline = beam.Pipeline(options=options)
            read = pipeline | ReadFromKafka(careless, ["topic"], with_metadata=True)
            read | beam.ParDo(Knows(planted.password))
            graph = pipeline.to_runner_api()
    steps = graph.components.transforms.values()
    ways = {how for step in steps if (how := found_in(step.spec.payload, planted.password))}
    assert "text in snappy" in ways  # what Java has serialized
    assert "text in bzip2 in base64" in ways  # what Python has pickled
    assert found_in(str(graph).encode(), planted.password)


def engine_pages(running: Iterable[int]) -> dict[str, bytes]:
    """What every port of the stream's processes answers: job services their jobs, Flink's REST server its pages."""
    pages: dict[str, bytes] = {}
    for pid in running:
        for connection in psutil.Process(pid).net_connections("tcp"):
            if connection.status != psutil.CONN_LISTEN:
                continue
            port = connection.laddr.port
            found = flink(port) or jobs(port)
            pages |= {f"port {port} {name}": text for name, text in found.items()}
    return pages


def flink(port: int) -> dict[str, bytes]:
    """The pages of a Flink REST server; none if it is not one."""
    found: dict[str, bytes] = {}

    def get(path: str, name: str) -> bytes:
        with urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as answer:
            found[name] = bytes(answer.read())
            return found[name]

    try:
        overview = json.loads(get("jobs/overview", "jobs/overview"))
    except (OSError, HTTPException, ValueError):
        return {}
    for page in ("config", "jobmanager/config", "jobmanager/environment", "taskmanagers", "jobmanager/metrics"):
        get(page, page)
    for job in overview["jobs"]:
        for page in ("plan", "config", "exceptions", "checkpoints", "checkpoints/config", "jobmanager/config"):
            get(f"jobs/{job['jid']}/{page}", f"jobs/{page}")
    return found


def jobs(port: int) -> dict[str, bytes]:
    """What a job service says of its jobs; nothing if it is none."""
    found: dict[str, bytes] = {}
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        service = beam_job_api_pb2_grpc.JobServiceStub(channel)
        try:
            known = service.GetJobs(beam_job_api_pb2.GetJobsRequest(), timeout=5)
        except grpc.RpcError:
            return {}
        found["jobs"] = known.SerializeToString()
        for job in known.job_info:
            for name, call, request in (
                ("pipeline", service.GetPipeline, beam_job_api_pb2.GetJobPipelineRequest),
                ("state", service.GetState, beam_job_api_pb2.GetJobStateRequest),
                ("metrics", service.GetJobMetrics, beam_job_api_pb2.GetJobMetricsRequest),
            ):
                found[name] = call(request(job_id=job.job_id), timeout=10).SerializeToString()
    return found


def tables(site: StreamSite) -> dict[str, bytes]:
    """Every table of the site's datasets, as text."""
    found = {}
    for dataset in (site.name, f"{site.name}_operations"):
        for row in site.rows(f"SELECT table_name FROM {dataset}.INFORMATION_SCHEMA.TABLES"):
            name = f"{dataset}.{row['table_name']}"
            found[name] = repr(site.rows(f"SELECT * FROM {name}")).encode()
    return found
