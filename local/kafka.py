"""Kafka on this machine: one process as broker and controller (KRaft). Topics outlive the process."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from local.processes import Command, ServiceFailed
from local.programs.jars import pathing_jar
from local.programs.java import LOGGING, QUICK_START, java
from local.service import HOST, Ports, Service

__all__ = ["SERVICE", "command"]

CLUSTER_ID = "c2hvcC1waXBlbGluZS0tLQ"
"""Any 16 bytes, base64; a broker refuses the data of another cluster."""
SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,"
    "SSL:SSL,SASL_SSL:SASL_SSL",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    # A topic that nobody created is a misspelt name.
    "auto.create.topics.enable": "false",
    # One broker holds one replica.
    "default.replication.factor": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # A group has one member: do not wait for others.
    "group.initial.rebalance.delay.ms": "0",
    # Do not allocate 10 MB for each index at once.
    "log.index.size.max.bytes": "1048576",
    # After a kill, the next broker may not register before the session of the killed one has ended.
    "broker.session.timeout.ms": "4000",
    "broker.heartbeat.interval.ms": "1500",
    # One broker with few clients: idle, it needs half of the CPU that the defaults need.
    "metadata.max.idle.interval.ms": "0",
    "num.network.threads": "1",
    "num.io.threads": "2",
    "background.threads": "2",
}
HEAP = "-Xmx512m"
FORMATTED = "formatted"
FORMAT_SECONDS = 60.0


def command(directory: Path, ports: Ports, extra: Mapping[str, str] | None = None) -> Command:
    """Return the command of the broker whose state is under `directory`; format its folder the first time.

    `extra` holds further properties of the server, which win over SETTINGS and `listeners`. Raises ServiceFailed.
    """
    folder, log = SERVICE.folder(directory), SERVICE.log(directory)
    properties = folder / "server.properties"
    settings = SETTINGS | {
        "log.dirs": str(folder / "data"),
        "listeners": f"PLAINTEXT://{HOST}:{ports['broker']},CONTROLLER://{HOST}:{ports['controller']}",
        "controller.quorum.bootstrap.servers": f"{HOST}:{ports['controller']}",
    }
    settings |= extra or {}
    properties.write_text("".join(f"{name}={_escaped(value)}\n" for name, value in settings.items()))
    flags = [str(java()), *LOGGING, "-XX:+UseSerialGC"]
    path = str(pathing_jar("kafka"))
    if not (folder / FORMATTED).exists():
        _format([*flags, *QUICK_START, "-cp", path, "kafka.tools.StorageTool"], folder, properties, log)
    return Command([*flags, HEAP, "-cp", path, "kafka.Kafka", str(properties)], {}, str(folder), str(log))


def _format(program: list[str], folder: Path, properties: Path, log: Path) -> None:
    """Create the data folder; delete what an earlier attempt has left. Raises ServiceFailed."""
    shutil.rmtree(folder / "data", ignore_errors=True)
    arguments = ["format", "--standalone", "--cluster-id", CLUSTER_ID, "--config", str(properties)]
    with log.open("ab") as output:
        try:
            process = subprocess.run(
                [*program, *arguments], stdout=output, stderr=output, timeout=FORMAT_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise ServiceFailed(f"kafka: its data folder was not formatted within {FORMAT_SECONDS:g} s") from None
    if process.returncode:
        raise ServiceFailed("kafka: its data folder cannot be formatted", log)
    (folder / FORMATTED).touch()


def _escaped(value: str) -> str:
    """Return the value as it is written in a .properties file."""
    return value.replace("\\", "\\\\")


def _ready(ports: Ports) -> bool:
    """Return whether clients can use the broker: a fenced one is not in the description of the cluster yet."""
    from kafka.admin import KafkaAdminClient
    from kafka.errors import KafkaError

    with socket.create_connection((HOST, ports["broker"]), timeout=1):
        pass  # kafka-python logs a dozen lines for a closed port
    try:
        with KafkaAdminClient(bootstrap_servers=_bootstrap(ports), bootstrap_timeout_ms=500) as admin:
            return bool(admin.describe_cluster()["brokers"])
    except KafkaError:
        return False


def _bootstrap(ports: Ports) -> str:
    return f"{HOST}:{ports['broker']}"


SERVICE = Service(
    name="kafka",
    ports=("broker", "controller"),
    command=command,
    ready=_ready,
    environment=lambda ports: {"KAFKA_BOOTSTRAP_SERVERS": _bootstrap(ports)},
    addresses=lambda ports: {"bootstrap_servers": _bootstrap(ports)},
)
