"""One COMMITTED write stream of BigQuery, appended to with explicit offsets, so that a repeated append is seen as one.

What an append may end in: it is in (also when BigQuery says that it had been), the stream is not ours any more
(`StreamLost`), or no answer came before the deadline (`NoAnswer`): then nobody knows whether it is in, and only
finalizing the stream makes an end of the doubt.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
from google.api_core import exceptions
from google.cloud.bigquery_storage_v1 import BigQueryWriteClient, types
from google.rpc import code_pb2, status_pb2

from connectors.patience import Patience
from transforms.metrics import APPEND_RETRIES, count

__all__ = ["AppendStream", "StreamLost", "finalize"]

MAX_REQUEST_BYTES = 9_000_000
"""BigQuery refuses a request of more than 10 MB."""
TRANSIENT = frozenset({
    code_pb2.UNAVAILABLE, code_pb2.RESOURCE_EXHAUSTED, code_pb2.INTERNAL, code_pb2.ABORTED, code_pb2.UNKNOWN,
    code_pb2.DEADLINE_EXCEEDED, code_pb2.CANCELLED,
})  # fmt: skip
LOST = frozenset({code_pb2.FAILED_PRECONDITION, code_pb2.NOT_FOUND, code_pb2.OUT_OF_RANGE})
"""Finalized by another owner; unknown; a gap before our offset."""
_Reason = types.StorageError.StorageErrorCode
LOST_REASONS = frozenset({_Reason.STREAM_FINALIZED, _Reason.STREAM_NOT_FOUND, _Reason.INVALID_STREAM_STATE})
"""The same as BigQuery says it in an error's details, whose code may then be INVALID_ARGUMENT."""
DETAILS = "grpc-status-details-bin"


class StreamLost(Exception):
    """The stream takes no more rows of ours."""


class AppendStream:
    """Appends to one write stream, from its first row on. Not thread-safe: its owner holds a lock."""

    def __init__(
        self, client: BigQueryWriteClient, name: str, schema: pa.Schema, patience: Patience, counted: bool = True
    ) -> None:
        """`counted`: with offsets, as a stream that nobody else appends to."""
        self._client = client
        self.name = name
        self._patience = patience
        self._schema = schema.serialize().to_pybytes()
        self._offset = 0 if counted else None
        self._connection: _Connection | None = None

    @classmethod
    def create(cls, client: BigQueryWriteClient, table: str, schema: pa.Schema, patience: Patience) -> AppendStream:
        """A new COMMITTED stream of its own; `table` is projects/P/datasets/D/tables/T. Raises NoAnswer."""
        stream = types.WriteStream(type_=types.WriteStream.Type.COMMITTED)
        made = patience.ask(
            lambda: client.create_write_stream(parent=table, write_stream=stream, retry=None, timeout=patience.answer)
        )
        return cls(client, made.name, schema, patience)

    @classmethod
    def default(cls, client: BigQueryWriteClient, table: str, schema: pa.Schema, patience: Patience) -> AppendStream:
        """The table's default stream, at least once: what is appended while an answer is lost is in twice."""
        return cls(client, f"{table}/streams/_default", schema, patience, counted=False)

    def append(self, batch: pa.RecordBatch) -> dict[int, str]:
        """Append `batch`, in as many requests as it needs; the rows that BigQuery refuses, by index, and why.

        All others are in. Raises StreamLost or NoAnswer, when some may be in and some not.
        """
        refused: dict[int, str] = {}
        for start, piece in _pieces(batch):
            indices = np.arange(start, start + piece.num_rows)
            while piece.num_rows:
                bad = self._append(piece)
                if not bad:
                    break
                refused |= {int(indices[row]): message for row, message in bad.items()}
                kept = np.setdiff1d(np.arange(piece.num_rows), list(bad))
                piece, indices = piece.take(pa.array(kept)), indices[kept]
        return refused

    def close(self) -> None:
        """Drop the connection; the stream stays as it is."""
        if self._connection:
            self._connection.close()
        self._connection = None

    def _append(self, batch: pa.RecordBatch) -> dict[int, str]:
        """One request; the rows that made BigQuery refuse all of it, empty where it is in."""
        request = types.AppendRowsRequest(write_stream=self.name)
        if self._offset is not None:
            request.offset = self._offset
        request.arrow_rows.writer_schema.serialized_schema = self._schema
        request.arrow_rows.rows.serialized_record_batch = batch.serialize().to_pybytes()
        for again in self._patience.attempts():
            code, message, bad = self._exchange(request)
            if bad:
                return bad
            if code in (code_pb2.OK, code_pb2.ALREADY_EXISTS):
                break
            if code in LOST:
                self.close()
                raise StreamLost(message)
            if code not in TRANSIENT:
                raise exceptions.from_grpc_status(code, message)
            count(APPEND_RETRIES, 1)
            again(f"append to {self.name}: {message}")
        if self._offset is not None:
            self._offset += batch.num_rows
        return {}

    def _exchange(self, request: types.AppendRowsRequest) -> tuple[int, str, dict[int, str]]:
        """One request and its answer: a gRPC code, a message, refused rows by index."""
        try:
            if self._connection is None:
                self._connection = _Connection(self._client, self.name, self._patience.answer)
            response = self._connection.exchange(request)
        except grpc.RpcError as error:
            self.close()
            call: Any = error  # the open call itself, which tells how it ended
            packed = [value for key, value in call.trailing_metadata() or () if key == DETAILS]
            details = [detail for one in packed for detail in status_pb2.Status.FromString(one).details]
            return _code(call.code().value[0], details), call.details(), {}
        except StopIteration:
            self.close()
            return code_pb2.UNAVAILABLE, "the connection was closed", {}
        status = types.AppendRowsResponse.pb(response).error
        refused = {row.index: row.message for row in response.row_errors}
        return _code(status.code, status.details), status.message, refused


class _Connection:
    """An open AppendRows call: one request, then its answer."""

    def __init__(self, client: BigQueryWriteClient, stream: str, answer_seconds: float) -> None:
        self._seconds = answer_seconds
        self._requests: queue.SimpleQueue[types.AppendRowsRequest | None] = queue.SimpleQueue()
        routing = ("x-goog-request-params", f"write_stream={stream}")
        # Not client.append_rows(), which waits for the first answer before there is a call that could be cancelled.
        open_call: Any = client.transport.append_rows
        self._call = open_call(iter(self._requests.get, None), metadata=[routing])

    def exchange(self, request: types.AppendRowsRequest) -> types.AppendRowsResponse:
        # Nothing bounds the wait for the next answer of an open call but cancelling it.
        watchdog = threading.Timer(self._seconds, self._call.cancel)
        watchdog.start()
        try:
            self._requests.put(request)
            response: types.AppendRowsResponse = next(self._call)
            return response
        finally:
            watchdog.cancel()

    def close(self) -> None:
        self._requests.put(None)
        self._call.cancel()


def _code(code: int, details: Iterable[Any]) -> int:
    """The gRPC code of an error, FAILED_PRECONDITION where its details say that the stream takes no more rows."""
    for detail in details:
        storage = types.StorageError.pb(types.StorageError())
        if detail.Unpack(storage) and storage.code in LOST_REASONS:
            return code_pb2.FAILED_PRECONDITION
    return code


def finalize(client: BigQueryWriteClient, stream: str, patience: Patience) -> None:
    """Make an end of a write stream: once this returns, no append to it is in that was not in before.

    A stream that BigQuery no longer knows counts as finalized. Raises NoAnswer.
    """
    with contextlib.suppress(exceptions.NotFound):
        patience.ask(lambda: client.finalize_write_stream(name=stream, retry=None, timeout=patience.answer))


def _pieces(batch: pa.RecordBatch, start: int = 0) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The batch in pieces that fit a request, each with the index of its first row."""
    if batch.nbytes <= MAX_REQUEST_BYTES or batch.num_rows < 2:
        yield start, batch
        return
    half = batch.num_rows // 2
    yield from _pieces(batch.slice(0, half), start)
    yield from _pieces(batch.slice(half), start + half)
