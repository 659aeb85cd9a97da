"""Parse one JSON record, and refuse one that no parser should see: too deeply nested or with too many values."""

from __future__ import annotations

import json

import numpy as np

from contracts.refusal import ErrorCode, NotClean

__all__ = ["MAX_DEPTH", "SHALLOW", "Number", "parse_json", "shape_problem"]

MAX_DEPTH = 200
"""Levels of nested arrays and objects in one record."""
MAX_VALUES = 100_000
"""Fields and array elements of one record. This many take at most a second, whatever they are."""
SHALLOW = 2 * MAX_DEPTH
"""Bytes: shorter JSON cannot exceed MAX_DEPTH, since each level takes an opening and a closing bracket."""
OPENING, CLOSING = np.frombuffer(b"[{", dtype=np.uint8), np.frombuffer(b"]}", dtype=np.uint8)
NO_MARKS = bytes(set(range(256)) - set(b"[]{},"))


class Number(str):
    """A JSON number as text, so that no digit is lost before the type of its column is known."""

    __slots__ = ()


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_int=Number, parse_float=Number, parse_constant=_no_constant)


def parse_json(text: str) -> object:
    """Parse one JSON value. Numbers stay text (`Number`); the last of duplicate keys wins.

    Raises NotClean for text that is not JSON, is nested too deeply or has too many values.
    """
    if len(text) > SHALLOW and (problem := shape_problem(text.encode("utf-8", "surrogatepass"))):
        raise problem
    try:
        return _DECODER.decode(text)
    except ValueError as error:
        raise NotClean(ErrorCode.MALFORMED_JSON, str(error)) from None


def shape_problem(record: bytes) -> NotClean | None:
    """Return why no parser should see this JSON, or None: too deep for the stack, or too many values for the time.

    Takes at most half a second for 10 MB, and almost no time for a record with few brackets and commas.
    """
    opened = record.count(b"[") + record.count(b"{")
    if opened <= MAX_DEPTH and opened + record.count(b",") <= MAX_VALUES:
        return None
    bare = record.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2]  # the text outside strings
    marks = np.frombuffer(b"".join(bare).translate(None, NO_MARKS), dtype=np.uint8)
    opening, closing = np.isin(marks, OPENING), np.isin(marks, CLOSING)
    deepest = (opening.astype(np.int32) - closing).cumsum().max(initial=0)
    values = len(marks) - closing.sum()
    if deepest > MAX_DEPTH:
        return NotClean(ErrorCode.MALFORMED_JSON, f"the record is nested more than {MAX_DEPTH} levels deep")
    if values > MAX_VALUES:
        return NotClean(ErrorCode.RECORD_TOO_LARGE, f"the record has more than {MAX_VALUES} fields and array elements")
    return None
