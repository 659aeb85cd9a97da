"""Batches over local files that can be killed, each with datasets of its own, and all that one leaves."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from connectors.bigquery.warehouse import Warehouse
from local.services import Endpoints
from tests import launching
from tests.launching import Launched

__all__ = ["TABLES", "Site"]

TABLES = ("customers", "products", "transactions", "user_events")


class Site:
    """A cloud, raw files in it, and batches that can be killed."""

    def __init__(self, endpoints: Endpoints, raw: Path) -> None:
        self.directory, self.environment = endpoints.directory, endpoints.environment()
        self.raw = raw
        self.seconds = 0.0
        """How long a run takes that nobody kills."""

    def start(self, name: str, *options: str, **variables: str) -> Launched:
        """Start the run `name`, which writes to datasets of that name; `variables` are of its environment."""
        return launching.start(
            [
                "batch",
                "--runner=DirectRunner",
                f"--run_id={name}",
                *("--project=local-project", "--location=US", f"--input={self.raw}"),
                *(f"--processed=gs://bucket/{name}/processed", f"--dead_letters=gs://bucket/{name}/dead_letters"),
                *(f"--dataset={name}", f"--operations_dataset={name}_operations"),
                *options,
            ],
            {**os.environ, **self.environment, **variables},
        )

    def finish(self, name: str, *options: str, **variables: str) -> None:
        """Run `name` to its end."""
        with self.start(name, *options, **variables) as process:
            output = process.communicate(120)
        assert process.returncode == 0, output

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Ask the warehouse."""
        return Warehouse("local-project", "US").query(sql)

    def done(self, name: str) -> bool:
        """Whether the ledger says that the run is done."""
        return bool(self.rows(f"SELECT 1 FROM {name}_operations.ledger WHERE kind = 'run' AND state = 'done'"))

    def contents(self, name: str) -> dict[str, Any]:
        """All that a run left, but for what may differ from run to run."""
        found: dict[str, Any] = {
            table: self.rows(f"SELECT * EXCEPT (_run_id, _ingested_at) FROM {name}.{table} ORDER BY _source, _position")
            for table in TABLES
        }
        found["dead_letters"] = self.rows(
            "SELECT * EXCEPT (dead_letter_id, run_id, first_failed_at, failed_at)"
            f" FROM {name}_operations.dead_letters ORDER BY `table`, source, position, error_code"
        )
        (ids,) = self.rows(f"SELECT COUNT(DISTINCT dead_letter_id) AS n FROM {name}_operations.dead_letters")
        assert ids["n"] == len(found["dead_letters"])  # which name the dataset too
        found["ledger"] = self.rows(
            "SELECT `table`, source, read, written, duplicate, dead_letter"
            f" FROM {name}_operations.ledger_current WHERE kind = 'loaded' ORDER BY `table`, source"
        )
        names = self.rows(f"SELECT table_name FROM {name}_operations.INFORMATION_SCHEMA.TABLES")
        found["staging"] = [row for row in names if row["table_name"].startswith("staging")]
        return found
