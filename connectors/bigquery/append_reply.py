"""What BigQuery answers to an append: stored, refused rows, a lost stream, or an error that passes."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import grpc
from google.cloud.bigquery_storage_v1 import types
from google.rpc import code_pb2, status_pb2

from contracts.refusal import ErrorCode

__all__ = ["CLOSED", "INTERNAL", "LOST", "NAMES", "Rejected", "Reply", "reply_of_error", "reply_of_response"]

TOO_LARGE = re.compile("larger than max|exceeds maximum|too large", re.IGNORECASE)
"""Messages of gRPC and BigQuery about a request that is too large. Its code, RESOURCE_EXHAUSTED, means quotas too."""
LOST = frozenset({code_pb2.FAILED_PRECONDITION, code_pb2.NOT_FOUND, code_pb2.OUT_OF_RANGE, code_pb2.ALREADY_EXISTS})
"""The stream was finalized by another owner; is unknown; has a gap before our offset; may hold other rows there."""
_Reason = types.StorageError.StorageErrorCode
LOST_REASONS = frozenset({_Reason.STREAM_FINALIZED, _Reason.STREAM_NOT_FOUND, _Reason.INVALID_STREAM_STATE})
"""The same in the details of an error, whose code may then be INVALID_ARGUMENT."""
NOT_KNOWN_YET = frozenset({_Reason.TABLE_NOT_FOUND, _Reason.SCHEMA_MISMATCH_EXTRA_FIELDS})
"""What BigQuery says of a table or a column that was created some minutes ago, or that does not exist."""
DETAILS = "grpc-status-details-bin"
_codes: Any = code_pb2.Code
NAMES: dict[int, str] = {number: name for name, number in _codes.items()}
INTERNAL = frozenset({code_pb2.INTERNAL, code_pb2.UNKNOWN})
"""Transient codes that a defect of the service returns as well: then they never pass."""


class Rejected(NamedTuple):
    """Why a row is not stored: WAREHOUSE_REJECTED or RECORD_TOO_LARGE, and a message."""

    code: ErrorCode
    message: str


class Reply(NamedTuple):
    """An answer of BigQuery: a gRPC code, a message, and the messages about refused rows by their index.

    `of_stream`: the details of the error name a reason that is about the stream, the table or its schema. `unknown`: it
    is a column, or a table, that BigQuery does not know here; it may be new.
    """

    code: int
    message: str
    rows: dict[int, str]
    of_stream: bool = False
    unknown: bool = False

    @property
    def refuses_data(self) -> Rejected | None:
        """Why the content of the request is refused as a whole; None if it is not, or if rows are named."""
        if self.code == code_pb2.INVALID_ARGUMENT and not self.of_stream:
            return Rejected(ErrorCode.WAREHOUSE_REJECTED, self.message)
        if self.code == code_pb2.RESOURCE_EXHAUSTED and TOO_LARGE.search(self.message):
            return Rejected(ErrorCode.RECORD_TOO_LARGE, self.message)
        return None


CLOSED = Reply(code_pb2.UNAVAILABLE, "the connection was closed", {})
"""What stands for the answer of a call that was closed."""


def reply_of_response(response: types.AppendRowsResponse) -> Reply:
    """Return what a response says."""
    status = types.AppendRowsResponse.pb(response).error
    refused = {row.index: row.message for row in response.row_errors}
    return _reply(status.code, status.message, status.details, refused)


def reply_of_error(error: grpc.RpcError) -> Reply:
    """Return what the error of a call says."""
    call: Any = error  # gRPC raises the call itself, which has the status
    packed = [value for key, value in call.trailing_metadata() or () if key == DETAILS]
    details = [detail for status in packed for detail in status_pb2.Status.FromString(status).details]
    return _reply(call.code().value[0], call.details() or "", details, {})


def _reply(code: int, message: str, details: Any, rows: dict[int, str]) -> Reply:
    """Return the answer, with FAILED_PRECONDITION if its details say that the stream accepts no more rows."""
    of_stream = unknown = False
    for detail in details:
        storage = types.StorageError.pb(types.StorageError())
        if detail.Unpack(storage):
            if storage.code in LOST_REASONS:
                return Reply(code_pb2.FAILED_PRECONDITION, message, rows)
            of_stream = of_stream or storage.code != _Reason.STORAGE_ERROR_CODE_UNSPECIFIED
            unknown = unknown or storage.code in NOT_KNOWN_YET
    return Reply(code, message, rows, of_stream, unknown)
