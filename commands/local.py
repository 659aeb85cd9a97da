"""`local`: the local cloud between commands."""

from __future__ import annotations

import argparse
import json

from commands.arguments import add_format, add_local_dir, at_least_one, local_dir_option, parser
from commands.session import STREAM_SERVICES, cloud, failures_explained
from console.report import print_lines
from console.terminal import Terminal
from contracts.errors import UsageError
from local import flink_cluster, services

__all__ = ["run"]

FLINK_SERVICES = tuple(service.name for service in flink_cluster.SERVICES)


def run(argv: list[str], terminal: Terminal) -> int:
    """Run the command and return its exit code."""
    command = parser(
        "local",
        "Keep the local cloud running between commands.",
        "up\nup --flink\nstatus --format json\ntopic bike-events\ndown",
    )
    command.add_argument("action", choices=("up", "down", "status", "topic"), help="topic: create a topic for records")
    command.add_argument("topic", nargs="?", metavar="TOPIC", help="topic: its name")
    command.add_argument("--flink", action="store_true", help="up: start a Flink cluster too, for --runner FlinkRunner")
    command.add_argument("--partitions", type=at_least_one, default=4, help="topic: its partitions (default 4)")
    add_format(command)
    add_local_dir(command)
    arguments = command.parse_args(argv)
    if arguments.flink and arguments.action != "up":
        raise UsageError("--flink is an option of up; down stops all services, status shows all of them")
    if (arguments.topic is None) == (arguments.action == "topic"):
        raise UsageError(
            "local topic TOPIC: the name is missing"
            if arguments.topic is None
            else f"local {arguments.action} takes no name"
        )
    if arguments.action == "down":
        stopped = services.down(arguments.local_dir)
        terminal.log(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")
        return 0
    if arguments.action == "topic":
        return _create_topic(arguments, terminal)
    if arguments.action == "up":
        before = services.remembered_ports(arguments.local_dir)
        names = (*STREAM_SERVICES, *(FLINK_SERVICES if arguments.flink else ()))
        with failures_explained(), terminal.step("local cloud"):
            endpoints = services.up(arguments.local_dir, names)
        for line in services.moved_ports(before, services.remembered_ports(arguments.local_dir)):
            terminal.log(line)
    else:
        endpoints = services.status(arguments.local_dir)
    _print(endpoints, arguments, terminal)
    return 0


def _create_topic(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """Create a topic in the Kafka of the local cloud, which keeps it when it stops."""
    import os

    from connectors.kafka.client import admin, clients_closed, create_topics
    from connectors.kafka.config import KafkaConfig

    name = arguments.topic
    with cloud(arguments.local_dir, ("kafka",), terminal), clients_closed():
        config = KafkaConfig(os.environ["KAFKA_BOOTSTRAP_SERVERS"])
        with admin(config) as client:
            created = create_topics(client, config, {name: arguments.partitions})
    terminal.log(f"created topic {name}, {arguments.partitions} partitions" if created else f"topic {name} exists")
    return 0


def _print(endpoints: services.Endpoints, arguments: argparse.Namespace, terminal: Terminal) -> None:
    status = endpoints.status()
    if arguments.format == "json":
        print(json.dumps(status, indent=2))
        return
    directory = local_dir_option(arguments.local_dir)
    if not status:
        print_lines(terminal.output, [f"nothing is running; launcher.py local up{directory} starts it"])
        return
    lines = [
        f"{name}: " + ", ".join(f"{key} {value}" for key, value in facts.items()) for name, facts in status.items()
    ]
    if arguments.action == "up":
        lines += ["environment of your own clients:"]
        lines += [f"  {name}={value}" for name, value in endpoints.environment().items()]
        lines += [f"a topic for your own records: launcher.py local topic NAME{directory}"]
    print_lines(terminal.output, lines)
