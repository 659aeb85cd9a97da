"""Files in a bucket or in a local folder, by URI: list, open, write, delete.

A path without a scheme is a local file. A file's generation is Cloud Storage's own, or the time of a local
file's last change; to open a file at a generation that is gone is an error, so what was pinned is what is read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from google.api_core.exceptions import GoogleAPICallError, NotFound, PreconditionFailed
from google.cloud import storage

from connectors.clients import storage_client

__all__ = ["FileChanged", "Storage", "StoredFile", "join", "split_uri"]

READ_CHUNK = 8 << 20


class FileChanged(Exception):
    """A file is not there any more in the generation that the run pinned."""


@dataclass(frozen=True, slots=True, order=True)
class StoredFile:
    """A file as it was listed: URI, size in bytes, generation."""

    uri: str
    size: int
    generation: int


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and object name of a gs:// URI; `gs://bucket` has the name ''."""
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    return bucket, name


def join(folder: str, *names: str) -> str:
    """The URI of something in a folder."""
    return "/".join([folder.rstrip("/"), *names])


class Storage:
    """Reads and writes files. Clients are made on first use, so it pickles."""

    def __init__(self, project: str | None = None) -> None:
        self._project = project
        self._client: storage.Client | None = None

    def __getstate__(self) -> dict[str, object]:
        return {"_project": self._project, "_client": None}

    @property
    def client(self) -> storage.Client:
        """The Cloud Storage client."""
        if self._client is None:
            self._client = storage_client(self._project)
        return self._client

    def list(self, folder: str) -> Iterator[StoredFile]:
        """Every file below `folder`, in order of URI. NotFound where the bucket or the folder does not exist."""
        if folder.startswith("gs://"):
            bucket, prefix = split_uri(folder)
            prefix = prefix.rstrip("/") + "/" if prefix.rstrip("/") else ""
            for blob in self.client.list_blobs(bucket, prefix=prefix):
                if not blob.name.endswith("/"):
                    yield StoredFile(f"gs://{bucket}/{blob.name}", blob.size, blob.generation)
            return
        if not Path(folder).is_dir():
            raise NotFound(f"no folder {folder}")
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                status = path.stat()
                yield StoredFile(str(path), status.st_size, status.st_mtime_ns)

    def open(self, uri: str, generation: int | None = None) -> BinaryIO:
        """The file for reading, seekable; FileChanged if it is not there in that generation."""
        try:
            if uri.startswith("gs://"):
                bucket, name = split_uri(uri)
                blob = self.client.bucket(bucket).blob(name, generation=generation)
                stream = cast(BinaryIO, blob.open("rb", chunk_size=READ_CHUNK))
                stream.read(1)  # the first byte is the first that is asked for
                stream.seek(0)
                return stream
            if generation is not None and os.stat(uri).st_mtime_ns != generation:
                raise FileChanged(f"{uri} was changed while the run was reading it")
            return open(uri, "rb")
        except (NotFound, FileNotFoundError, PreconditionFailed):
            raise FileChanged(f"{uri} is gone, or was replaced, since the run began") from None

    def read(self, uri: str) -> bytes:
        """The whole file."""
        with self.open(uri) as stream:
            return stream.read()

    def write(self, uri: str, data: bytes) -> None:
        """Write the whole file at once; one that is there is replaced."""
        if uri.startswith("gs://"):
            bucket, name = split_uri(uri)
            self.client.bucket(bucket).blob(name).upload_from_string(data, content_type="application/octet-stream")
            return
        path = Path(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        part.write_bytes(data)
        part.replace(path)

    def delete(self, uri: str) -> None:
        """Delete the file; one that is not there is none to delete."""
        if not uri.startswith("gs://"):
            Path(uri).unlink(missing_ok=True)
            return
        bucket, name = split_uri(uri)
        try:
            self.client.bucket(bucket).blob(name).delete()
        except NotFound:
            return

    def bucket_exists(self, uri: str) -> bool:
        """Whether the bucket of a gs:// URI is there; any other answer than yes or no is raised."""
        try:
            return bool(self.client.bucket(split_uri(uri)[0]).exists())
        except GoogleAPICallError as error:
            if error.code == 404:
                return False
            raise
