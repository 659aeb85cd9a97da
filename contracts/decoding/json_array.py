"""Cut JSON documents into records: the elements of an array, and objects that follow one another."""

from __future__ import annotations

import re

from contracts.decoding.json_records import OverlongRecord
from contracts.decoding.records import Split

__all__ = ["JsonArray", "JsonDocuments"]

QUOTE, COMMA, OPENING, ARRAY = ord('"'), ord(","), b"[{", ord("[")
SEPARATOR = 0x1E
"""Begins each document of a JSON text sequence (RFC 7464). No JSON contains it."""
BLANKS, BEFORE_OPENING = b" \t\r\n", b"[{,:"
"""White space, and the bytes behind which an opening bracket does not begin another document."""
_STRING = rb'"(?:[^"\\\n]++|\\[^\n])*+"|"'
"""A string, or a single quote if the string is not closed on its line."""


def _tokens(string: bytes, marks: bytes) -> re.Pattern[bytes]:
    """Return what matches the text before a token, and the token as its group: a string, brackets or one of `marks`.

    To skip that text in one step is faster than to search for the token.
    """
    runs = b"".join(b"|%b+" % marks[at : at + 1] for at in range(len(marks)))
    return re.compile(rb"[^%b\[{\]}%b]*+(%b[\[{]+|[\]}]+%b)" % (string[:1], marks, string, runs))


def _levels(marks: bytes) -> tuple[tuple[re.Pattern[bytes], ...], tuple[re.Pattern[bytes], ...]]:
    """Return the tokens between records and inside one, where commas do not separate records.

    Each is a pair: the tokens of a text, and those of one whose quotes are stray ones.
    """
    strings = _STRING + b"|", b""
    shallow, deep = ([_tokens(string, each) for string in strings] for each in (b"," + marks, marks))
    return tuple(shallow), tuple(deep)


_IN_STRING = re.compile(rb'(?:[^"\\\n]++|\\[^\n])*+')


class JsonArray:
    """Splitter of one JSON array: its elements are the records. Everything after the array becomes one record.

    A string that is not closed on its line is treated as a stray quote, and the text after the quote is read as if the
    quote were not there. But a string of more than `limit` bytes counts as a string, closed or not. `start` is the
    offset of the first byte in the file, `limit` the maximum size of an element; both in bytes. Every byte is read at
    most twice, and the memory is bounded by twice the limit and one piece.
    """

    _several = False
    """Whether other documents may follow the array."""
    _shallow, _deep = _levels(b"")

    def __init__(self, start: int, limit: int) -> None:
        self._buffer = b""
        self._offset = start
        """Offset in the file of the first byte of `_buffer`."""
        self._scan = 0
        """How much of the buffer has been read."""
        self._string: int | None = None
        """Start in the buffer of the open string, if there is one; negative if its first bytes have been dropped."""
        self._unquoted = 0
        """Quotes up to this place in the buffer are stray ones."""
        self._element = 0
        """Start of the current element in the buffer."""
        self._depth = 0
        self._level = 0
        """The depth between two records: 1 in an array, else 0."""
        self._before = b""
        """The last byte of the current element that is no longer in the buffer, without blanks."""
        self._over = False
        self._limit = limit
        self._overlong: OverlongRecord | None = None

    def feed(self, data: bytes) -> Split:
        held = self._buffer
        if self._depth == self._level and not self._overlong and (not held or held.isspace()) and data.isspace():
            self._offset += len(held) + len(data)
            self._buffer, self._scan, self._unquoted = b"", 0, 0
            return Split()
        return self._read(data, last=False)

    def end(self) -> Split:
        split = self._read(b"", last=True)
        if self._overlong or self._buffer[self._element :].strip():
            self._emit(len(self._buffer), split)
        return split

    @property
    def unclosed(self) -> int | None:
        """Offset at which the data ended, if that was between two elements; else None.

        Such a file is truncated, and no refused element shows it.
        """
        return self._offset + len(self._buffer) if self._depth == self._level == 1 else None

    @property
    def rest(self) -> tuple[int, bytes] | None:
        """Offset and bytes of what follows the array, None before its end."""
        return (self._offset + self._element, self._buffer[self._element :]) if self._over else None

    def _read(self, data: bytes, last: bool) -> Split:
        split = Split()
        self._buffer += data
        while not self._over:
            if self._string is not None:
                if not self._end_string(self._string, last):
                    break
            elif not self._tokens(split):
                break
        self._forget()
        return split

    def _tokens(self, split: Split) -> bool:
        """Read tokens up to an open string, the place where quotes count again, or the end of the array.

        Returns False at the end of the buffer.
        """
        buffer, scan, depth, level = self._buffer, self._scan, self._depth, self._level
        unquoted = scan < self._unquoted
        end = self._unquoted if unquoted else len(buffer)
        shallow, deep, several = self._shallow[unquoted], self._deep[unquoted], self._several
        while match := (shallow if depth <= level else deep).match(buffer, scan, end):
            start, scan = match.span(1)
            first, length = buffer[start], scan - start
            if first == QUOTE:
                if length == 1:
                    self._string = start
                    break
            elif first in OPENING:
                if depth == 0 or several:
                    depth, level = self._opened(start, depth, level, split)
                depth += length
            elif first == COMMA:
                if depth == level:
                    self._emit(start, split)
                    self._element = scan
            elif first == SEPARATOR:
                self._emit(start, split)
                self._element, depth, level = scan, 0, 0
            elif length < depth:
                depth -= length
            elif depth:
                scan = start + depth  # what follows the document is read as another one, or not at all
                self._emit(scan - level, split)
                self._element, self._over, depth, level = scan, not several, 0, 0
                if self._over:
                    break
        else:
            scan = end
        self._scan, self._depth, self._level = scan, depth, level
        return scan < len(buffer) or self._string is not None

    def _opened(self, start: int, depth: int, level: int, split: Split) -> tuple[int, int]:
        """Return the depth and the level at an opening bracket, without the bracket; begin a document if it does."""
        if depth and not self._begins_anew(start, between=depth == level):
            return depth, level
        if self._several:
            self._emit(start, split)  # what is no document, or is not closed
        level = int(self._buffer[start] == ARRAY)
        self._element = start + level
        return 0, level

    def _begins_anew(self, start: int, between: bool) -> bool:
        """Whether an opening bracket cannot be part of the document, so that a closing one is missing before it.

        Between two elements of an array a comma may be missing instead, unless it is another array.
        """
        buffer = self._buffer
        if between and buffer[start] != ARRAY:
            return False
        at = start
        while at > self._element and buffer[at - 1] in BLANKS:
            at -= 1
        before = buffer[at - 1 : at] if at > self._element else self._before
        return before not in BEFORE_OPENING

    def _end_string(self, start: int, last: bool) -> bool:
        """Skip the string that began at `start`, or only its quote if it is a stray one.

        Returns False if the end of the string has not arrived yet.
        """
        match = _IN_STRING.match(self._buffer, self._scan)
        assert match
        self._scan = end = match.end()
        closed = self._buffer[end : end + 1] == b'"'
        broken = self._buffer[end : end + 1] == b"\n" or self._buffer[end : end + 2] == b"\\\n"
        if not closed and not broken and not last:
            return False
        self._string = None
        if closed:
            self._scan = end + 1
        elif end - start <= self._limit:  # read the text after the quote again; no quote in it would be closed either
            self._scan, self._unquoted = start + 1, end if broken else len(self._buffer)
        elif not broken:
            self._scan = len(self._buffer)
        return True

    def _emit(self, end: int, split: Split) -> None:
        raw, self._before = self._buffer[self._element : end], b""
        if self._overlong:
            element, self._overlong = self._overlong, None
            element.grow(raw)
            split.refusals.append(element.refusal(self._limit, drop=element.blank))
        elif raw.strip():
            position = self._offset + self._element + len(raw) - len(raw.lstrip())
            split.add(raw.strip(), position, self._limit, "json")

    def _forget(self) -> None:
        """Drop what has been read from the buffer. Of an element over the limit keep only the first bytes."""
        scanned = len(self._buffer) if self._over else self._scan
        if self._string is not None and self._scan - self._string <= self._limit:
            scanned = self._string  # it may have to be read again
        if not self._over and scanned - self._element > self._limit:
            raw = self._buffer[self._element : scanned]
            begin = 0 if self._overlong else len(raw) - len(raw.lstrip())
            self._before = raw.rstrip()[-1:] or self._before
            if self._overlong:
                self._overlong.grow(raw)
                self._element = scanned
            elif len(raw.strip()) > self._limit and (self._depth or self._several):
                self._overlong = OverlongRecord(raw[begin:], self._offset + self._element + begin)
                self._element = scanned
            elif begin == len(raw):
                self._element = scanned
        dropped, self._element = self._element, 0
        self._buffer = self._buffer[dropped:]
        self._offset += dropped
        self._scan = max(self._scan - dropped, 0)
        self._unquoted = max(self._unquoted - dropped, 0)
        if self._string is not None:
            self._string -= dropped


class JsonDocuments(JsonArray):
    """Splitter of JSON documents, one behind the other: objects are records, and of an array its elements.

    White space, commas and the separators of RFC 7464 may stand between them. A document that is not closed ends where
    a bracket opens that cannot be part of it. Other text between two documents is a record that is no JSON.
    """

    _several = True
    _shallow, _deep = _levels(b"\x1e")
