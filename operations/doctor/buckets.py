"""Google's credentials, and the folders that a pipeline reads and writes. Nothing is written to find out."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping

import google.auth
from google.api_core.exceptions import GoogleAPICallError, NotFound
from google.auth.transport.requests import Request

from connectors.files.names import RULE, belonging
from connectors.files.storage import Storage, split_uri
from contracts.table import Table
from operations.doctor.findings import Finding, Mark

__all__ = ["READ", "WRITE", "check_credentials", "check_folder", "check_input"]

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
EMULATORS = {"STORAGE_EMULATOR_HOST": "Cloud Storage", "BIGQUERY_EMULATOR_HOST": "BigQuery"}
READ = ("storage.objects.get", "storage.objects.list")
WRITE = (*READ, "storage.objects.create", "storage.objects.delete")
ROLES = {READ: "roles/storage.objectViewer", WRITE: "roles/storage.objectAdmin"}


def check_credentials() -> Iterator[Finding]:
    """Whether there are application default credentials, and Google takes them. An emulator needs none."""
    emulated = [name for name in EMULATORS if os.environ.get(name)]
    if len(emulated) == len(EMULATORS):
        yield Finding("credentials", Mark.OK, f"none needed: {' and '.join(emulated)} name emulators")
        return
    for name in emulated:
        others = next(other for other in EMULATORS if other not in emulated)
        yield Finding(
            "credentials",
            Mark.WARNING,
            f"{name} names an emulator, {others} is not set: {EMULATORS[others]} is Google's",
            f"unset {name}, or set both",
        )
    credentials, _ = google.auth.default(scopes=[SCOPE])
    credentials.refresh(Request())
    who = getattr(credentials, "service_account_email", None) or "application default"
    yield Finding("credentials", Mark.OK, f"{who}: Google takes them")


def check_folder(
    storage: Storage, option: str, folder: str, needs: tuple[str, ...], made: bool = False
) -> Iterator[Finding]:
    """A gs:// folder's bucket exists, and the caller has the permissions `needs` in it; a local folder exists.

    `made`: a run creates the bucket if it does not exist.
    """
    about = f"{option} {folder}"
    if not folder.startswith("gs://"):
        if os.path.isdir(folder):
            yield Finding(about, Mark.OK, "a folder of this machine")
        else:
            yield Finding(about, Mark.WRONG, "there is no such folder", "give the folder that has the files")
        return
    bucket = split_uri(folder)[0]
    if not storage.bucket_exists(folder):
        mark = Mark.WARNING if made else Mark.WRONG
        fix = "a run makes it" if made else f"launcher.py setup --bucket gs://{bucket} --create_bucket …"
        yield Finding(about, mark, f"there is no bucket {bucket}", fix)
        return
    lacking = _lacking(storage, bucket, needs)
    if lacking:
        yield Finding(
            about,
            Mark.WRONG,
            f"no permission {', '.join(lacking)} in bucket {bucket}",
            f"give the caller {ROLES[needs]} on the bucket",
        )
    else:
        yield Finding(about, Mark.OK, f"bucket {bucket} is there")


def _lacking(storage: Storage, bucket: str, needs: Collection[str]) -> list[str]:
    """Of the permissions those that the caller has not; none if the server knows no such question."""
    try:
        granted = storage.client.bucket(bucket).test_iam_permissions(list(needs))
    except GoogleAPICallError as error:
        if os.environ.get("STORAGE_EMULATOR_HOST") and error.code in (404, 405, 501):
            return []
        raise
    return [permission for permission in needs if permission not in granted]


def check_input(
    storage: Storage, folder: str, tables: Iterable[str] | Mapping[str, Table], made: bool = False
) -> Iterator[Finding]:
    """The folder has files of the tables. `made`: there is a command that makes some."""
    about = f"files in {folder}"
    try:
        listing = belonging(storage.scan(folder), folder, tables)
    except NotFound:
        return  # its bucket or folder is missing: check_folder reports it
    files, others = listing.files, listing.passed_over
    if others:
        yield Finding(
            about, Mark.WARNING, f"{len(others)} are not read, such as {others[0].uri}: {others[0].reason}", RULE
        )
    if files:
        size = sum(file.size for file in files)
        names = sorted({file.table for file in files})
        yield Finding(about, Mark.OK, f"{len(files)}, {size:,} bytes, of {', '.join(names)}")
    elif made:
        yield Finding(about, Mark.WARNING, "none of any table", "launcher.py generate --local makes some")
    else:
        yield Finding(
            about, Mark.WRONG, f"none of any table ({', '.join(sorted(tables))})", "give the folder that has them"
        )
