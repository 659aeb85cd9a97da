"""Files that cannot be read to their end: one refusal represents the rest of such a file."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from connectors.files.names import InputFile
from contracts.decoding.decoder import Block, Format
from contracts.refusal import MAX_STORED_BYTES, ErrorCode, Refusal

__all__ = ["Unreadable", "damaged", "only"]


class Unreadable(Exception):
    """The file cannot be read from position `read` on; everything before it has been read."""

    def __init__(self, read: int, why: str, code: ErrorCode = ErrorCode.INVALID_ENCODING) -> None:
        super().__init__(why)
        self.read, self.why, self.code = read, why, code


def damaged(
    file: InputFile, stream: BinaryIO, position: int, why: str, code: ErrorCode = ErrorCode.INVALID_ENCODING
) -> Refusal:
    """Return the refusal that represents a file from `position` on; `why` is a reason for people."""
    stream.seek(0)
    attributes: dict[str, object] = {"format": "file", "file_format": file.format, "compression": file.compression}
    return Refusal(
        position,
        stream.read(MAX_STORED_BYTES),
        code,
        f"the file cannot be read: {why}",
        size=file.size,
        attributes=attributes,
    )


def only(file: InputFile, refusal: Refusal) -> Block:
    """Return a block that holds this refusal and no record."""
    return Block(file.uri, Format.JSON, (), np.array([], dtype=np.int64), refusals=(refusal,))
