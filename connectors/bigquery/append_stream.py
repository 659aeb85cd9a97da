"""One COMMITTED write stream of BigQuery. Explicit offsets make a repeated append take effect once.

An append ends in one of four ways: all rows are stored (also if BigQuery answers that they were already); BigQuery
refuses some rows and the others are stored; the stream is lost to another owner (`StreamLost`); or no answer came
before the deadline (`DeadlineExceeded`). In the last case nobody knows whether the rows are stored, and only
finalizing the stream ends the doubt.

BigQuery may refuse a whole request without naming a row. Nothing of such a request is stored, so its halves are sent
one after the other at the same offset, until each refused row is alone in its request.

A refusal does not tell what became of an earlier attempt of the same request that got no answer: that may still take
effect, as long as nothing else is stored at its offset. So an offset is believed to hold the rows of a request only if
no other request was sent there before, and no refusal is final while such an attempt is in doubt.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
from google.api_core import exceptions
from google.cloud.bigquery_storage_v1 import BigQueryWriteClient, types
from google.rpc import code_pb2

from connectors.bigquery.append_reply import (
    CLOSED,
    INTERNAL,
    LOST,
    NAMES,
    Rejected,
    Reply,
    reply_of_error,
    reply_of_response,
)
from connectors.retry import RetryPolicy, is_transient
from contracts.refusal import ErrorCode

__all__ = ["MAX_ROW_BYTES", "AppendStream", "StreamLost", "finalize"]

MAX_REQUEST_BYTES = 9_000_000
"""The most bytes of rows in one request."""
MAX_ROW_BYTES = 10 << 20
"""The most bytes of a row as it is sent, in Arrow, with its schema. BigQuery refuses a request of more than 10 MB.
If that means 10,000,000 bytes, it refuses a row in between, which then is a dead letter too."""
SMALL_REQUEST_BYTES = 64 << 10
"""A request of this size or less is never too large: RESOURCE_EXHAUSTED is about a quota then."""
TRANSIENT = frozenset(
    {
        code_pb2.UNAVAILABLE,
        code_pb2.RESOURCE_EXHAUSTED,
        code_pb2.INTERNAL,
        code_pb2.ABORTED,
        code_pb2.UNKNOWN,
        code_pb2.DEADLINE_EXCEEDED,
        code_pb2.CANCELLED,
    }
)


class StreamLost(Exception):
    """The stream accepts no more rows from this owner."""


class AppendStream:
    """Appends to one new write stream. Not thread-safe: its owner holds a lock."""

    def __init__(
        self,
        client: BigQueryWriteClient,
        name: str,
        schema: pa.Schema,
        retry: RetryPolicy,
        explicit_offsets: bool = True,
        on_retry: Callable[[], None] = lambda: None,
    ) -> None:
        """`explicit_offsets` is for a stream that has one owner; the default stream of a table takes none.

        `on_retry` is called before each retry.
        """
        self._on_retry = on_retry
        self._client = client
        self.name = name
        self._retry = retry
        self._schema = schema.serialize().to_pybytes()
        self._offset = 0 if explicit_offsets else None
        self._doubtful = False
        """Whether a request that was sent before, without an answer, may still take effect at this offset."""
        self._connection: _Connection | None = None
        self._table = _table_of(name)

    @classmethod
    def create(
        cls,
        client: BigQueryWriteClient,
        table: str,
        schema: pa.Schema,
        retry: RetryPolicy,
        on_retry: Callable[[], None] = lambda: None,
        exists: Callable[[], bool] = lambda: False,
    ) -> AppendStream:
        """Create a COMMITTED stream of `table` (projects/P/datasets/D/tables/T).

        NOT_FOUND is retried while the table `exists`: BigQuery may not know a new table here for some minutes. Raises
        DeadlineExceeded, and NotFound if the table does not exist.
        """
        stream = types.WriteStream(type_=types.WriteStream.Type.COMMITTED)
        created = retry.call(
            f"BigQuery refuses a write stream for {_table_of(table)}",
            lambda: client.create_write_stream(
                parent=table, write_stream=stream, retry=None, timeout=retry.call_timeout
            ),
            lambda error: is_transient(error) or (isinstance(error, exceptions.NotFound) and exists()),
        )
        return cls(client, created.name, schema, retry, on_retry=on_retry)

    @classmethod
    def default(
        cls,
        client: BigQueryWriteClient,
        table: str,
        schema: pa.Schema,
        retry: RetryPolicy,
        on_retry: Callable[[], None] = lambda: None,
    ) -> AppendStream:
        """The default stream of a table: at least once, rows are stored twice if an answer is lost."""
        return cls(client, f"{table}/streams/_default", schema, retry, explicit_offsets=False, on_retry=on_retry)

    def append(self, batch: pa.RecordBatch, check: Callable[[], None] = lambda: None) -> dict[int, Rejected]:
        """Append `batch` in as many requests as needed; return the refused rows by index. All others are stored.

        `check` raises if the table itself is the cause; it is called before a row counts as refused that BigQuery did
        not name, and before BigQuery is asked again about a table or a column that it does not know yet. Raises
        StreamLost or DeadlineExceeded when some of the rows may be stored, and GoogleAPICallError if BigQuery refuses
        the request for another reason than its rows.
        """
        refused: dict[int, Rejected] = {}
        checked = False
        waiting = [(np.arange(start, start + piece.num_rows), piece) for start, piece in _pieces(batch)][::-1]
        while waiting:
            indices, piece = waiting.pop()
            refusal = self._append(piece, check)
            if isinstance(refusal, Rejected) and piece.num_rows > 1:
                half = piece.num_rows // 2
                waiting += [(indices[half:], piece.slice(half)), (indices[:half], piece.slice(0, half))]
            elif isinstance(refusal, Rejected):
                if not checked and refusal.code is ErrorCode.WAREHOUSE_REJECTED:
                    check()
                    checked = True
                refused[int(indices[0])] = refusal
            elif refusal:
                refused |= {int(indices[row]): Rejected(ErrorCode.WAREHOUSE_REJECTED, refusal[row]) for row in refusal}
                kept = np.setdiff1d(np.arange(piece.num_rows), list(refusal))
                if len(kept):
                    waiting.append((indices[kept], piece.take(pa.array(kept))))
        if self._doubtful:
            self.close()
            raise StreamLost("a refused request may have taken effect before, without an answer")
        return refused

    def close(self) -> None:
        """Close the connection; the stream stays open."""
        if self._connection:
            self._connection.close()
        self._connection = None

    def _append(self, batch: pa.RecordBatch, check: Callable[[], None]) -> dict[int, str] | Rejected:
        """Send one request. Return {} if its rows are stored; else none is: some rows are refused, or the request."""
        rows = batch.serialize().to_pybytes()
        size = len(rows) + len(self._schema)
        if size > MAX_ROW_BYTES:
            message = f"{size} bytes in Arrow, more than the {MAX_ROW_BYTES} that BigQuery accepts at once"
            return Rejected(ErrorCode.RECORD_TOO_LARGE, message)
        request = types.AppendRowsRequest(write_stream=self.name)
        if self._offset is not None:
            request.offset = self._offset
        request.arrow_rows.writer_schema.serialized_schema = self._schema
        request.arrow_rows.rows.serialized_record_batch = rows
        unanswered = False
        for attempt in self._retry.attempts(f"BigQuery refuses the appends to {self._table}"):
            reply = self._exchange(request)
            named = {row: message for row, message in reply.rows.items() if 0 <= row < batch.num_rows}
            refusal = named or reply.refuses_data
            quota = reply.code == code_pb2.RESOURCE_EXHAUSTED and size <= SMALL_REQUEST_BYTES
            if refusal and not quota:
                self._doubtful |= unanswered and self._offset is not None
                return refusal
            stored = reply.code == code_pb2.ALREADY_EXISTS and unanswered and not self._doubtful
            if stored or reply.code == code_pb2.OK:
                break
            unknown = reply.unknown or (reply.code == code_pb2.NOT_FOUND and self._offset is None)
            if unknown:
                check()
            elif reply.code in LOST:
                self.close()
                raise StreamLost(reply.message)
            elif reply.code not in TRANSIENT:
                raise exceptions.from_grpc_status(reply.code, reply.message)
            unanswered = True
            self._on_retry()
            attempt.failed(f"{NAMES.get(reply.code, reply.code)} {reply.message}", internal=reply.code in INTERNAL)
        if self._offset is not None:
            self._offset += batch.num_rows
            self._doubtful = False
        return {}

    def _exchange(self, request: types.AppendRowsRequest) -> Reply:
        """Send one request and return its answer, also that of a call that was closed."""
        try:
            if self._connection is None:
                self._connection = _Connection(self._client, self.name, self._retry.call_timeout)
            response = self._connection.exchange(request)
        except grpc.RpcError as error:
            self.close()
            return reply_of_error(error)
        except StopIteration:
            self.close()
            return CLOSED
        return reply_of_response(response)


class _Connection:
    """An open AppendRows call that exchanges one request and its answer at a time."""

    def __init__(self, client: BigQueryWriteClient, stream: str, answer_seconds: float) -> None:
        self._seconds = answer_seconds
        self._requests: queue.SimpleQueue[types.AppendRowsRequest | None] = queue.SimpleQueue()
        routing = ("x-goog-request-params", f"write_stream={stream}")
        # Not client.append_rows(): it returns only with the first answer, and nothing could cancel that wait.
        open_call: Any = client.transport.append_rows
        self._call = open_call(iter(self._requests.get, None), metadata=[routing])

    def exchange(self, request: types.AppendRowsRequest) -> types.AppendRowsResponse:
        # An open call has no timeout for its next answer: only cancelling it ends the wait.
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


def finalize(client: BigQueryWriteClient, stream: str, retry: RetryPolicy) -> bool:
    """Finalize a write stream: after True no append to it takes effect. Raises DeadlineExceeded.

    False if BigQuery does not know the stream, which proves nothing: it may not know it yet.
    """
    try:
        retry.call(
            f"BigQuery refuses to finalize a write stream of {_table_of(stream)}",
            lambda: client.finalize_write_stream(name=stream, retry=None, timeout=retry.call_timeout),
        )
    except exceptions.NotFound:
        return False
    return True


def _table_of(path: str) -> str:
    """Return dataset.table of the path of a table or a stream: projects/P/datasets/D/tables/T/streams/S."""
    parts = path.split("/")
    return ".".join(parts[3:6:2]) if len(parts) > 5 else path


def _pieces(batch: pa.RecordBatch, start: int = 0) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield the batch in pieces that fit a request, each with the index of its first row."""
    if batch.nbytes <= MAX_REQUEST_BYTES or batch.num_rows < 2:
        yield start, batch
        return
    half = batch.num_rows // 2
    yield from _pieces(batch.slice(0, half), start)
    yield from _pieces(batch.slice(half), start + half)
