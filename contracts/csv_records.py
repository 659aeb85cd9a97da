"""Where CSV records begin and end (RFC 4180): a quoted field may hold line breaks, so lines are not records.

A record whose quoting is broken is cut off at the end of its first line and reading goes on with the next
line, so a lost quote costs one record and not the rest of the file.
"""

from __future__ import annotations

import re

from contracts.records import Split, too_large
from contracts.refusal import MAX_STORED_BYTES
from contracts.table import CsvDialect

__all__ = ["CsvRecords"]

LOST_QUOTE = 4
"""A quoted field that goes on for so many times the size that a record may have is taken for a lost quote."""


class CsvRecords:
    """Splits CSV under a dialect; blank lines are no records. Works on bytes, for encodings that contain ASCII."""

    def __init__(self, start: int, limit: int, dialect: CsvDialect) -> None:
        self._quote = dialect.quote.encode(dialect.encoding)
        delimiter, quote = re.escape(dialect.delimiter.encode(dialect.encoding)), re.escape(self._quote)
        inside = rb"[^%b]*+(?:%b%b[^%b]*+)*+" % (quote, quote, quote, quote)
        bare = rb"(?:[^%b%b][^%b]*+)?" % (delimiter, quote, delimiter)
        value = rb"(?:%b%b%b|%b)" % (quote, inside, quote, bare)
        self._whole = re.compile(rb"%b(?:%b%b)*+\r?" % (value, delimiter, value), re.DOTALL)
        self._open = re.compile(rb"(?:%b%b)*+%b%b" % (value, delimiter, quote, inside), re.DOTALL)
        self._inside = re.compile(inside, re.DOTALL)
        self._delimiter = dialect.delimiter.encode(dialect.encoding)
        self._buffer = b""
        self._offset = start
        self._limit = limit
        self._lines: list[bytes] = []
        """The lines so far of a record that is open, `\\n` kept."""
        self._long = 0
        """Bytes of an overlong line that are gone already; its head is in `_head`."""
        self._head = b""
        self._cr = False
        """Whether they end with `\r`."""

    def feed(self, data: bytes) -> Split:
        split = Split()
        self._buffer += data
        cut = self._buffer.rfind(b"\n") + 1
        body, self._buffer = self._buffer[:cut], self._buffer[cut:]
        if body:
            self._take(body, split)
        if len(self._buffer) > self._limit + 1:  # over it even if \r comes off: keep the head, count the rest
            self._head += self._buffer[: MAX_STORED_BYTES - len(self._head)]
            self._long += len(self._buffer)
            self._cr = self._buffer.endswith(b"\r")
            self._buffer = b""
        return split

    def end(self) -> Split:
        split = Split()
        if self._buffer or self._long:
            self._line(self._buffer, split)
            self._buffer = b""
        self._give_up(split)  # a quote that is open to the very end
        return split

    def _take(self, body: bytes, split: Split) -> None:
        if not self._lines and not self._long and self._quote not in body:
            position = self._offset
            for line in body.removesuffix(b"\n").split(b"\n"):
                self._record(line, position, split)
                position += len(line) + 1
            self._offset += len(body)
            return
        for line in body.splitlines(keepends=True) if b"\r" not in body else re.findall(rb"[^\n]*\n|[^\n]+", body):
            self._line(line, split)

    def _line(self, line: bytes, split: Split) -> None:
        if self._long or len(line) > self._limit:
            gone, head, self._long, self._head = self._long, self._head, 0, b""
            bare = line.removesuffix(b"\n").removesuffix(b"\r")
            drop = bool(gone and self._cr and line in (b"", b"\n"))  # the `\r` of a line end that was cut in two
            if (
                size := gone + len(bare) - drop
            ) > self._limit:  # whatever was open before an overlong line ends with it
                self._give_up(split)
                kept = (head + bare)[: min(size, MAX_STORED_BYTES)]
                split.refusals.append(too_large(kept, self._offset, size, self._limit, "csv"))
                self._offset += gone + len(line)
                return
        if self._lines:
            self._continue(line, split)
        elif self._quote not in line or self._whole.fullmatch(line.rstrip(b"\n")):
            self._close(line, split)
        elif self._open.fullmatch(line):
            self._lines, self._held = [line], len(line)
        else:
            self._close(line, split)  # broken quoting: decode says so

    def _continue(self, line: bytes, split: Split) -> None:
        """One more line of an open record."""
        inside = self._inside.match(line)
        assert inside
        self._lines.append(line)
        self._held += len(line)
        if inside.end() == len(line):
            if self._held > LOST_QUOTE * self._limit:
                self._resume(split)
            return
        rest = line[inside.end() + len(self._quote) :]
        ended = rest.rstrip(b"\r\n")
        if not ended or (ended.startswith(self._delimiter) and self._whole.fullmatch(ended[len(self._delimiter) :])):
            record, self._lines = b"".join(self._lines), []
            self._close(record, split)
        elif not (rest.startswith(self._delimiter) and self._open.fullmatch(rest[len(self._delimiter) :])):
            self._resume(split)

    def _resume(self, split: Split) -> None:
        """Give up on the open record at its last line: that one is read afresh, each before it is a record.

        A record that opened on one of those would come to the same end here, so they need no second look.
        """
        last = self._lines.pop()
        self._give_up(split)
        self._line(last, split)

    def _give_up(self, split: Split) -> None:
        """Each line of the open record is a record of its own."""
        lines, self._lines = self._lines, []
        for line in lines:
            self._close(line, split)

    def _close(self, record: bytes, split: Split) -> None:
        self._record(record.removesuffix(b"\n"), self._offset, split)
        self._offset += len(record)

    def _record(self, record: bytes, position: int, split: Split) -> None:
        record = record.removesuffix(b"\r")
        if record and not record.isspace():
            split.add(record, position, self._limit, "csv")
