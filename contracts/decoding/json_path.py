"""Cut JSON documents into records: the elements of the array at a path, such as `data.items`.

A file has one document or several, one behind the other. Only the element that is being read is in memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from contracts.decoding.json_array import JsonArray
from contracts.decoding.records import Split
from contracts.refusal import ErrorCode, NotClean

__all__ = ["JsonPath"]

_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}\[\]:,]|[^"{}\[\]:,\s]++|\s++', re.DOTALL)
_BARE = re.compile(rb'[^"{}\[\]:,\s]++')


class JsonPath:
    """Splitter of JSON documents: the elements of the array at `path` are the records.

    `start` is the offset of the first byte in the file, `limit` the maximum size of an element; both in bytes. A
    document without a value at the path has no records. Raises NotClean for what is no JSON outside the array, for a
    value at the path that is no array, and at the end if no document had one.
    """

    def __init__(self, start: int, limit: int, path: Sequence[str]) -> None:
        self._path = list(path)
        self._limit = limit
        self._buffer = b""
        self._offset = start
        """Offset in the file of the first byte of `_buffer`."""
        self._stack: list[str | None] = []
        """For each open object the name of its current field, None before it; for each open array "[]"."""
        self._key: str | None = None
        """A string in an object that may be the name of a field."""
        self._array: JsonArray | None = None
        self._found = False

    def feed(self, data: bytes) -> Split:
        split = Split()
        while data:
            data = self._in_array(data, split) if self._array else self._outside(data)
        return split

    def end(self) -> Split:
        split = Split()
        if self._array:
            split = self._array.end()
            raise_for = self._array.unclosed
            if raise_for is not None and not split.records and not split.refusals:
                raise NotClean(ErrorCode.MALFORMED_JSON, "its JSON array is not closed, it is cut off")
            return split
        if self._buffer.strip() or self._stack:
            raise NotClean(ErrorCode.MALFORMED_JSON, "its JSON document is not closed, it is cut off")
        if not self._found:
            raise NotClean(ErrorCode.MALFORMED_JSON, f"it has no array at {'.'.join(self._path)}")
        return split

    @property
    def position(self) -> int:
        """Offset of the first byte that has not been read."""
        return self._offset

    def _in_array(self, data: bytes, split: Split) -> bytes:
        """Read elements; return what follows the array."""
        assert self._array
        part = self._array.feed(data)
        split.records += part.records
        split.positions += part.positions
        split.refusals += part.refusals
        if self._array.rest is None:
            return b""
        self._offset, rest = self._array.rest
        self._array = None
        return rest

    def _outside(self, data: bytes) -> bytes:
        """Read what is around the array; return what follows its opening bracket, with it."""
        buffer, self._buffer = self._buffer + data, b""
        at = 0
        while match := _TOKEN.match(buffer, at):
            end = match.end()
            if end == len(buffer) and _BARE.fullmatch(match[0]):
                break  # a number or word that may go on
            if self._is_records(match[0]):
                self._array, self._found = JsonArray(self._offset + at, self._limit), True
                self._offset += at
                return buffer[at:]
            self._take(match[0])
            at = end
        self._offset += at
        self._buffer = buffer[at:]
        if len(self._buffer) > self._limit:
            raise NotClean(ErrorCode.MALFORMED_JSON, f"a text outside {'.'.join(self._path)} is too long or not closed")
        return b""

    def _is_records(self, token: bytes) -> bool:
        """Whether the token begins the array at the path. Raises NotClean for another value there, except null."""
        if self._stack != self._path or self._key is not None or token.isspace() or token in (b",", b":", b"}", b"]"):
            return False
        if token == b"[":
            return True
        if token != b"null":
            raise NotClean(ErrorCode.MALFORMED_JSON, f"the value at {'.'.join(self._path)} is not an array")
        return False

    def _take(self, token: bytes) -> None:
        if token.isspace():
            return
        inside = self._stack[-1] if self._stack else "[]"
        if token in (b"{", b"["):
            self._stack.append("[]" if token == b"[" else None)
        elif token in (b"}", b"]"):
            if not self._stack or (inside == "[]") != (token == b"]"):
                raise NotClean(ErrorCode.MALFORMED_JSON, f"it has a {token.decode()} that closes nothing")
            self._stack.pop()
        elif token == b"," and self._stack and inside != "[]":
            self._stack[-1] = None
        elif token[:1] == b'"' and self._stack and inside is None:
            self._key = _text(token)
        elif token == b":" and self._key is not None:
            self._stack[-1], self._key = self._key, None


def _text(token: bytes) -> str:
    try:
        return str(json.loads(token))
    except ValueError as error:
        raise NotClean(ErrorCode.MALFORMED_JSON, f"a name is not a JSON string: {error}") from None
