"""The main program of the local BigQuery: bqemulator with the patches of patches.py. BQEMU_* variables configure it.

bqemulator limits its log only after it has started, so logging is configured before the rest is imported.
"""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from bqemulator.config import Settings
from bqemulator.observability.logging_ import configure_logging

__all__ = ["main"]


def spatial_extension() -> Path | None:
    """Return DuckDB's spatial extension from its wheel; None if the wheel is not installed."""
    spec = find_spec("duckdb_extension_spatial")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / "extensions" / f"v{version('duckdb')}"
    file = folder / "spatial.duckdb_extension"
    return file if file.exists() else None


async def serve(settings: Settings) -> None:
    """Run the server until SIGTERM or SIGINT."""
    from bqemulator.server import EmulatorServer

    from local.bigquery import patches

    patches.apply(asyncio.get_running_loop(), spatial_extension())
    await EmulatorServer(settings)._run_forever_async()


def main() -> None:
    """Read the settings and serve."""
    settings = Settings()
    configure_logging(level=settings.log_level, fmt=settings.log_format)
    asyncio.run(serve(settings))


if __name__ == "__main__":
    main()
