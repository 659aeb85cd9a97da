"""Readers of files that detect every read that ends early.

A reader knows the size of its file, requests exact ranges of the stored bytes and checks that each answer has all bytes
of its range. It continues an answer that was too short. Bytes that cannot be read are a ReadFailed, never the end of
the file. If an object is read in order from its first byte to its last (one of up to FETCH_BYTES always is), the reader
also checks the CRC32C of Cloud Storage. If several workers read ranges of an object, or one reads it out of order
(Parquet), no worker sees all of it: then only the number of bytes of each range is checked.
"""

from __future__ import annotations

import base64
import io
import logging
import os
import time
from abc import abstractmethod
from dataclasses import dataclass

import google_crc32c
from google.api_core.exceptions import (
    NotFound,
    PreconditionFailed,
    RequestRangeNotSatisfiable,
    ServerError,
    TooManyRequests,
)
from google.cloud import storage
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from connectors.retry import pauses

__all__ = ["FETCH_BYTES", "FileChanged", "FileReader", "LocalReader", "ObjectReader", "ReadFailed", "ReadTimes"]

FETCH_BYTES = 8 << 20
"""The most bytes of one request, unless a single read asks for more."""
LOCAL_FETCH_BYTES = 1 << 20
PAUSES = (0.1, 5.0)
"""Seconds between two requests for the same bytes: the first pause and the longest."""
TRANSIENT = (RequestException, HTTPError, ConnectionError, ServerError, TooManyRequests)
logger = logging.getLogger(__name__)


class FileChanged(Exception):
    """A file no longer exists in the generation that the run has pinned."""


class ReadFailed(Exception):
    """The stored bytes of a file cannot be read. This is not a defect of the data: it ends the run."""


@dataclass(frozen=True, slots=True)
class ReadTimes:
    """Timeouts in seconds: for a connection, for the next bytes of an answer, for retries without a new byte."""

    connect: float = 10.0
    silence: float = 30.0
    deadline: float = 180.0


class FileReader(io.BufferedIOBase):
    """A seekable file of known size. `read` returns as many bytes as requested, fewer only at the end."""

    def __init__(self, uri: str, size: int, fetch_bytes: int) -> None:
        super().__init__()
        self.uri, self.size = uri, size
        self._fetch_bytes = fetch_bytes
        self._buffer = b""
        self._start = 0
        """The position of `_buffer` in the file."""
        self._position = 0

    @abstractmethod
    def fetch(self, start: int, end: int) -> bytes:
        """Return all bytes of [start, end), 0 <= start < end <= size. Raises ReadFailed or FileChanged."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            size = self.size
        parts: list[bytes] = []
        while size and self._position < self.size:
            at = self._position - self._start
            if not 0 <= at < len(self._buffer):
                end = min(self.size, self._position + max(size, self._fetch_bytes))
                self._buffer, self._start, at = self.fetch(self._position, end), self._position, 0
            part = self._buffer[at : at + size]
            parts.append(part)
            size -= len(part)
            self._position += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


class ObjectReader(FileReader):
    """The stored bytes of an object of Cloud Storage in one generation: its Content-Encoding is not decoded.

    `generation` None means the newest one; `size` None is requested. Raises FileChanged if the object does not exist.
    """

    def __init__(
        self,
        bucket: storage.Bucket,
        name: str,
        generation: int | None = None,
        size: int | None = None,
        times: ReadTimes | None = None,
    ) -> None:
        self._bucket, self._name, self._generation = bucket, name, generation
        self._times = times or ReadTimes()
        self._crc32c: str | None = None
        self._checksum = self._summed = 0
        """The CRC32C of the first `_summed` bytes."""
        uri = f"gs://{bucket.name}/{name}"
        if not size:  # unknown; or 0: no request for bytes would tell whether the object exists
            blob = bucket.blob(name, generation=generation)
            try:
                blob.reload()
            except (NotFound, PreconditionFailed):
                raise _gone(uri) from None
            if size is not None and blob.size != size:
                raise ReadFailed(f"{uri} has {blob.size:,} bytes, expected {size:,}")
            size, self._generation, self._crc32c = blob.size or 0, blob.generation, blob.crc32c
        super().__init__(uri, size, FETCH_BYTES)
        if size:
            self._buffer = self.fetch(0, min(size, FETCH_BYTES))

    def fetch(self, start: int, end: int) -> bytes:
        data = io.BytesIO()
        waits, give_up = pauses(*PAUSES), time.monotonic() + self._times.deadline
        while data.tell() < end - start:
            before = data.tell()
            why = self._answer(data, start, end)
            if data.tell() > end - start:
                came, missing = data.tell() - before, end - start - before
                raise ReadFailed(f"{self.uri}: {came:,} bytes came, expected {missing:,}")
            if data.tell() == end - start:
                break
            have = start + data.tell()
            progressed = data.tell() > before
            if progressed:
                waits, give_up = pauses(*PAUSES), time.monotonic() + self._times.deadline
            pause = next(waits)
            if not progressed and time.monotonic() + pause > give_up:
                raise ReadFailed(f"{self.uri}: read up to byte {have:,}, expected {self.size:,}: {why}")
            logger.warning(
                "%s: an answer ended at byte %d, expected %d: %s; requesting the rest", self.uri, have, end, why
            )
            time.sleep(pause)
        read = data.getvalue()
        self._sum_up(read, start)
        return read

    def _answer(self, data: io.BytesIO, start: int, end: int) -> str:
        """Request the rest of [start, end), append the answer to `data`, and return why it ended.

        `data` has the first bytes of the range already.
        """
        blob = self._bucket.blob(
            self._name, generation=self._generation
        )  # a new Blob: an answer overwrites its generation
        try:
            blob.download_to_file(
                data,
                start=start + data.tell(),
                end=end - 1,
                raw_download=True,
                checksum=None,
                retry=None,
                timeout=(self._times.connect, self._times.silence),
            )
        except (NotFound, PreconditionFailed):
            raise _gone(self.uri) from None
        except RequestRangeNotSatisfiable:
            raise ReadFailed(f"{self.uri} ends before byte {start:,}, expected {self.size:,} bytes") from None
        except TRANSIENT as error:
            return str(error)
        self._crc32c = blob.crc32c or self._crc32c
        return "the answer was too short"

    def _sum_up(self, read: bytes, start: int) -> None:
        """Add the bytes that follow those summed so far to the checksum; at the end compare it with the object's."""
        if start > self._summed or start + len(read) <= self._summed:
            return
        new = read if start == self._summed else read[self._summed - start :]
        self._checksum = google_crc32c.extend(self._checksum, new)
        self._summed = start + len(read)
        if self._summed == self.size and self._crc32c:
            computed = base64.b64encode(self._checksum.to_bytes(4, "big")).decode()
            if computed != self._crc32c:
                raise ReadFailed(f"{self.uri}: CRC32C of the bytes read is {computed}, expected {self._crc32c}")


class LocalReader(FileReader):
    """A local file.

    Raises FileChanged if it does not exist, or has another `generation` (its mtime in ns) or `size`; ReadFailed if it
    becomes shorter while it is read.
    """

    def __init__(self, path: str, generation: int | None = None, size: int | None = None) -> None:
        self._file = -1
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise _gone(path) from None
        status = os.fstat(self._file)
        super().__init__(path, status.st_size, LOCAL_FETCH_BYTES)
        if generation not in (None, status.st_mtime_ns) or size not in (None, status.st_size):
            self.close()
            raise FileChanged(f"{path} was changed while the run was reading it")

    def fetch(self, start: int, end: int) -> bytes:
        parts: list[bytes] = []
        while start < end:
            try:
                part = os.pread(self._file, end - start, start)
            except OSError as error:
                raise ReadFailed(f"{self.uri}: read up to byte {start:,} of {self.size:,}: {error}") from error
            if not part:
                raise ReadFailed(f"{self.uri} ends at byte {start:,}, expected {self.size:,}")
            parts.append(part)
            start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        if not self.closed and self._file >= 0:  # one that could not be opened is closed by Python, too
            os.close(self._file)
        super().close()


def _gone(uri: str) -> FileChanged:
    return FileChanged(f"{uri} is gone, or was replaced, since the run began")
