"""Arguments that several commands take."""

from __future__ import annotations

import argparse
from pathlib import Path

from contracts.errors import Misuse
from local.service import PROJECT as LOCAL_PROJECT
from pipelines.options import PipelineArguments

__all__ = ["LOCAL_LOCATION", "LOCAL_PROJECT", "add_local", "add_place", "at_least_one", "parser", "place", "positive"]

LOCAL_LOCATION = "US"


def parser(command: str, description: str, examples: str) -> argparse.ArgumentParser:
    """The parser of a command; `examples` has one line each, without the launcher and the command."""
    lines = "\n".join(f"  python launcher.py {command} {line}".rstrip() for line in examples.split("\n"))
    return PipelineArguments(
        prog=f"launcher.py {command}", description=description, epilog=f"examples:\n{lines}", allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip


def at_least_one(text: str) -> int:
    """A whole number from 1."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text}: give a whole number from 1")
    return int(text)


def positive(text: str) -> float:
    """A number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: give a number above 0")
    return number


def add_local(parser: argparse.ArgumentParser) -> None:
    """--local and --local_dir."""
    parser.add_argument("--local", action="store_true", help="use servers on this machine in place of Google's")
    parser.add_argument("--local_dir", type=Path, default=Path(".local"), help="where their data is (default .local)")


def add_place(parser: argparse.ArgumentParser) -> None:
    """--project and --location, and what add_local adds."""
    parser.add_argument("--project", help="Google Cloud project")
    parser.add_argument("--location", help="BigQuery location, for example EU")
    add_local(parser)


def place(arguments: argparse.Namespace, command: str) -> tuple[str, str]:
    """Project and location; Misuse where they are missing and it is not --local."""
    project = arguments.project or (LOCAL_PROJECT if arguments.local else None)
    location = arguments.location or (LOCAL_LOCATION if arguments.local else None)
    if project is None or location is None:
        missing = [name for name, value in (("--project", project), ("--location", location)) if value is None]
        raise Misuse(f"{', '.join(missing)} missing; on this machine: launcher.py {command} --local")
    return project, location
