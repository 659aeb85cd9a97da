"""BigQuery on this machine: bqemulator over a DuckDB file. It serves REST, and the Storage API over gRPC."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from urllib.request import urlopen

from local import gcs
from local.processes import Command, ServiceFailed, module_command
from local.service import HOST, PROJECT, Ports, Service

__all__ = ["SERVICE"]

SERVER = "local.bigquery.server"
MODULES = ("bqemulator", "duckdb", "duckdb_extension_spatial", "numpy")
HEALTH = "/grpc.health.v1.Health/Check"
SERVING = b"\x08\x01"
"""A HealthCheckResponse whose status is SERVING. See grpc/health/v1/health.proto."""


def _command(directory: Path, ports: Ports) -> Command:
    missing = [name for name in MODULES if importlib.util.find_spec(name) is None]
    if missing:
        raise ServiceFailed(f"bigquery: {', '.join(missing)} is not installed: pip install 'contract-pipeline[local]'")
    folder = SERVICE.folder(directory)
    arguments, python = module_command(SERVER)
    environment = {
        **python,
        "BQEMU_REST_HOST": HOST,
        "BQEMU_REST_PORT": str(ports["rest"]),
        "BQEMU_GRPC_HOST": HOST,
        "BQEMU_GRPC_PORT": str(ports["grpc"]),
        "BQEMU_PERSISTENCE_MODE": "persistent",
        "BQEMU_DATA_DIR": str(folder),
        "BQEMU_UPLOAD_STAGING_DIR": str(folder / "uploads"),
        "BQEMU_DEFAULT_PROJECT_ID": PROJECT,
        "BQEMU_GCS_LOCAL_ROOT": str(gcs.SERVICE.folder(directory)),  # gs:// in load jobs
        "BQEMU_ENABLE_FORMAT_EXTENSIONS": "false",  # Avro's would be downloaded from the internet
        "BQEMU_LOG_LEVEL": "warning",
    }
    return Command(arguments, environment, str(folder), str(SERVICE.log(directory)))


def _ready(ports: Ports) -> bool:
    with urlopen(f"{_rest(ports)}/bigquery/v2/projects/{PROJECT}/datasets", timeout=5) as answer:
        if answer.status != 200:
            return False
    import grpc

    with grpc.insecure_channel(_grpc(ports)) as channel:
        try:
            return bool(channel.unary_unary(HEALTH)(b"", timeout=5) == SERVING)
        except grpc.RpcError:
            return False


def _rest(ports: Ports) -> str:
    return f"http://{HOST}:{ports['rest']}"


def _grpc(ports: Ports) -> str:
    return f"{HOST}:{ports['grpc']}"


def _environment(ports: Ports) -> dict[str, str]:
    # Google's clients read no variable for the address of the Storage API: the second name is this project's own.
    return {"BIGQUERY_EMULATOR_HOST": _rest(ports), "BIGQUERY_STORAGE_EMULATOR_HOST": _grpc(ports)}


SERVICE = Service(
    name="bigquery",
    ports=("rest", "grpc"),
    command=_command,
    ready=_ready,
    environment=_environment,
    addresses=lambda ports: {"rest": _rest(ports), "grpc": _grpc(ports)},
)
