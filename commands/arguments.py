"""Arguments that several commands take."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from contracts.bookkeeping import OPERATIONS_DATASET
from local.service import PROJECT as LOCAL_PROJECT
from pipelines.runs.argument_parser import PipelineArguments
from pipelines.runs.local_dir import LOCAL_DIR_HELP, default_local_dir, named_folder
from pipelines.runs.required import check_required

__all__ = [
    "LOCAL_LOCATION",
    "LOCAL_PROJECT",
    "add_format",
    "add_local",
    "add_local_dir",
    "add_operations",
    "add_place",
    "add_tables",
    "at_least_one",
    "local_dir_option",
    "local_folder",
    "local_options",
    "parser",
    "place",
    "positive",
]

LOCAL_LOCATION = "US"


def parser(command: str, description: str, examples: str) -> argparse.ArgumentParser:
    """Return the parser of a command; `examples` has one example a line, without the launcher and the command."""
    lines = "\n".join(f"  python3 launcher.py {command} {line}".rstrip() for line in examples.split("\n"))
    return PipelineArguments(
        prog=f"launcher.py {command}",
        description=description,
        epilog=f"examples:\n{lines}",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def at_least_one(text: str) -> int:
    """Parse a whole number from 1."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text}: give a whole number from 1")
    return int(text)


def positive(text: str) -> float:
    """Parse a number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: give a number above 0")
    return number


def local_folder(text: str) -> Path:
    """Parse the folder of the local cloud."""
    return Path(named_folder(text))


def add_local(parser: argparse.ArgumentParser) -> None:
    """Add --local and --local_dir."""
    parser.add_argument("--local", action="store_true", help="use the local cloud on this machine")
    add_local_dir(parser)


def add_local_dir(parser: argparse.ArgumentParser) -> None:
    """Add --local_dir."""
    parser.add_argument("--local_dir", type=local_folder, default=Path(default_local_dir()), help=LOCAL_DIR_HELP)


def local_options(directory: Path) -> str:
    """Return the options of the local cloud in `directory`, as a hint repeats them."""
    return "--local" + local_dir_option(directory)


def local_dir_option(directory: Path) -> str:
    """Return ` --local_dir DIRECTORY`, or '' if it is the default."""
    return "" if directory == Path(default_local_dir()) else f" --local_dir {shlex.quote(str(directory))}"


def add_tables(parser: argparse.ArgumentParser) -> None:
    """Add --contracts and --dataset."""
    parser.add_argument("--contracts", help="folder or glob of *.odcs.yaml; default: the contracts of this package")
    parser.add_argument("--dataset", help="dataset of the tables; default: the dataset that each contract names")


def add_operations(parser: argparse.ArgumentParser) -> None:
    """Add --operations_dataset."""
    parser.add_argument("--operations_dataset", default=OPERATIONS_DATASET, help=f"default {OPERATIONS_DATASET}")


def add_format(parser: argparse.ArgumentParser) -> None:
    """Add --format."""
    parser.add_argument("--format", choices=("table", "json"), default="table", help="for a person or for a program")


def add_place(parser: argparse.ArgumentParser) -> None:
    """Add --project, --location and what `add_local` adds."""
    parser.add_argument("--project", help="Google Cloud project")
    parser.add_argument("--location", help="BigQuery location, for example EU")
    add_local(parser)


def place(arguments: argparse.Namespace, command: str) -> tuple[str, str]:
    """Return project and location. Raises UsageError if one is missing and --local is not given."""
    project = arguments.project or (LOCAL_PROJECT if arguments.local else None)
    location = arguments.location or (LOCAL_LOCATION if arguments.local else None)
    check_required({"--project": project, "--location": location}, f"; on this machine: launcher.py {command} --local")
    return str(project), str(location)
