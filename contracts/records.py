"""Where records begin and end in a stream of bytes: lines of JSON, elements of a JSON array.

A splitter is fed pieces of a file, in order and of any size, and gives back whole records with the offset of
their first byte. A record that is larger than the limit is a refusal that keeps its beginning; what lies
behind it is read as if it were not there. CSV is in csv_records.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from contracts.refusal import MAX_STORED_BYTES, ErrorCode, Refusal

__all__ = ["JsonArray", "Lines", "Split", "Splitter", "too_large"]


@dataclass(slots=True)
class Split:
    """Records that are whole by now: bytes, offsets of their first bytes, and the ones that had to be refused."""

    records: list[bytes] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)

    def add(self, raw: bytes, position: int, limit: int, format: str) -> None:
        """Take in one record, as a refusal if it is over `limit` bytes."""
        if len(raw) > limit:
            self.refusals.append(too_large(raw[:MAX_STORED_BYTES], position, len(raw), limit, format))
        else:
            self.records.append(raw)
            self.positions.append(position)


class Splitter(Protocol):
    """Cuts a stream into records."""

    def feed(self, data: bytes) -> Split:
        """Take the next bytes; give the records that they complete."""
        ...

    def end(self) -> Split:
        """The stream is over; give what is left."""
        ...


def too_large(head: bytes, position: int, size: int, limit: int, format: str) -> Refusal:
    """The refusal of a record of `size` bytes, of which `head` is kept."""
    message = f"{size} bytes, more than the {limit} that a record may have"
    return Refusal(position, head, ErrorCode.RECORD_TOO_LARGE, message, size=size, attributes={"format": format})


class _Overlong:
    """A record whose end is not in sight and which is over the limit already: its head and its length so far."""

    def __init__(self, data: bytes, position: int) -> None:
        self.head, self.position, self.size = b"", position, 0
        self.last = b""
        """The last byte so far."""
        self.blank = 0
        """Bytes of white space at the end so far."""
        self.grow(data)

    def grow(self, data: bytes) -> None:
        self.head += data[: MAX_STORED_BYTES - len(self.head)]
        self.size += len(data)
        self.last = data[-1:] or self.last
        blank = len(data) - len(data.rstrip())
        self.blank = blank + (self.blank if blank == len(data) else 0)

    def refusal(self, limit: int, drop: int) -> Refusal:
        """As a refusal, without its last `drop` bytes."""
        size = self.size - drop
        return too_large(self.head[:size], self.position, size, limit, "json")


class Lines:
    """Newline-delimited JSON: a record a line, `\\n` or `\\r\\n`; lines of white space are none."""

    def __init__(self, start: int, limit: int) -> None:
        self._tail = b""
        self._offset = start
        """Of the first byte of `_tail`."""
        self._limit = limit
        self._overlong: _Overlong | None = None

    def feed(self, data: bytes) -> Split:
        split = Split()
        if self._overlong:
            data = self._skip(data, split)
        cut = data.rfind(b"\n")
        if cut < 0:
            self._tail += data
        else:
            self._lines(self._tail + data[:cut], split)
            self._tail = data[cut + 1 :]
        if len(self._tail) > self._limit + 1:  # over it even if \r comes off
            self._overlong = _Overlong(self._tail, self._offset)
            self._offset += len(self._tail)
            self._tail = b""
        return split

    def end(self) -> Split:
        split = Split()
        if self._overlong:
            self._close(split)
        self._lines(self._tail, split)
        self._tail = b""
        return split

    def _skip(self, data: bytes, split: Split) -> bytes:
        """The part of `data` behind the overlong line, empty as long as its end is not in sight."""
        assert self._overlong
        end = data.find(b"\n")
        line = data if end < 0 else data[:end]
        self._overlong.grow(line)
        self._offset += len(line)
        if end < 0:
            return b""
        self._close(split)
        self._offset += 1
        return data[end + 1 :]

    def _close(self, split: Split) -> None:
        assert self._overlong
        line, self._overlong = self._overlong, None
        if line.blank < line.size:
            split.refusals.append(line.refusal(self._limit, drop=line.last == b"\r"))

    def _lines(self, body: bytes, split: Split) -> None:
        position = self._offset
        plain = b"\r" not in body
        lines = body.split(b"\n")
        sizes = np.fromiter(map(len, lines), np.int64, len(lines))
        if plain and sizes.min() and sizes.max() <= self._limit and not any(map(bytes.isspace, lines)):
            split.records += lines
            split.positions += (position + np.cumsum(sizes + 1) - sizes - 1).tolist()
            self._offset += len(body) + 1
            return
        for line in lines:
            size = len(line)
            if size and not line.isspace():
                if size <= self._limit:
                    split.records.append(line if plain else line.removesuffix(b"\r"))
                    split.positions.append(position)
                else:
                    split.add(line.removesuffix(b"\r"), position, self._limit, "json")
            position += size + 1
        self._offset = position


_TOKEN = re.compile(rb'"(?:[^"\\\n]++|\\.)*+"|"|[\[\]{},]')


class JsonArray:
    """One JSON array: its elements are the records. What stands behind the array is refused in one piece."""

    def __init__(self, start: int, limit: int) -> None:
        self._buffer = b""
        self._offset = start
        """Of the first byte of `_buffer`."""
        self._scan = 0
        """How far the buffer has been looked at."""
        self._element = 0
        """Where in the buffer the current element begins."""
        self._depth = 0
        self._over = False
        self._limit = limit
        self._overlong: _Overlong | None = None

    def feed(self, data: bytes) -> Split:
        return self._read(data, last=False)

    def end(self) -> Split:
        split = self._read(b"", last=True)
        if self._overlong or self._buffer[self._element :].strip():
            self._emit(len(self._buffer), split)
        return split

    def _read(self, data: bytes, last: bool) -> Split:
        split = Split()
        self._buffer += data
        position = self._scan
        while not self._over:
            match = _TOKEN.search(self._buffer, position)
            if match is None:
                position = len(self._buffer)
                break
            token = match.group()
            if token == b'"' and not last and b"\n" not in self._buffer[match.start() :]:
                position = match.start()  # a string whose end is still to come
                break
            position = match.end()
            self._token(token, match.start(), position, split)
        self._scan = position
        self._forget(split)
        return split

    def _token(self, token: bytes, start: int, end: int, split: Split) -> None:
        if token in (b"[", b"{"):
            self._depth += 1
            if self._depth == 1:
                self._element = end
        elif token in (b"]", b"}"):
            if self._depth == 1:
                self._emit(start, split)
                self._element = end
                self._over = True
            self._depth = max(self._depth - 1, 0)
        elif token == b"," and self._depth == 1:
            self._emit(start, split)
            self._element = end

    def _emit(self, end: int, split: Split) -> None:
        raw = self._buffer[self._element : end]
        if self._overlong:
            element, self._overlong = self._overlong, None
            element.grow(raw)
            split.refusals.append(element.refusal(self._limit, drop=element.blank))
        elif raw.strip():
            position = self._offset + self._element + len(raw) - len(raw.lstrip())
            split.add(raw.strip(), position, self._limit, "json")

    def _forget(self, split: Split) -> None:
        """Drop from the buffer what is read; of an element over the limit keep the head only."""
        scanned = len(self._buffer) if self._over else self._scan
        if not self._over and scanned - self._element > self._limit:
            raw = self._buffer[self._element : scanned]
            begin = 0 if self._overlong else len(raw) - len(raw.lstrip())
            if self._overlong:
                self._overlong.grow(raw)
                self._element = scanned
            elif len(raw.strip()) > self._limit and self._depth:
                self._overlong = _Overlong(raw[begin:], self._offset + self._element + begin)
                self._element = scanned
            elif begin == len(raw):
                self._element = scanned
        self._buffer = self._buffer[self._element :]
        self._offset += self._element
        self._scan = max(self._scan - self._element, 0)
        self._element = 0
