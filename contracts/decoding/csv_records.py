"""Cut CSV into records (RFC 4180). A quoted field may contain line breaks, so a record may have several lines.

If the quoting of a record is broken, the record ends with its first line, and reading continues with the next line.
So a missing quote costs one record, not the rest of the file.
"""

from __future__ import annotations

import re

from contracts.decoding.records import NEXT_LINE, Split, mostly_blank_lines, too_large
from contracts.refusal import MAX_STORED_BYTES
from contracts.table import CsvDialect

__all__ = ["CsvRecords"]

UNTERMINATED = 4
"""A quoted field longer than this many times the record limit is treated as an unterminated quote."""


class CsvRecords:
    """Splitter of CSV in a dialect. Blank lines are skipped.

    It works on bytes, so the encoding must contain ASCII. `start` is the offset of the first byte in the file, `limit`
    the maximum size of a record; both in bytes.
    """

    def __init__(self, start: int, limit: int, dialect: CsvDialect) -> None:
        self._quote = dialect.quote.encode(dialect.encoding)
        delimiter, quote = re.escape(dialect.delimiter.encode(dialect.encoding)), re.escape(self._quote)
        # Possessive quantifiers (*+): a line is matched in one pass, however its quotes are broken.
        inside = rb"[^%b]*+(?:%b%b[^%b]*+)*+" % (quote, quote, quote, quote)
        bare = rb"(?:[^%b%b][^%b]*+)?" % (delimiter, quote, delimiter)
        if dialect.escape:
            escape = re.escape(dialect.escape.encode(dialect.encoding))
            inside = rb"(?:[^%b%b]++|%b.|%b%b)*+" % (quote, escape, escape, quote, quote)
            first = rb"(?:[^%b%b%b]|%b.)" % (delimiter, quote, escape, escape)
            further = rb"(?:[^%b%b]++|%b.)*+" % (delimiter, escape, escape)
            bare = rb"(?:%b%b)?" % (first, further)
        self._comment = dialect.comment.encode(dialect.encoding)
        self._escape = dialect.escape.encode(dialect.encoding)
        value = rb"(?:%b%b%b|%b)" % (quote, inside, quote, bare)
        self._whole = re.compile(rb"%b(?:%b%b)*+\r?" % (value, delimiter, value), re.DOTALL)
        self._open = re.compile(rb"(?:%b%b)*+%b%b" % (value, delimiter, quote, inside), re.DOTALL)
        self._inside = re.compile(inside, re.DOTALL)
        self._delimiter = dialect.delimiter.encode(dialect.encoding)
        self._buffer = b""
        self._offset = start
        self._limit = limit
        self._lines: list[bytes] = []
        """The lines, with their line ends, of a record whose quoted field is still open."""
        self._open_size = 0
        """The size of `_lines` in bytes."""
        self._dropped = 0
        """How many bytes of an overlong line have been dropped; `_head` has the first of them."""
        self._head = b""
        self._dropped_cr = False
        """Whether the dropped bytes end with a carriage return."""

    def feed(self, data: bytes) -> Split:
        split = Split()
        self._buffer += data
        cut = self._buffer.rfind(b"\n") + 1
        body, self._buffer = self._buffer[:cut], self._buffer[cut:]
        if body:
            self._take(body, split)
        if len(self._buffer) > self._limit + 1:  # too long even without a final \r: keep the head, count the rest
            self._head += self._buffer[: MAX_STORED_BYTES - len(self._head)]
            self._dropped += len(self._buffer)
            self._dropped_cr = self._buffer.endswith(b"\r")
            self._buffer = b""
        return split

    def end(self) -> Split:
        split = Split()
        if self._buffer or self._dropped:
            self._line(self._buffer, split)
            self._buffer = b""
        self._give_up(split)  # the file ends inside a quoted field
        return split

    def _take(self, body: bytes, split: Split) -> None:
        if not self._lines and not self._dropped and self._quote not in body:
            position = self._offset
            if mostly_blank_lines(body):
                for match in NEXT_LINE.finditer(body):
                    self._record(match[1], position + match.start(1), split)
                self._offset += len(body)
                return
            for line in body.removesuffix(b"\n").split(b"\n"):
                self._record(line, position, split)
                position += len(line) + 1
            self._offset += len(body)
            return
        for line in body.splitlines(keepends=True) if b"\r" not in body else re.findall(rb"[^\n]*\n|[^\n]+", body):
            self._line(line, split)

    def _line(self, line: bytes, split: Split) -> None:
        if self._dropped or len(line) > self._limit:
            dropped, head, self._dropped, self._head = self._dropped, self._head, 0, b""
            bare = line.removesuffix(b"\n").removesuffix(b"\r")
            # A line end `\r\n` may arrive in two pieces. The `\r` was then counted with the dropped bytes.
            split_end = bool(dropped and self._dropped_cr and line in (b"", b"\n"))
            size = dropped + len(bare) - split_end
            if size > self._limit:
                self._give_up(split)  # no record continues across an overlong line
                kept = (head + bare)[: min(size, MAX_STORED_BYTES)]
                split.refusals.append(too_large(kept, self._offset, size, self._limit, "csv"))
                self._offset += dropped + len(line)
                return
        if self._lines:
            self._continue(line, split)
        elif self._comment and line.startswith(self._comment):
            self._offset += len(line)
        elif self._quote not in line or self._whole.fullmatch(line.rstrip(b"\n")):
            self._close(line, split)
        elif self._open.fullmatch(line):
            self._lines, self._open_size = [line], len(line)
        else:
            self._close(line, split)  # broken quoting: the decoder refuses the record

    def _continue(self, line: bytes, split: Split) -> None:
        """Add a line to the open record, and close the record if its last quoted field ends here."""
        inside = self._inside.match(line)
        assert inside
        self._lines.append(line)
        self._open_size += len(line)
        if inside.end() == len(line):
            if self._open_size > UNTERMINATED * self._limit:
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
        """Give up the open record: each of its lines becomes a record, and its last line is read as a new start.

        Only the last line can start a record that goes on. A record that started on an earlier one would contain the
        same bytes up to here, and would break at the same place.
        """
        last = self._lines.pop()
        self._give_up(split)
        self._line(last, split)

    def _give_up(self, split: Split) -> None:
        """Turn each line of the open record into a record."""
        lines, self._lines = self._lines, []
        for line in lines:
            self._close(line, split)

    def _close(self, record: bytes, split: Split) -> None:
        self._record(record.removesuffix(b"\n"), self._offset, split)
        self._offset += len(record)

    def _record(self, record: bytes, position: int, split: Split) -> None:
        record = record.removesuffix(b"\r")
        if record and not record.isspace() and not (self._comment and record.startswith(self._comment)):
            split.add(record, position, self._limit, "csv")
