"""Cut newline-delimited JSON into records. Other layouts are in json_array.py."""

from __future__ import annotations

import numpy as np

from contracts.decoding.records import NEXT_LINE, Split, mostly_blank_lines, too_large
from contracts.refusal import MAX_STORED_BYTES, Refusal

__all__ = ["CommaLines", "JsonLines", "OverlongRecord"]


class OverlongRecord:
    """A record that is over the size limit before its end has arrived: its first bytes and its length so far."""

    def __init__(self, data: bytes, position: int) -> None:
        self.head, self.position, self.size = b"", position, 0
        self.last = b""
        """The last byte that has arrived."""
        self.blank = 0
        """Length of the white space at the end, in bytes."""
        self.grow(data)

    def grow(self, data: bytes) -> None:
        """Count the next bytes of the record; keep them while fewer than MAX_STORED_BYTES are stored."""
        self.head += data[: MAX_STORED_BYTES - len(self.head)]
        self.size += len(data)
        self.last = data[-1:] or self.last
        blank = len(data) - len(data.rstrip())
        self.blank = blank + (self.blank if blank == len(data) else 0)

    def refusal(self, limit: int, drop: int) -> Refusal:
        """Return the refusal of the record without its last `drop` bytes."""
        size = self.size - drop
        return too_large(self.head[:size], self.position, size, limit, "json")


class JsonLines:
    r"""Splitter of newline-delimited JSON: one record per line, ended by `\n` or `\r\n`. Blank lines are skipped.

    `start` is the offset of the first byte in the file, `limit` the maximum size of a record; both in bytes.
    """

    def __init__(self, start: int, limit: int) -> None:
        self._tail = b""
        self._offset = start
        """Offset of the first byte of `_tail`."""
        self._limit = limit
        self._overlong: OverlongRecord | None = None

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
        if len(self._tail) > self._limit + 1:  # too long even without a final \r
            self._overlong = OverlongRecord(self._tail, self._offset)
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
        """Return what follows the overlong line in `data`; empty if the line does not end in `data`."""
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
        unix_ends = b"\r" not in body
        if mostly_blank_lines(body):
            for match in NEXT_LINE.finditer(body):
                if match[1] and not match[1].isspace():
                    split.add(match[1].removesuffix(b"\r"), position + match.start(1), self._limit, "json")
            self._offset += len(body) + 1
            return
        lines = body.split(b"\n")
        sizes = np.fromiter(map(len, lines), np.int64, len(lines))
        if unix_ends and sizes.min() and sizes.max() <= self._limit and not any(map(bytes.isspace, lines)):
            # The usual case: no line needs a separate look, so all offsets are computed at once.
            split.records += lines
            split.positions += (position + np.cumsum(sizes + 1) - sizes - 1).tolist()
            self._offset += len(body) + 1
            return
        for line in lines:
            size = len(line)
            if size and not line.isspace():
                if size <= self._limit:
                    split.records.append(line if unix_ends else line.removesuffix(b"\r"))
                    split.positions.append(position)
                else:
                    split.add(line.removesuffix(b"\r"), position, self._limit, "json")
            position += size + 1
        self._offset = position


class CommaLines(JsonLines):
    """Splitter of lines like those of JsonLines, with a comma behind the records, as inside of an array."""

    def _lines(self, body: bytes, split: Split) -> None:
        super()._lines(body, split)
        split.records = [record.rstrip().removesuffix(b",") for record in split.records]
