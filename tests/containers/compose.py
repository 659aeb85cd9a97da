"""docker-compose.yml as Compose reads it: resolved by compose-go, the library with which `docker compose` loads files.

It needs no container engine, is Apache-2.0, and is built once on each machine, from the Go module proxy. podman-compose
(GPL) resolves a file too, but accepts unknown keys.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.processes import free_port
from local.programs.cache import cache_folder, exclusive, say_on_stderr
from local.programs.go import build

__all__ = ["ROOT", "TEXT", "VARIABLES", "ComposeRefused", "free_ports", "resolved"]

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
VARIABLES = dict(re.findall(r"\$\{(\w+):-(\d+)\}", TEXT))
"""The variables of the file and their defaults. All are ports."""
VERSION = "v2.16.2"
SECONDS = 60


class ComposeRefused(Exception):
    """Compose refuses the file; the message is its own."""


def resolved(text: str, variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the model of a file in ROOT with this text, merged, with `variables` or their defaults inserted.

    Raises:
        ComposeRefused: The file is not valid.
    """
    # compose-go's command knows the defaults of variables, but passes no environment (ProjectOptions.LoadModel).
    for name, value in (variables or {}).items():
        text = re.sub(rf"\$\{{{name}:-\d+\}}", value, text)
    run = subprocess.run(
        [_compose_go(), "-format=json", "-"],
        input=text,
        env={},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if run.returncode:
        raise ComposeRefused(run.stderr)
    model = json.loads(run.stdout)
    assert isinstance(model, dict)
    return model


def free_ports() -> dict[str, str]:
    """Return a free port of 127.0.0.1 for each variable."""
    ports: dict[str, str] = {}
    for name in VARIABLES:
        ports[name] = str(free_port(0, {int(port) for port in ports.values()}))
    return ports


def _compose_go() -> Path:
    target = cache_folder() / f"compose-go-{VERSION}"
    module = f"github.com/compose-spec/compose-go/v2@{VERSION}"
    with exclusive("compose-go"):
        assert target.exists() or build(module, "cmd", target, f"compose-go {VERSION}", say_on_stderr), "no Go"
    return target
