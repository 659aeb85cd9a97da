r"""Files and Kafka into BigQuery: typed, clean, each record once.

  python3 launcher.py batch --runner DirectRunner      # files to tables, on this machine
  python3 launcher.py stream --runner PrismRunner      # Kafka to a table, on this machine, until Ctrl-C
  python3 launcher.py demo                             # both, with a stream that is killed
  python3 launcher.py query "SELECT 1" --local
  python3 launcher.py tables --local                   # the tables that there are
  python3 launcher.py contracts infer MY_FOLDER        # a draft of a contract for own files; also: check, try, …
  python3 launcher.py sla --local                      # whether they keep the service levels of their contracts
  python3 launcher.py runs --local                     # the runs and their records by door
  python3 launcher.py dead-letters list --run last --local    # what was refused, and why
  python3 launcher.py reconcile --local                # whether ledger, tables, dead letters and files agree
  python3 launcher.py alarms --local                   # what is wrong now; --notify sends it
  python3 launcher.py report --output report.html --local    # a page on all of it; --serve: while a stream runs
  python3 launcher.py replay --table customers --dry_run --local    # dead letters through today's contracts again
  python3 launcher.py batch --runner DataflowRunner --project P --location EU --input gs://B/raw \
      --processed gs://B/processed --dead_letters gs://B/dead_letters --region R --temp_location gs://B/tmp
  python3 launcher.py setup --bucket gs://B --create_bucket --project P --location EU
  python3 launcher.py generate --output gs://ecommerce-data-lake/raw --local     # dirty files to try it on
  python3 launcher.py produce --input gs://ecommerce-data-lake/raw/user_events.json --topic user-events \
      --create_topics --local
  python3 launcher.py doctor                           # what is wrong here, and how to fix it
  python3 launcher.py local up                         # keep the local cloud running; also: down, status, topic

Exit codes: 0 done, 1 failed, 2 wrong usage or a conflict, 3 the ledger does not balance, 4 too many dead letters,
5 a service does not answer (try again), 6 all is loaded and a quality rule is broken.
`launcher.py COMMAND --help` lists a command's options. `--version` prints the versions. `--debug` prints the traceback
of an error that is otherwise one line.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import shlex
import sys
import traceback
from collections.abc import Sequence

NEEDED = ("apache_beam", "google.cloud.bigquery", "kafka", "polars", "rich")
"""Packages that show whether this Python has the packages of the lock file."""
ENTERED = "CONTRACT_PIPELINE_ENTERED"
"""The process that has continued in .venv, so that it does so once, whatever Python is there."""


def _enter_environment() -> None:
    """If this Python lacks the packages, continue in .venv, as the same process; exit with 2 if there is no .venv.

    The Python that runs this reads the whole file first: nothing in it may be newer than Python 3.8.
    """
    if sys.version_info >= (3, 11) and all(map(_installed, NEEDED)):
        return
    folder = os.path.dirname(os.path.abspath(__file__))
    python = os.path.join(folder, ".venv", "bin", "python")
    process = str(os.getpid())
    if os.environ.get(ENTERED) != process and os.access(python, os.X_OK):
        os.execve(python, [python, *sys.argv], {**os.environ, ENTERED: process})
    print(f"error: packages are missing; to install them: make -C {shlex.quote(folder)} install", file=sys.stderr)
    sys.exit(2)


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ImportError:  # of the parent package
        return False


if __name__ == "__main__":
    _enter_environment()

from commands.machine_errors import refused_by_the_machine  # noqa: E402
from commands.process_state import owned_process  # noqa: E402
from console.terminal import Terminal  # noqa: E402
from contracts.errors import ReportedError, UsageError  # noqa: E402

INTERRUPTED = {
    "batch": "; no table is half written, and the same --run_id continues the run",
    "stream": "; the next start reads again what is not committed, and writes it once",
}
"""The state after an interrupt, by command."""
COMMANDS = (
    "batch",
    "stream",
    "replay",
    "dead-letters",
    "runs",
    "reconcile",
    "alarms",
    "report",
    "demo",
    "doctor",
    "generate",
    "produce",
    "setup",
    "query",
    "tables",
    "sla",
    "contracts",
    "local",
)
PACKAGES = ("contract-pipeline", "apache-beam")
"""Packages whose versions `--version` prints."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    It can be called many times in one process, in the main thread: a command prints to the current sys.stdout and
    sys.stderr, and restores the state of the process at its end.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    with owned_process():
        return _reported([argument for argument in arguments if argument != "--debug"], Terminal(), debug)


def _reported(argv: list[str], terminal: Terminal, debug: bool) -> int:
    """Run one command and return its exit code. Print in one line why it failed, with `debug` after its traceback."""
    try:
        return _command(argv, terminal)
    except KeyboardInterrupt:
        terminal.log(f"interrupted{INTERRUPTED.get(_name(argv), '')}")
        return 1
    except BrokenPipeError:
        return 1
    except Exception as error:
        known = error if isinstance(error, ReportedError) else _known(error)
        if known is None:
            raise
        if debug:
            traceback.print_exc()
        terminal.log_error(known)
        return known.exit_code


def _known(error: Exception) -> ReportedError | None:
    """Return the one line to report of an error that the machine or Google causes, None for a defect."""
    from connectors.google.errors import reported  # imports Google's clients, which few commands need

    return reported(error) or refused_by_the_machine(error)


def _name(argv: Sequence[str]) -> str:
    """The command, '' if there is none: the first word, or --pipeline, since Airflow's operator gives options only."""
    if argv and not argv[0].startswith("-"):
        return argv[0]
    return next((arg.split("=", 1)[1] for arg in argv if arg.startswith("--pipeline=")), "")


def _command(argv: list[str], terminal: Terminal) -> int:
    if argv and argv[0] in ("-h", "--help", "help"):
        print(__doc__)
        return 0
    if argv and argv[0] == "--version":
        print(_versions())
        return 0
    name = _name(argv)
    if not name:
        raise UsageError(
            f"no command is given; the commands are {', '.join(COMMANDS)}; launcher.py --help has examples"
        )
    if argv[0] == name:
        argv = argv[1:]
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"unknown command {name!r}{meant}; the commands are {', '.join(COMMANDS)}")
    module = name.replace("-", "_")
    command = importlib.import_module(f"commands.{module}")  # Beam is imported only by the commands that need it
    return int(command.run(argv, terminal))


def _versions() -> str:
    """Return the versions of this project, of Beam and of Python."""
    versions = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    return ", ".join([*versions, f"Python {platform.python_version()}"])


if __name__ == "__main__":
    sys.exit(main())
