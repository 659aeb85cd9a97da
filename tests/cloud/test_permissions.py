"""What Google says to somebody who may not: the launcher passes it on in one line, doctor says which role fixes it.

Nobody may write to Google's own public project and buckets, whatever the credentials.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.places import Place

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(600)]
FORBIDDEN_PROJECT, FORBIDDEN_BUCKET = "bigquery-public-data", "gs://gcp-public-data-landsat"


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A folder with a raw file."""
    (tmp_path / "customers.csv").write_text("customer_id,email\nc1,c1@example.com\n")
    return tmp_path


def refused(place: Place, raw: Path, *arguments: str) -> str:
    """Run a batch that must be refused; the one line that it says."""
    launched = place.launch(
        "batch", "--runner=DirectRunner", f"--input={raw}", *place.options("refused"), *arguments, code=2
    )
    line, *others = launched.stderr.splitlines()
    assert others == []
    return line


@pytest.mark.differs("permissions, credentials")
def test_no_permission_in_bigquery(place: Place, raw: Path) -> None:
    said = refused(place, raw, f"--project={FORBIDDEN_PROJECT}", "--location=US")
    assert said.startswith("error: Google refuses (403): ")
    assert "bigquery." in said


@pytest.mark.differs("permissions, credentials")
def test_no_permission_in_a_bucket(place: Place, raw: Path) -> None:
    said = refused(place, raw, f"--processed={FORBIDDEN_BUCKET}/processed")
    assert said.startswith("error: Google refuses (403): ")
    assert "storage." in said


def examined(place: Place, *arguments: str, code: int) -> dict[str, dict[str, Any]]:
    """What doctor finds, by what was checked."""
    done = place.launch("doctor", "--format=json", *place.options("examined"), *arguments, code=code)
    return {finding["about"]: finding for finding in json.loads(done.stdout)["findings"]}


def test_doctor_finds_nothing_wrong(place: Place) -> None:
    found = examined(place, "--runner=DirectRunner", code=0)
    assert found["bigquery"]["mark"] == found["credentials"]["mark"] == "ok"
    # It has asked Cloud Storage for the caller's permissions in the bucket, by testIamPermissions.
    assert found[f"--processed {place.folder}/processed"]["mark"] == "ok"


@pytest.mark.differs("permissions, credentials")
def test_doctor_says_which_role_is_missing(place: Place) -> None:
    folder = f"{FORBIDDEN_BUCKET}/processed"
    found = examined(place, f"--project={FORBIDDEN_PROJECT}", "--location=US", f"--processed={folder}", code=1)
    assert found["bigquery"]["mark"] == found[f"--processed {folder}"]["mark"] == "wrong"
    assert "roles/bigquery." in found["bigquery"]["fix"]
    assert "roles/storage.objectAdmin" in found[f"--processed {folder}"]["fix"]
