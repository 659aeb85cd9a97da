"""Files by URI: one suite for a bucket and for a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.files.storage import FileChanged, Storage, join
from tests.e2e.clouds import Cloud

pytestmark = pytest.mark.e2e


@pytest.fixture(params=["bucket", "folder"])
def folder(request: pytest.FixtureRequest, cloud: Cloud, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path)
    storage = Storage("local-project")
    if not storage.bucket_exists("gs://files"):
        storage.client.create_bucket("files")
    return f"gs://files/{tmp_path.name}"


@pytest.fixture
def storage() -> Storage:
    return Storage("local-project")


def test_what_is_written_is_listed_and_read(storage: Storage, folder: str) -> None:
    for name in ("b.csv", "a/c.json", "a/empty"):
        storage.write(join(folder, name), name.encode() if name != "a/empty" else b"")
    assert [(file.uri, file.size) for file in storage.list(folder)] == [
        (join(folder, "a/c.json"), 8),
        (join(folder, "a/empty"), 0),
        (join(folder, "b.csv"), 5),
    ]
    for file in storage.list(folder):
        with storage.open(file.uri, file.generation) as stream:
            assert len(stream.read()) == file.size
            stream.seek(0)
            assert storage.read(file.uri) == stream.read()


def test_a_file_that_is_not_there(storage: Storage, folder: str) -> None:
    with pytest.raises(FileChanged):
        storage.open(join(folder, "nothing"))
    storage.delete(join(folder, "nothing"))


def test_a_file_that_was_replaced_since_it_was_listed(storage: Storage, folder: str) -> None:
    storage.write(join(folder, "a.csv"), b"first")
    (pinned,) = storage.list(folder)
    storage.write(join(folder, "a.csv"), b"other")
    with pytest.raises(FileChanged):
        storage.open(pinned.uri, pinned.generation)
    assert storage.read(pinned.uri) == b"other"


def test_a_file_that_was_deleted_since_it_was_listed(storage: Storage, folder: str) -> None:
    storage.write(join(folder, "a.csv"), b"first")
    (pinned,) = storage.list(folder)
    storage.delete(pinned.uri)
    with pytest.raises(FileChanged):
        storage.open(pinned.uri, pinned.generation)
