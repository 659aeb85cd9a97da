"""docker-compose.yml as Compose reads it: resolved by compose-go, the library by which `docker compose` loads files.

It needs no engine, is Apache-2.0, and is built once a machine, from the Go module proxy. podman-compose (GPL) resolves
a file too, but takes any key for a good one.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.go import build
from local.jars import cache_folder, exclusive, say_on_stderr
from local.processes import free_port

__all__ = ["ROOT", "TEXT", "VARIABLES", "ComposeRefused", "free_ports", "resolved"]

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
VARIABLES = dict(re.findall(r"\$\{(\w+):-(\d+)\}", TEXT))
"""The variables of the file, all of them ports, and their defaults."""
VERSION = "v2.16.2"
SECONDS = 60


class ComposeRefused(Exception):
    """What Compose says of a file that it does not take."""


def resolved(text: str, variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A file of ROOT with this text as Compose has it: valid, merged, with `variables` or their defaults put in.

    Raises ComposeRefused.
    """
    # compose-go's command knows a variable's default, but gives the file no environment (ProjectOptions.LoadModel).
    for name, value in (variables or {}).items():
        text = re.sub(rf"\$\{{{name}:-\d+\}}", value, text)
    done = subprocess.run(
        [_compose_go(), "-format=json", "-"], input=text, env={}, cwd=ROOT,
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    if done.returncode:
        raise ComposeRefused(done.stderr)
    model = json.loads(done.stdout)
    assert isinstance(model, dict)
    return model


def free_ports() -> dict[str, str]:
    """A free port of 127.0.0.1 for each of the variables."""
    ports: dict[str, str] = {}
    for name in VARIABLES:
        ports[name] = str(free_port(0, {int(port) for port in ports.values()}))
    return ports


def _compose_go() -> Path:
    target = cache_folder() / f"compose-go-{VERSION}"
    package = f"github.com/compose-spec/compose-go/v2/cmd@{VERSION}"
    with exclusive("compose-go"):
        assert target.exists() or build(package, target, f"compose-go {VERSION}", say_on_stderr), "no Go could build it"
    return target
