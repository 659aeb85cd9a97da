"""The expansion service that all launchers of a test process share."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from local.engines import shared_expansion_service

__all__ = ["expansion_options", "stop_expansion_service"]

_running = ExitStack()


@cache
def expansion_options() -> tuple[str, ...]:
    """Return the Beam options with which a launcher uses the service; the first call starts it."""
    folder = Path(_running.enter_context(tempfile.TemporaryDirectory(prefix="shop-expansion-")))
    return tuple(_running.enter_context(shared_expansion_service(folder)))


def stop_expansion_service() -> None:
    """Stop the service, if it runs."""
    _running.close()
    expansion_options.cache_clear()
