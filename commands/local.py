"""`local`: the services on this machine, between commands."""

from __future__ import annotations

import json
from pathlib import Path

from commands.arguments import parser
from commands.session import STREAM_SERVICES, failures_explained, log, output
from contracts.errors import Misuse
from local import flink_cluster, services

__all__ = ["run"]

FLINK_SERVICES = tuple(service.name for service in flink_cluster.SERVICES)


def run(argv: list[str]) -> int:
    """Run the command; its exit code."""
    command = parser(
        "local", "Keep the local cloud running between commands.", "up\nup --flink\nstatus --format json\ndown"
    )
    command.add_argument("action", choices=("up", "down", "status"))
    command.add_argument(
        "--flink", action="store_true", help="up: a Flink cluster too, which --runner FlinkRunner uses"
    )
    command.add_argument("--format", choices=("table", "json"), default="table")
    command.add_argument("--local_dir", type=Path, default=Path(".local"), help="where its data is (default .local)")
    arguments = command.parse_args(argv)
    if arguments.flink and arguments.action != "up":
        raise Misuse("--flink goes with up; down stops all, status shows all")
    if arguments.action == "down":
        stopped = services.down(arguments.local_dir)
        log(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")
        return 0
    with failures_explained():
        found = (
            services.up(arguments.local_dir, (*STREAM_SERVICES, *(FLINK_SERVICES if arguments.flink else ())))
            if arguments.action == "up"
            else services.status(arguments.local_dir)
        )
    if arguments.format == "json":
        print(json.dumps(found.status(), indent=2))
        return 0
    for name, facts in found.status().items():
        output.print(
            f"{name}: " + ", ".join(f"{key} {value}" for key, value in facts.items()), markup=False, highlight=False
        )
    if not found.status():
        output.print("nothing is running; launcher.py local up starts it")
    return 0
