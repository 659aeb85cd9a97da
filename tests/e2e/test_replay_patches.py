"""A replay corrects records by expressions, and reads records again of which only the beginning was stored."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from google.api_core.exceptions import Conflict

from connectors.files.storage import Storage
from local.services import Endpoints
from tests.e2e.clouds import Cloud
from tests.e2e.tickets import FEW, RECORDS, Site

pytestmark = pytest.mark.e2e
PATCH = ("--table=tickets", "--patch", "level = coalesce(replace(level, 'urgent', 'high'), 'low')")


@pytest.fixture
def site(local_cloud: tuple[Path, Endpoints], tmp_path: Path, request: pytest.FixtureRequest) -> Site:
    with suppress(Conflict):
        Storage("local-project").client.create_bucket("replay")
    return Site(Cloud(local_cloud[0]), tmp_path, request.node.name.partition("[")[0])


def test_records_are_corrected(site: Site, tmp_path: Path) -> None:
    site.batch(FEW, a=RECORDS)
    before = site.letters()
    tried = site.replay(FEW, *PATCH, "--dry_run")
    assert "tickets: 3 of 4 pass" in tried
    assert "the patch changes 3 of 4" in tried
    assert 'level: "urgent" becomes "high"' in tried
    assert 'level: null becomes "low"' in tried
    assert site.letters() == before
    # Nothing starts with a patch that cannot work.
    for patch, why in (
        ("levl = 'low'", "tickets reads no field levl; there are ticket_id, level, text"),
        ("level = now()", "the expression of level uses NOW"),
        ("ticket_id = 'x'", "ticket_id is in the key of tickets"),
    ):
        assert why in site.replay(FEW, "--table=tickets", "--patch", patch, code=2)
    assert "--patch: name the table" in site.replay(FEW, *PATCH[1:], code=2)
    assert "none.sql cannot be read" in site.replay(FEW, PATCH[0], f"--patch_file={tmp_path}/none.sql", code=2)
    assert "run patched: done" in site.replay(FEW, *PATCH, "--run_id=patched")
    assert site.tickets() == {"1": "one", "2": "two", "3": "three", "5": "five"}
    states = sorted(site.letters().values())
    assert states == [
        ("open", "invalid_value", 1),
        ("written", "invalid_value", 1),
        ("written", "invalid_value", 1),
        ("written", "missing_required", 1),
    ]
    # A run keeps its patch. Rows are where their records were, so a batch over the same file adds none.
    said = site.replay(FEW, "--table=tickets", "--patch", "level = 'low'", "--run_id=patched", code=2)
    assert "run patched has chosen other dead letters or another patch" in said
    assert "done already" in site.replay(FEW, *PATCH, "--run_id=patched")
    assert site.batch(FEW, a=RECORDS)["tables"]["tickets"]["written"] == 0
    (tmp_path / "patch.sql").write_text("-- the last one\nlevel = 'low'\ntext = upper(text)\n")
    site.replay(FEW, PATCH[0], f"--patch_file={tmp_path}/patch.sql")
    assert site.tickets()["4"] == "FOUR"
    site.reconcile()
