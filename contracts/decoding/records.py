"""Cut a stream of bytes into records: what the splitters of all formats share.

A splitter receives the pieces of a file, in order and of any size. It returns complete records with the offset of
their first byte. A record over the size limit becomes a refusal that keeps its first bytes, and reading continues
after it. The splitters are in csv_records.py, json_records.py (lines) and json_array.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from contracts.refusal import MAX_STORED_BYTES, ErrorCode, Refusal

__all__ = ["NEXT_LINE", "Fields", "Split", "Splitter", "mostly_blank_lines", "splits", "too_large"]

NEXT_LINE = re.compile(rb"(?:[ \t\r\v\f]*+\n)*+([^\n]*+)")
"""The next line that is not blank, with the blank lines before it. Only the last match may be a blank line.

The pattern matches at every position on purpose: one that can fail would be tried again at every byte."""


Fields = Mapping[str, "Fields | None"]
"""Names of fields as the file spells them, each with its nested fields, or None if it has none."""


@dataclass(slots=True)
class Split:
    """Complete records, the offset of the first byte of each, and the refused records.

    `records` and `positions` have the same length. `fields` is set in the first Split of a Parquet file: the names
    in its schema.
    """

    records: list[bytes] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    fields: Fields | None = None

    def add(self, raw: bytes, position: int, limit: int, format: str) -> None:
        """Add one record, as a refusal if it has more than `limit` bytes."""
        if len(raw) > limit:
            self.refusals.append(too_large(raw[:MAX_STORED_BYTES], position, len(raw), limit, format))
        else:
            self.records.append(raw)
            self.positions.append(position)


def mostly_blank_lines(body: bytes) -> bool:
    """Return whether lines are so short that most may be blank. Then NEXT_LINE is faster than a list of all lines."""
    return body.count(b"\n") * 4 > len(body)


class Splitter(Protocol):
    """Cuts a stream of bytes into records."""

    def feed(self, data: bytes) -> Split:
        """Receive the next bytes; return the records that they complete."""
        ...

    def end(self) -> Split:
        """Receive the end of the stream; return the remaining records."""
        ...


def splits(pieces: Iterable[bytes], splitter: Splitter) -> Iterator[Split]:
    """Feed the pieces of a file to a splitter and yield its results, the last one from `end`."""
    for piece in pieces:
        yield splitter.feed(piece)
    yield splitter.end()


def too_large(head: bytes, position: int, size: int, limit: int, format: str) -> Refusal:
    """Return the refusal of a record of `size` bytes; `head` holds the first bytes, which are stored."""
    message = f"the record has {size} bytes; the limit is {limit}"
    return Refusal(position, head, ErrorCode.RECORD_TOO_LARGE, message, size=size, attributes={"format": format})
