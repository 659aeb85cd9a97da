"""A Flink cluster on this machine: a job manager, two task managers, and two pools of workers.

The steps of a job run in workers, not in Flink: Python steps in one pool, Kafka's Java steps in the other. A pool
starts a worker when a task manager requests one, so a job outlives the launcher that submitted it.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.request import urlopen

from local import gcs, kafka
from local.bigquery import service as bigquery
from local.processes import Command, module_command
from local.programs.jars import ADD_OPENS, pathing_jar
from local.programs.java import LOGGING, java
from local.service import HOST, Ports, Service

__all__ = ["JOB_MANAGER", "SERVICES", "TASK_MANAGERS", "options"]

MIB = 1 << 20
SETTINGS = {
    "jobmanager.memory.process.size": "1g",
    "parallelism.default": "2",
    # How soon Flink notices a task manager that hangs. The loss of a process breaks its connection and shows at once.
    "heartbeat.interval": "2000",
    "heartbeat.timeout": "10000",
    # A stream restarts from its checkpoint. A batch has none and restarts with the stages that are not finished.
    "restart-strategy.type": "fixed-delay",
    "restart-strategy.fixed-delay.attempts": "20",
    "restart-strategy.fixed-delay.delay": "1s",
    "state.backend.type": "hashmap",
}
# Flink's start scripts would compute these, and Flink requires all of them. See its "Set up TaskManager Memory".
MEMORY = {
    "taskmanager.cpu.cores": "2.0",
    "taskmanager.memory.task.heap.size": 384 * MIB,
    "taskmanager.memory.task.off-heap.size": 0,
    "taskmanager.memory.managed.size": 128 * MIB,
    "taskmanager.memory.framework.heap.size": 128 * MIB,
    "taskmanager.memory.framework.off-heap.size": 128 * MIB,
    "taskmanager.memory.network.min": 64 * MIB,
    "taskmanager.memory.network.max": 64 * MIB,
    "taskmanager.memory.jvm-metaspace.size": 256 * MIB,
    "taskmanager.memory.jvm-overhead.min": 192 * MIB,
    "taskmanager.memory.jvm-overhead.max": 192 * MIB,
}
SLOTS = 2
"""Slots of a task manager, so that one task manager can run a job of parallelism 2."""
ANSWER_SECONDS = 5.0
JAVA_WORKER = Path(__file__).with_name("java_worker.sh")


def options(ports: Mapping[str, Ports]) -> list[str]:
    """Return the Beam options with which a job runs on the cluster; `ports` holds the ports of services by name."""
    return [
        f"--flink_master={HOST}:{ports[JOB_MANAGER.name]['rest']}",
        "--environment_type=EXTERNAL",
        f"--environment_config={HOST}:{ports[PYTHON_WORKERS.name]['pool']}",
        f"--java_workers={HOST}:{ports[JAVA_WORKERS.name]['pool']}",
    ]


def _job_manager(directory: Path, ports: Ports) -> Command:
    folder = JOB_MANAGER.folder(directory)
    settings = SETTINGS | {
        "jobmanager.rpc.address": HOST,
        "jobmanager.bind-host": HOST,
        "jobmanager.rpc.port": str(ports["rpc"]),
        "rest.address": HOST,
        "rest.bind-address": HOST,
        "rest.port": str(ports["rest"]),
        "blob.server.port": str(ports["blobs"]),
        "state.checkpoints.dir": (folder / "checkpoints").as_uri(),
        "io.tmp.dirs": str(folder / "tmp"),
    }
    entry = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
    return _flink(JOB_MANAGER, directory, settings, entry, heap=512 * MIB)


def _task_manager(service: Service, directory: Path, ports: Ports) -> Command:
    folder = service.folder(directory)
    settings = SETTINGS | {
        "jobmanager.rpc.address": HOST,
        "jobmanager.rpc.port": str(JOB_MANAGER.known_ports(directory)["rpc"]),
        "taskmanager.host": HOST,
        "taskmanager.bind-host": HOST,
        "taskmanager.rpc.port": str(ports["rpc"]),
        "taskmanager.data.port": str(ports["data"]),
        "taskmanager.resource-id": service.name,
        "taskmanager.numberOfTaskSlots": str(SLOTS),
        "io.tmp.dirs": str(folder / "tmp"),
        **{name: str(value) for name, value in MEMORY.items()},
    }
    heap = 512 * MIB
    return _flink(service, directory, settings, "org.apache.flink.runtime.taskexecutor.TaskManagerRunner", heap)


def _flink(service: Service, directory: Path, settings: Mapping[str, str], entry: str, heap: int) -> Command:
    """Write the configuration of a Flink process into its folder; return its command."""
    folder = service.folder(directory)
    (folder / "tmp").mkdir(exist_ok=True)
    (folder / "config.yaml").write_text("".join(f"{name}: {json.dumps(value)}\n" for name, value in settings.items()))
    arguments = [str(java()), *LOGGING, f"-Xmx{heap}", "-XX:+UseSerialGC", "-cp", str(pathing_jar("flink")), *_opens()]
    return Command([*arguments, entry, "--configDir", str(folder)], {}, str(folder), str(service.log(directory)))


def _opens() -> list[str]:
    """Return flags for what a manifest says in Add-Opens, which only `java -jar` reads."""
    return [word for name in ADD_OPENS.split() for word in ("--add-opens", f"java.base/{name}=ALL-UNNAMED")]


def _python_workers(directory: Path, ports: Ports) -> Command:
    # The pool runs `python` from PATH.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return _workers(PYTHON_WORKERS, directory, ports, [], {"PATH": path, **_clients(directory)})


def _java_workers(directory: Path, ports: Ports) -> Command:
    flags = [*LOGGING, f"-Xmx{512 * MIB}", "-XX:+UseSerialGC", *_opens()]
    environment = {
        "JAVA": str(java()),
        "CLASSPATH": str(pathing_jar("kafka-io")),
        "JDK_JAVA_OPTIONS": " ".join(f"'{flag}'" for flag in flags),
    }
    return _workers(JAVA_WORKERS, directory, ports, [str(JAVA_WORKER)], environment)


def _workers(
    service: Service, directory: Path, ports: Ports, program: Sequence[str], environment: Mapping[str, str]
) -> Command:
    """Return the command of a pool, which starts a process for each worker that a task manager requests."""
    arguments, paths = module_command("local.worker_pool")
    arguments += [str(ports["pool"]), *program]
    return Command(arguments, {**paths, **environment}, str(service.folder(directory)), str(service.log(directory)))


def _clients(directory: Path) -> dict[str, str]:
    """Return the environment by which workers find the services that were ever started in this directory."""
    variables: dict[str, str] = {}
    for service in (gcs.SERVICE, bigquery.SERVICE, kafka.SERVICE):
        try:
            variables |= service.environment(service.known_ports(directory))
        except KeyError:
            continue
    return variables


def _answers(ports: Ports) -> bool:
    with urlopen(f"{_rest(ports)}/overview", timeout=ANSWER_SECONDS) as answer:
        return bool(answer.status == 200)


def _rest(ports: Ports) -> str:
    return f"http://{HOST}:{ports['rest']}"


def _listens(name: str) -> Callable[[Ports], bool]:
    def ready(ports: Ports) -> bool:
        with socket.create_connection((HOST, ports[name]), timeout=ANSWER_SECONDS):
            return True

    return ready


def _no_variables(_ports: Ports) -> dict[str, str]:
    """Return no variables: clients find it by `options`."""
    return {}


def _task_manager_service(number: int) -> Service:
    service = Service(
        name=f"flink-taskmanager-{number}",
        ports=("rpc", "data"),
        command=lambda directory, ports: _task_manager(service, directory, ports),
        ready=_listens("rpc"),
        environment=_no_variables,
        addresses=lambda ports: {"rpc": f"{HOST}:{ports['rpc']}"},
    )
    return service


def _pool(name: str, command: Callable[[Path, Ports], Command]) -> Service:
    return Service(
        name=name,
        ports=("pool",),
        command=command,
        ready=_listens("pool"),
        environment=_no_variables,
        addresses=lambda ports: {"address": f"{HOST}:{ports['pool']}"},
    )


JOB_MANAGER = Service(
    name="flink-jobmanager",
    ports=("rest", "rpc", "blobs"),
    command=_job_manager,
    ready=_answers,
    environment=_no_variables,
    addresses=lambda ports: {"rest": _rest(ports)},
)
TASK_MANAGERS = (_task_manager_service(1), _task_manager_service(2))
PYTHON_WORKERS = _pool("python-workers", _python_workers)
JAVA_WORKERS = _pool("java-workers", _java_workers)
SERVICES = (JOB_MANAGER, *TASK_MANAGERS, PYTHON_WORKERS, JAVA_WORKERS)
"""In the order in which they start. The job manager comes first, since the task managers need its ports."""
