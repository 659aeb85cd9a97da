"""Run Airflow and the local cloud on this machine until Ctrl-C: `python -m tools.airflow`.

Airflow's parts run as separate processes, as in its own `standalone` command, but on 127.0.0.1 only. Each writes a log,
`<home>/logs/<part>.log`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from commands.local import FLINK_SERVICES
from commands.session import STREAM_SERVICES
from contracts.errors import ReportedError
from local import services
from local.processes import Command, Process, ServiceFailed, free_port
from local.watcher import Watcher

__all__ = ["ROOT", "VENV", "environment"]

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".airflow" / "venv"
BUCKET = "gs://ecommerce-data-lake"
TOPIC = "user-events"
PARTS = {
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "dag-processor": ["dag-processor"],
    "api-server": ["api-server", "--host", "127.0.0.1", "--workers", "1"],
}
"""Without a triggerer: no task of the DAGs is deferred."""
PRELOADED = """\
import airflow.providers.apache.beam.operators.beam  # noqa: F401
import airflow.providers.google.cloud.hooks.bigquery  # noqa: F401
import airflow.providers.google.cloud.hooks.gcs  # noqa: F401
"""
"""Airflow's local settings: the scheduler imports once what the DAGs need, and each task is a fork of it."""
READY_SECONDS = 180.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.5


def environment(home: Path, endpoints: services.Endpoints, port: int) -> dict[str, str]:
    """Return the environment of Airflow and its DAGs. Variables that are set already win, except AIRFLOW_HOME."""
    wanted = {
        **endpoints.environment(),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        # The local servers need no credentials.
        "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT": json.dumps(
            {"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True, "project": "local-project"}}
        ),
        "SHOP_BUCKET": BUCKET,
        "SHOP_PYTHON": sys.executable,
        "SHOP_INPUT": str(home / "raw"),
        "SHOP_BATCH_SCHEDULE": "",
        "SHOP_STREAM_SCHEDULE": "",
        "SHOP_STREAM_OPTIONS": json.dumps(
            {"local": True, "local_dir": str(endpoints.directory), "create_topics": True}
        ),
    }
    path = os.pathsep.join([str(VENV / "bin"), os.environ.get("PATH", "")])
    return {**wanted, **os.environ, "AIRFLOW_HOME": str(home), "PATH": path}


@contextmanager
def parts(home: Path, variables: Mapping[str, str], port: int) -> Iterator[dict[str, Process]]:
    """Run Airflow's processes during the block; then end them and every process that they started."""
    logs = home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with Watcher() as watcher:
        started: dict[str, Process] = {}
        try:
            for name, arguments in PARTS.items():
                ports = ["--port", str(port)] if name == "api-server" else []
                command = [str(VENV / "bin" / "airflow"), *arguments, *ports]
                started[name] = watcher.spawn(Command(command, dict(variables), str(home), str(logs / f"{name}.log")))
            yield started
        finally:
            end(started.values())


def end(processes: Iterable[Process]) -> None:
    """Send SIGTERM to the processes and all their descendants, in any session; then SIGKILL to the survivors."""
    family: list[psutil.Process] = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.alive:
                parent = psutil.Process(process.pid)
                family += [*parent.children(recursive=True), parent]
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    while any(map(is_running, family)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for member in filter(is_running, family):
        with suppress(psutil.NoSuchProcess):
            member.kill()


def is_running(process: psutil.Process) -> bool:
    """Return whether the process still runs. A zombie does not: the watcher reaps dead children only when it closes."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wait_until_ready(home: Path, started: Mapping[str, Process], port: int) -> None:
    """Return once every part reports that it is healthy.

    Raises:
        ServiceFailed: A part has ended, or Airflow is not ready in time.
    """
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        fail_if_ended(home, started)
        with suppress(OSError, ValueError):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v2/monitor/health", timeout=5) as answer:
                health = json.load(answer)
            if all(health[part]["status"] == "healthy" for part in ("scheduler", "dag_processor")):
                return
        time.sleep(POLL_SECONDS)
    raise ServiceFailed(f"Airflow was not ready after {READY_SECONDS:g} s; its logs are in {home / 'logs'}")


def fail_if_ended(home: Path, started: Mapping[str, Process]) -> None:
    """Raise ServiceFailed, with the end of its log, if a part has ended."""
    for name, process in started.items():
        if not process.alive:
            log = home / "logs" / f"{name}.log"
            raise ServiceFailed(f"Airflow's {name} has ended", log)


def prepare(home: Path, variables: Mapping[str, str]) -> None:
    """Create the metadata database, the bucket, and raw files and events to try the DAGs on."""
    (home / "config").mkdir(exist_ok=True)
    (home / "config" / "airflow_local_settings.py").write_text(PRELOADED)
    call([str(VENV / "bin" / "airflow"), "db", "migrate"], variables, home / "logs" / "migrate.log")
    launcher = [sys.executable, str(ROOT / "launcher.py")]
    setup = ["setup", "--bucket", BUCKET, "--create_bucket", "--project", "local-project", "--location", "US"]
    call([*launcher, *setup], variables, home / "logs" / "setup.log")
    if not (home / "raw").exists():
        call([*launcher, "generate", "--output", str(home / "raw")], variables, home / "logs" / "generate.log")
        produce = ["produce", "--input", str(home / "raw" / "user_events.json"), "--topic", TOPIC, "--create_topics"]
        kafka = ["--bootstrap_servers", variables["KAFKA_BOOTSTRAP_SERVERS"]]
        call([*launcher, *produce, *kafka], variables, home / "logs" / "produce.log")


def call(command: Sequence[str], variables: Mapping[str, str], log: Path) -> None:
    """Run a command to its end. Raise ServiceFailed, with the end of its log, if it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as stream:
        code = subprocess.call(command, env=dict(variables), stdout=stream, stderr=subprocess.STDOUT)
    if code:
        raise ServiceFailed(f"{' '.join(command[:3])} failed ({code})", log)


def main(argv: Sequence[str] | None = None) -> int:
    """Run until Ctrl-C and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.airflow", description=__doc__)
    parser.add_argument("--home", type=Path, default=ROOT / ".airflow", help="Airflow's folder (default .airflow)")
    parser.add_argument(
        "--local_dir", type=Path, default=ROOT / ".local", help="the local cloud's folder (default .local)"
    )
    parser.add_argument("--port", type=int, default=8080, help="port of Airflow's page (default 8080, or a free one)")
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    home, port = arguments.home.resolve(), free_port(arguments.port, ())
    try:
        with services.running(arguments.local_dir, (*STREAM_SERVICES, *FLINK_SERVICES)) as endpoints:
            variables = environment(home, endpoints, port)
            print("Airflow is starting, about half a minute", flush=True)
            prepare(home, variables)
            with parts(home, variables, port) as started:
                wait_until_ready(home, started, port)
                print(
                    f"Airflow is at http://127.0.0.1:{port}\n"
                    f"  Dags > shop_batch > Trigger: loads {variables['SHOP_INPUT']} into the local BigQuery\n"
                    "  then its task summary > XCom: records read, written and refused\n"
                    "  Dags > shop_stream > Trigger: streams user-events of the local Kafka, on the local Flink\n"
                    "Ctrl-C ends Airflow, and the local cloud unless it ran before.",
                    flush=True,
                )
                while True:
                    time.sleep(POLL_SECONDS)
                    fail_if_ended(home, started)
    except (ServiceFailed, ReportedError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Airflow has ended", flush=True)
        return 0


if __name__ == "__main__":
    sys.exit(main())
