"""Files and Kafka into BigQuery: typed, clean, each record once.

  python launcher.py demo                                        all of it on this machine
  python launcher.py batch --runner DirectRunner --local         files to tables, on this machine
  python launcher.py batch --runner DataflowRunner --project P --location EU --input gs://B/raw \\
      --processed gs://B/processed --dead_letters gs://B/dead_letters --region R --temp_location gs://B/tmp
  python launcher.py stream --runner PrismRunner --local         Kafka to a table, on this machine, until Ctrl-C
  python launcher.py generate --output gs://ecommerce-data-lake/raw --local     dirty files to try it on
  python launcher.py produce --input gs://ecommerce-data-lake/raw/user_events.json --topic user-events --local
  python launcher.py setup --bucket gs://B --create_bucket --project P --location EU
  python launcher.py query "SELECT 1" --local
  python launcher.py doctor --local                              what is wrong here, and how to mend it
  python launcher.py local up | down | status

Exit codes: 0 done, 1 failed, 2 misuse or refused, 3 the ledger does not hold, 4 too many dead letters.
`launcher.py COMMAND --help` lists a command's options.
"""

from __future__ import annotations

import importlib
import logging
import signal
import sys
from collections.abc import Sequence

from commands.session import log
from contracts.errors import Misuse

COMMANDS = ("batch", "stream", "demo", "doctor", "generate", "produce", "setup", "query", "local")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # what matters of its many lines is told in one
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _command(list(sys.argv[1:] if argv is None else argv))
    except Misuse as error:
        log(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        log("interrupted; nothing is half written, and the same --run_id goes on where this stopped")
        return 1
    except BrokenPipeError:
        return 1
    except Exception as error:
        from connectors.clients import explained  # Google's clients are imported by those alone that need them

        known = explained(error)
        if known is None:
            raise
        log(f"error: {known}")
        return 2


def _command(argv: list[str]) -> int:
    name = argv[0] if argv and not argv[0].startswith("-") else None
    if name is None:
        name = next((arg.split("=", 1)[1] for arg in argv if arg.startswith("--pipeline=")), None)
        if name is None:
            if argv and argv[0] in ("-h", "--help"):
                print(__doc__)
                return 0
            raise Misuse(f"say what to do: {', '.join(COMMANDS)}; launcher.py --help shows examples")
    else:
        argv = argv[1:]
    if name not in COMMANDS:
        raise Misuse(f"unknown command {name!r}; there are {', '.join(COMMANDS)}")
    command = importlib.import_module(f"commands.{name}")  # Beam is imported by those alone that need it
    return int(command.run(argv))


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
