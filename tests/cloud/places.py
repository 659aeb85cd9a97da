"""Where the tests of this folder run: a project and a bucket of Google's, named by the environment.

What they make has a random suffix and is removed at the end; what a killed session leaves behind in BigQuery goes after
a day. Where the environment names emulators, as one test of `make test` has it, they run against those.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.auth.exceptions import GoogleAuthError
from google.cloud import bigquery

from connectors.bigquery.warehouse import Warehouse
from connectors.files.storage import Storage, join, split_uri
from connectors.google.errors import reported
from operations.doctor.buckets import EMULATORS, check_credentials
from tests import launching

__all__ = ["BUCKET", "PROJECT", "NoPlace", "Place", "emulated", "place_of"]

ROOT = Path(__file__).parents[2]
PROJECT, BUCKET = "SHOP_TEST_PROJECT", "SHOP_TEST_BUCKET"
DAY_MS = 86_400_000


class NoPlace(Exception):
    """There is none: what is missing, in one line."""


@dataclass(frozen=True)
class Place:
    """A project and a folder of a bucket. `name` begins every dataset, `folder` every object that a test makes."""

    project: str
    location: str
    name: str
    folder: str
    warehouse: Warehouse
    storage: Storage

    def datasets(self, name: str) -> tuple[str, str]:
        """Two new datasets, of tables and of operations, whose tables go after a day."""
        names = (f"{self.name}_{name}", f"{self.name}_{name}_operations")
        for one in names:
            wanted = bigquery.Dataset(bigquery.DatasetReference(self.project, one))
            wanted.location, wanted.default_table_expiration_ms = self.location, DAY_MS
            self.warehouse.client.create_dataset(wanted)
        return names

    def launch(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run launcher.py and hold it to its exit code."""
        done = launching.run(arguments, {**os.environ, "GOOGLE_CLOUD_PROJECT": self.project}, timeout=900)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def batch(self, name: str, source: str | Path, *arguments: str, code: int = 0) -> dict[str, Any]:
        """Run a batch into the datasets of that name; its summary."""
        summary = join(self.folder, "summary.json")
        self.launch(
            "batch",
            "--runner=DirectRunner",
            f"--input={source}",
            f"--summary={summary}",
            *self.options(name),
            *arguments,
            code=code,
        )
        found = json.loads(self.storage.read(summary))
        assert isinstance(found, dict)
        return found

    def run_option(self, name: str) -> str:
        """Return the option for a run of this session. Job ids contain it, and BigQuery keeps jobs for months."""
        return f"--run_id={self.name}_{name}"

    def options(self, name: str) -> tuple[str, ...]:
        """Those of a batch into the datasets of that name."""
        return (
            f"--project={self.project}",
            f"--location={self.location}",
            f"--dataset={self.name}_{name}",
            f"--operations_dataset={self.name}_{name}_operations",
            f"--processed={self.folder}/processed",
            f"--dead_letters={self.folder}/dead_letters",
        )


def emulated() -> bool:
    """Whether the environment names emulators instead of Google."""
    return all(os.environ.get(name) for name in EMULATORS)


@contextmanager
def place_of(environment: Mapping[str, str]) -> Iterator[Place]:
    """The place that the environment names, while the block lasts. NoPlace if it names none, or no credentials."""
    missing = [name for name in (PROJECT, BUCKET) if not environment.get(name)]
    if missing:
        raise NoPlace(f"{' and '.join(missing)} not set; make test-cloud PROJECT=my-project BUCKET=gs://my-bucket does")
    try:
        list(check_credentials())
    except GoogleAuthError as error:
        raise NoPlace(str(reported(error))) from None
    project, bucket = environment[PROJECT], "gs://" + environment[BUCKET].removeprefix("gs://").strip("/")
    storage, name = Storage(project), f"shop_test_{secrets.token_hex(4)}"
    # BigQuery loads from a bucket in the same location only.
    location = str(storage.client.get_bucket(split_uri(bucket)[0]).location)
    place = Place(project, location, name, join(bucket, name), Warehouse(project, location), storage)
    try:
        yield place
    finally:
        client = place.warehouse.client
        for dataset in client.list_datasets(project):
            if dataset.dataset_id.startswith(name):
                client.delete_dataset(dataset.reference, delete_contents=True, not_found_ok=True)
        for blob in storage.client.list_blobs(split_uri(bucket)[0], prefix=f"{split_uri(place.folder)[1]}/"):
            blob.delete()
