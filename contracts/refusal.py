"""Why a record is not clean: stable codes, the same for files and for Kafka."""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass
from hashlib import blake2b

__all__ = [
    "MAX_STORED_BYTES",
    "WITHOUT_RECORD",
    "ErrorCode",
    "NotClean",
    "Refusal",
    "Stage",
    "dead_letter_id",
    "storable",
]

MAX_STORED_BYTES = 8_000_000
"""Bytes of a refused record that are kept; the position tells where to find the rest."""
WITHOUT_RECORD = " (without its record"
"""In a message: behind it, why BigQuery did not store the record with its dead letter."""
MAX_TEXT = 1_000
"""Characters of a refusal's message, and of its field: both may quote what came, a name of megabytes for example."""


class Stage(enum.Enum):
    """The step that refused a record."""

    DECODE = "decode"
    VALIDATE = "validate"
    DEDUPLICATE = "deduplicate"
    WRITE = "write"


class ErrorCode(enum.Enum):
    """The stable codes. Analysts and alerts depend on their spelling."""

    MALFORMED_JSON = "malformed_json"
    MALFORMED_CSV = "malformed_csv"
    INVALID_ENCODING = "invalid_encoding"
    RECORD_TOO_LARGE = "record_too_large"
    MISSING_REQUIRED = "missing_required"
    WRONG_TYPE = "wrong_type"
    INVALID_VALUE = "invalid_value"
    UNKNOWN_FIELD = "unknown_field"
    DUPLICATE = "duplicate"
    WAREHOUSE_REJECTED = "warehouse_rejected"
    UNPROCESSABLE = "unprocessable"
    """A step raised what nobody foresaw. It stands for every such error, so that none of them ends a run."""

    @property
    def stage(self) -> Stage:
        """The step at which records are refused with this code."""
        return _STAGES.get(self, Stage.VALIDATE)

    @property
    def recoverable(self) -> bool:
        """False where the same bytes can never become a clean row, whatever the contract says."""
        return self not in (ErrorCode.MALFORMED_JSON, ErrorCode.MALFORMED_CSV, ErrorCode.INVALID_ENCODING)


_STAGES = {
    ErrorCode.MALFORMED_JSON: Stage.DECODE,
    ErrorCode.MALFORMED_CSV: Stage.DECODE,
    ErrorCode.INVALID_ENCODING: Stage.DECODE,
    ErrorCode.RECORD_TOO_LARGE: Stage.DECODE,
    ErrorCode.UNPROCESSABLE: Stage.DECODE,
    ErrorCode.DUPLICATE: Stage.DEDUPLICATE,
    ErrorCode.WAREHOUSE_REJECTED: Stage.WRITE,
}


class NotClean(Exception):
    """Raised by the rules for one value or one record; `field` is the path of the offending value, if one."""

    def __init__(self, code: ErrorCode, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field


def storable(text: str) -> str:
    """The text as any table, log or answer takes it: MAX_TEXT characters at most, lone surrogates written out."""
    short = text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 3] + "..."
    return short if short.isascii() else short.encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused record, whole: what it was, where it was, and why it is not clean.

    `raw` holds the record's bytes as they came, or their first MAX_STORED_BYTES with `size` telling how
    many there were. `attributes` is what else is needed to decode the bytes again (a CSV header, a dialect).
    `message` and `field` may quote the record: whatever is given, they can be stored (`storable`).
    """

    position: int
    raw: bytes
    code: ErrorCode
    message: str
    field: str | None = None
    size: int | None = None
    attributes: dict[str, object] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", storable(self.message))
        if self.field is not None:
            object.__setattr__(self, "field", storable(self.field))

    @property
    def truncated(self) -> bool:
        """Whether `raw` is only the beginning of the record."""
        return self.size is not None and self.size > len(self.raw)


def dead_letter_id(table: str, source: str, position: int, raw: bytes, *more: str) -> str:
    """32 hex digits that name a refused record: the same record refused twice is the same dead letter.

    `more` is what tells records apart whose names and bytes are equal: the dataset, the incarnation of a topic, the key
    of a record without a value.
    """
    digest = blake2b(digest_size=16)
    for part in (table.encode(), source.encode(), str(position).encode(), raw, *(text.encode() for text in more)):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()
