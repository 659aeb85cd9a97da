"""launcher.py with every log kept and every graph written down: loud_launcher.py FOLDER COMMAND ARGUMENT…

Into FOLDER go `log.txt` (all loggers, DEBUG), and of each expansion and each job what is sent, as bytes and as text.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.transforms.external import ExternalTransform

import commands.process_state

FOLDER = Path(sys.argv[1])
numbers = count()


def kept(name: str, message: Any) -> None:
    """Write a protocol buffer down."""
    path = FOLDER / f"{next(numbers)}-{name}"
    path.with_suffix(".bin").write_bytes(message.SerializeToString())
    path.with_suffix(".txt").write_text(str(message))


def main() -> int:
    """Run the command; its exit code."""
    logging.basicConfig(level=logging.DEBUG, filename=FOLDER / "log.txt", format="%(name)s %(message)s")
    commands.process_state.quiet = lambda: None
    to_runner_api, service = beam.Pipeline.to_runner_api, ExternalTransform.service

    def graph(self: beam.Pipeline, *args: Any, **options: Any) -> Any:
        made = to_runner_api(self, *args, **options)
        kept("graph", made[0] if isinstance(made, tuple) else made)
        return made

    @contextmanager
    def expanding(address: Any) -> Iterator[Any]:
        with service(address) as stub:
            expand = stub.Expand

            def kept_expand(request: Any, **options: Any) -> Any:
                kept("expansion-request", request)
                answer = expand(request, **options)
                kept("expansion-answer", answer)
                return answer

            stub.Expand = kept_expand
            yield stub

    setattr(beam.Pipeline, "to_runner_api", graph)  # noqa: B010  # mypy takes no other method
    setattr(ExternalTransform, "service", staticmethod(expanding))  # noqa: B010
    import launcher

    return launcher.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
