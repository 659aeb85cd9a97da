"""A batch that is killed with SIGKILL between any two steps, or at any moment, and run again: as if it had not been."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from connectors.bigquery.warehouse import Warehouse
from connectors.files.storage import Storage
from local.services import Endpoints
from sample_data.generate import generate
from tests import launching
from tests.e2e.proxies import HoldingProxy
from tests.e2e.reconciled import accepted, reconciled
from tests.launching import Launched

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]
TABLES = ("customers", "products", "transactions", "user_events")
LEDGER_LINES = r'^(?=.*INSERT INTO .{1,80}ledger)(?=.*"value": ?"%s")(?=.*"value": ?"%s")'
BOUNDARIES = {
    "the dead letters' load": r"dead_letters-load",
    "the dead letters' insert": r"dead_letters-insert",
    "the staged lines of the ledger": LEDGER_LINES % ("staged", "user_events"),
    "a table's load": r"transactions-load",
    "a table's merge": r"customers-merge",
    "a table's insert": r"transactions-merge",
    "the loaded lines of the ledger": LEDGER_LINES % ("loaded", "transactions"),
    "the run's last line": LEDGER_LINES % ("run", "done"),
}
"""Each as a pattern of the request that makes the step."""


class Site:
    """A cloud, raw files in it, and batches that can be killed."""

    def __init__(self, endpoints: Endpoints, raw: Path) -> None:
        self.directory, self.environment = endpoints.directory, endpoints.environment()
        self.raw = raw
        self.seconds = 0.0
        """How long a run takes that nobody kills."""

    def start(self, name: str, bigquery: str | None = None) -> Launched:
        """Start the run `name`, which writes to datasets of that name."""
        environment = {**os.environ, **self.environment}
        if bigquery:
            environment["BIGQUERY_EMULATOR_HOST"] = bigquery
        return launching.start(
            [
                "batch",
                "--runner=DirectRunner",
                f"--run_id={name}",
                *("--project=local-project", "--location=US", f"--input={self.raw}"),
                *(f"--processed=gs://bucket/{name}/processed", f"--dead_letters=gs://bucket/{name}/dead_letters"),
                *(f"--dataset={name}", f"--operations_dataset={name}_operations"),
            ],
            environment,
        )

    def finish(self, name: str) -> None:
        """Run `name` to its end."""
        with self.start(name) as process:
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


@pytest.fixture(scope="module")
def site(local_cloud: tuple[Path, Endpoints], tmp_path_factory: pytest.TempPathFactory) -> Site:
    raw = tmp_path_factory.mktemp("raw")
    generate(
        write=lambda name, data: (raw / name).write_bytes(data) and None,
        customers=300,
        products=200,
        transactions=1500,
        events=2000,
        dirty=0.05,
        seed=11,
    )
    Storage("local-project").client.create_bucket("bucket")
    found = Site(local_cloud[1], raw)
    began = time.monotonic()
    found.finish("calm")
    found.seconds = time.monotonic() - began
    return found


def test_killed_at_every_boundary_between_steps(site: Site) -> None:
    """Before the first step, and after each: what the services have after one step, they have before the next."""
    first, last = next(iter(BOUNDARIES)), list(BOUNDARIES)[-1]
    kills = [(first, False), *((step, True) for step in BOUNDARIES)]
    with HoldingProxy(site.environment["BIGQUERY_EMULATOR_HOST"]) as proxy:
        for step, after in kills:
            proxy.hold(BOUNDARIES[step], after)
            process = site.start("bounded", proxy.address)
            assert proxy.held.wait(60), f"{step} was never reached"
            assert process.poll() is None
            process.kill_group()
            accepted(site.directory, "bounded")
            assert site.done("bounded") == (after and step == last), f"killed {'after' if after else 'before'} {step}"
    site.finish("bounded")
    assert site.contents("bounded") == site.contents("calm")
    reconciled(site.directory, "bounded")


@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])])
def test_killed_at_random(site: Site, kills: int) -> None:
    chance = random.Random(kills)
    names = [f"wild_{kills}_0"]
    killed = 0
    while killed < kills:
        process = site.start(names[-1])
        time.sleep(site.seconds * chance.uniform(0.3, 0.95))
        process.kill_group()
        if site.done(names[-1]):  # too late: this run was whole already
            names.append(f"wild_{kills}_{len(names)}")
        else:
            killed += 1
    for name in names:
        site.finish(name)
        assert site.contents(name) == site.contents("calm")
