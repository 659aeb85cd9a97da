"""A server in front of the emulator's Storage Write and Read APIs, which fails as BigQuery may where a test says so.

Every call is forwarded as it is, byte by byte. An append can be applied and its answer dropped, held back until the
test lets it go, refused for its rows (which the emulator never does), or fail; other calls can fail too.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NoReturn, Self

import grpc
import pyarrow as pa
from google.cloud.bigquery_storage_v1 import types
from google.rpc import code_pb2

__all__ = ["Answer", "AppendProxy", "Fail", "Fault", "Hold", "Request", "rows_of"]

UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
OPEN_CALLS = 200
Request = types.AppendRowsRequest


@dataclass
class Fail:
    """The call is closed with `code`, or gets no answer at all (None); the append is `applied` before, or never."""

    applied: bool
    code: grpc.StatusCode | None
    details: bytes = b""
    """A google.rpc.Status that says more."""
    message: str = "the proxy says so"


@dataclass
class Answer:
    """The append is not applied, and answered so."""

    response: types.AppendRowsResponse


@dataclass
class Hold:
    """The append waits, also when its caller has given up, and is applied only when it is let go."""

    came: threading.Event = field(default_factory=threading.Event)
    let_go: threading.Event = field(default_factory=threading.Event)
    applied: threading.Event = field(default_factory=threading.Event)
    answer: Any = None
    """What BigQuery said to it in the end."""


Fault = Fail | Hold | Answer


class AppendProxy:
    """Forwards to `backend` (HOST:PORT) while a `with` block lasts.

    `on_append(request)` says what happens to an append, None for nothing. `on_call(method)` says which status another
    call fails with, and whether after it was made; `on_request(method, request)` does so by its content.
    `refused(rows)` gives messages by index of rows that are refused.
    """

    def __init__(self, backend: str) -> None:
        self.on_append: Callable[[Request], Fault | None] = lambda _: None
        self.on_call: Callable[[str], Fail | None] = lambda _: None
        self.on_request: Callable[[str, bytes], Fail | None] = lambda method, request: None
        self.refused: Callable[[pa.RecordBatch], Mapping[int, str]] | None = None
        self.appends = 0
        """How many were asked for."""
        self._closed = threading.Event()
        self._channel = grpc.insecure_channel(backend, UNLIMITED)
        self._server = grpc.server(ThreadPoolExecutor(OPEN_CALLS), options=UNLIMITED)
        self._server.add_generic_rpc_handlers((_Handler(self),))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    @property
    def address(self) -> str:
        """Where it listens, HOST:PORT."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._server.stop(0).wait()
        self._channel.close()

    def unary(self, method: str, request: bytes, context: grpc.ServicerContext) -> bytes:
        """A call with one answer."""
        name = method.rpartition("/")[2]
        fault = self.on_call(name) or self.on_request(name, request)
        if fault and not fault.applied:
            self._fail(fault, context)
        try:
            answer: bytes = self._channel.unary_unary(method)(request, timeout=60)
        except grpc.RpcError as error:
            _pass_on(error, context)
        if fault:
            self._fail(fault, context)
        return answer

    def read(self, method: str, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        """A call with many answers."""
        fault = self.on_call(method.rpartition("/")[2])
        if fault:
            self._fail(fault, context)
        try:
            yield from self._channel.unary_stream(method)(request)
        except grpc.RpcError as error:
            _pass_on(error, context)

    def append(self, method: str, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """AppendRows: one answer a request."""
        outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        call: Any = self._channel.stream_stream(method)(iter(outgoing.get, None))

        def forward(request: bytes) -> bytes:
            outgoing.put(request)
            answer: bytes = next(call)
            return answer

        try:
            for raw in requests:
                yield self._appended(raw, forward, context)
        except grpc.RpcError as error:
            if isinstance(error, grpc.Call):  # else it is the caller who has gone
                _pass_on(error, context)
        finally:
            outgoing.put(None)

    def _appended(self, raw: bytes, forward: Callable[[bytes], bytes], context: grpc.ServicerContext) -> bytes:
        self.appends += 1
        request = Request.deserialize(raw)
        bad = self.refused(rows_of(request)) if self.refused else {}
        fault = self.on_append(request)
        if bad:
            errors = [types.RowError(index=index, code=1, message=message) for index, message in bad.items()]
            refusal = types.AppendRowsResponse(row_errors=errors)
            refusal.error.code, refusal.error.message = code_pb2.INVALID_ARGUMENT, "Errors found while processing rows."
            if isinstance(fault, Fail):
                self._fail(fault, context)
            return types.AppendRowsResponse.serialize(refusal)
        if isinstance(fault, Hold):
            fault.came.set()
            fault.let_go.wait()
            answer = forward(raw)
            fault.answer = types.AppendRowsResponse.deserialize(answer)
            fault.applied.set()
            return answer
        if isinstance(fault, Answer):
            return types.AppendRowsResponse.serialize(fault.response)
        if fault is None:
            return forward(raw)
        if fault.applied:
            forward(raw)
        self._fail(fault, context)

    def _fail(self, fault: Fail, context: grpc.ServicerContext) -> NoReturn:
        if fault.code is None:
            gone = threading.Event()
            if context.add_callback(gone.set):
                while not (gone.wait(0.05) or self._closed.is_set()):
                    pass
        if fault.details:
            context.set_trailing_metadata((("grpc-status-details-bin", fault.details),))
        context.abort(fault.code or grpc.StatusCode.UNAVAILABLE, fault.message)
        raise AssertionError("abort raises")


class _Handler(grpc.GenericRpcHandler):
    """Which method has which form."""

    def __init__(self, proxy: AppendProxy) -> None:
        self._proxy = proxy

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        """The handler of a method."""
        method: str = details.method
        if method.endswith("/AppendRows"):
            return grpc.stream_stream_rpc_method_handler(lambda rs, context: self._proxy.append(method, rs, context))
        if method.endswith("/ReadRows"):
            return grpc.unary_stream_rpc_method_handler(lambda r, context: self._proxy.read(method, r, context))
        return grpc.unary_unary_rpc_method_handler(lambda r, context: self._proxy.unary(method, r, context))


def rows_of(request: Request) -> pa.RecordBatch:
    """The rows that are to be appended."""
    schema = pa.ipc.read_schema(pa.py_buffer(request.arrow_rows.writer_schema.serialized_schema))
    return pa.ipc.read_record_batch(pa.py_buffer(request.arrow_rows.rows.serialized_record_batch), schema)


def _pass_on(error: grpc.RpcError, context: grpc.ServicerContext) -> NoReturn:
    call: Any = error
    context.abort(call.code(), call.details())
    raise AssertionError("abort raises")
