"""Files in a bucket or in a local folder, by URI: list, open, write, delete.

A path without a scheme is a local file. The generation of a file is that of Cloud Storage, or the time when a local
file was last changed. Opening a file in a generation that no longer exists is an error: a run reads what it pinned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from google.api_core.exceptions import GoogleAPICallError, NotFound
from google.cloud import storage

from connectors.files.local_folder import walk
from connectors.files.readers import FileChanged, LocalReader, ObjectReader, ReadFailed, ReadTimes
from connectors.google.clients import storage_client

__all__ = ["FileChanged", "ReadFailed", "Storage", "StoredFile", "Unlisted", "below", "join", "split_uri"]


@dataclass(frozen=True, slots=True, order=True)
class StoredFile:
    """A file as it was listed: URI, size in bytes, generation, and the Content-Encoding of its object."""

    uri: str
    size: int
    generation: int
    content_encoding: str = ""


class Unlisted(NamedTuple):
    """An entry of a folder that cannot be read as a file, and the reason."""

    uri: str
    reason: str


def split_uri(uri: str) -> tuple[str, str]:
    """Return bucket and object name of a gs:// URI; the name is '' for `gs://bucket`."""
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    return bucket, name


def join(folder: str, *names: str) -> str:
    """Return the URI of `names` below a folder."""
    return "/".join([folder.rstrip("/"), *names])


def below(folder: str) -> str:
    """Return the common prefix of the URIs that `Storage.scan(folder)` yields."""
    path = folder if folder.startswith("gs://") else str(Path(folder))  # normalizes `./raw` and `raw//`
    return "" if path == "." else path.rstrip("/") + "/"


class Storage:
    """Reads and writes files. It pickles, and creates its client on first use."""

    def __init__(self, project: str | None = None, times: ReadTimes | None = None) -> None:
        self._project = project
        self._times = times or ReadTimes()
        self._client: storage.Client | None = None

    def __getstate__(self) -> dict[str, object]:
        return {"_project": self._project, "_times": self._times, "_client": None}

    @property
    def client(self) -> storage.Client:
        """The Cloud Storage client."""
        if self._client is None:
            self._client = storage_client(self._project)
        return self._client

    def list(self, folder: str) -> Iterator[StoredFile]:
        """Yield every file below `folder`, in order of URI. Raises NotFound if the bucket or folder does not exist."""
        return (entry for entry in self.scan(folder) if isinstance(entry, StoredFile))

    def scan(self, folder: str) -> Iterator[StoredFile | Unlisted]:
        """Yield as `list` does, and the entries that cannot be read: see local_folder.py."""
        if folder.startswith("gs://"):
            bucket, prefix = split_uri(folder)
            prefix = prefix.rstrip("/") + "/" if prefix.rstrip("/") else ""
            for blob in self.client.list_blobs(bucket, prefix=prefix):
                if not blob.name.endswith("/"):
                    uri = f"gs://{bucket}/{blob.name}"
                    yield StoredFile(uri, blob.size, blob.generation, blob.content_encoding or "")
            return
        if not Path(folder).is_dir():
            raise NotFound(f"no folder {folder}")
        for path, status in walk(Path(folder)):
            if isinstance(status, str):
                yield Unlisted(str(path), status)
            else:
                yield StoredFile(str(path), status.st_size, status.st_mtime_ns)

    def open(self, uri: str, generation: int | None = None, size: int | None = None) -> BinaryIO:
        """Open the stored bytes of a file as a seekable stream. Raises FileChanged if that generation does not exist.

        A read returns all bytes that it asks for, up to the end of the file, or raises ReadFailed: see readers.py.
        `size`, as it was listed, saves a request.
        """
        if uri.startswith("gs://"):
            bucket, name = split_uri(uri)
            return cast(BinaryIO, ObjectReader(self.client.bucket(bucket), name, generation, size, self._times))
        return cast(BinaryIO, LocalReader(uri, generation, size))

    def read(self, uri: str) -> bytes:
        """Return the whole file. Raises FileChanged if it does not exist."""
        with self.open(uri) as stream:
            return stream.read()

    def write(self, uri: str, data: bytes) -> None:
        """Write the whole file at once; replace an existing one."""
        if uri.startswith("gs://"):
            bucket, name = split_uri(uri)
            self.client.bucket(bucket).blob(name).upload_from_string(data, content_type="application/octet-stream")
            return
        path = Path(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        try:
            part.write_bytes(data)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise OSError(error.errno, error.strerror, uri) from None  # a full disk names no file
        part.replace(path)

    def delete(self, uri: str) -> None:
        """Delete the file if it exists."""
        if not uri.startswith("gs://"):
            Path(uri).unlink(missing_ok=True)
            return
        bucket, name = split_uri(uri)
        try:
            self.client.bucket(bucket).blob(name).delete()
        except NotFound:
            return

    def bucket_exists(self, uri: str) -> bool:
        """Return whether the bucket of a gs:// URI exists. Raises GoogleAPICallError, for example for a refusal."""
        try:
            return bool(self.client.bucket(split_uri(uri)[0]).exists())
        except GoogleAPICallError as error:
            if error.code == 404:
                return False
            raise
