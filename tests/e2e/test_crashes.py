"""A batch that is killed with SIGKILL between any two steps, or at any moment, and run again: as if it had not been."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from connectors.files.storage import Storage
from local.services import Endpoints
from sample_data.generate import generate
from tests.e2e.batch_site import Site
from tests.e2e.proxies import HoldingProxy
from tests.e2e.reconciled import accepted, reconciled

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
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
            process = site.start("bounded", BIGQUERY_EMULATOR_HOST=proxy.address)
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
