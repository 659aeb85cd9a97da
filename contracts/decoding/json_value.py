"""The value of a JSON column: a part of a record as it is, in one canonical text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal

from contracts.decoding.json_text import Number, parse_json
from contracts.decoding.problems import wrong_type
from contracts.refusal import ErrorCode, NotClean

__all__ = ["canonical_json", "nested_json", "parse_nested"]

BLANKS = " \t\r\n"
WHOLE = re.compile(r"-?[0-9]+")
SHORT_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,6})\.[0-9]{1,7}")
"""Of numbers with a fraction those that a double holds so that its text is the same number."""
ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
STORED_INTEGERS = range(-(2**63), 2**64)
"""The integers that BigQuery stores in JSON as they are."""


def parse_nested(value: object, path: str) -> object:
    """Return the value of a RECORD or repeated column. Text (a CSV field, a string) is parsed as JSON.

    Raises NotClean for text that is not JSON.
    """
    if not isinstance(value, str) or isinstance(value, Number):
        return value
    try:
        return parse_json(value)
    except NotClean as problem:
        if problem.code is ErrorCode.RECORD_TOO_LARGE:
            raise
        raise wrong_type(path, value, "JSON") from None


def nested_json(value: object, path: str) -> object:
    """Return the JSON value of a column. A text (CSV, Parquet, a string) that begins with { or [ is parsed.

    Raises NotClean(wrong_type) if such a text is not JSON. Any other text is a JSON string.
    """
    if isinstance(value, str) and value.lstrip(BLANKS)[:1] not in ("{", "["):
        return value
    return parse_nested(value, path)


def canonical_json(value: object, path: str) -> str:
    """Return the JSON text of a value from parse_json: without blanks, keys in their order, each once.

    A number that neither 64 bits nor a double holds exactly becomes a string of its digits, because BigQuery would
    round it. Raises NotClean(invalid_encoding) for half of a surrogate pair.
    """
    text = ENCODER.encode(_plain(value))
    try:
        text.encode()
    except UnicodeEncodeError:
        raise NotClean(ErrorCode.INVALID_ENCODING, f"{path}: a lone surrogate is not text", path) from None
    return text


def _plain(value: object) -> object:
    kind = type(value)
    if kind is str or kind is bool or value is None:  # most values; the checks below take several times as long
        return value
    if isinstance(value, Number):
        return _number(value)
    if isinstance(value, (dict, Mapping)):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _number(text: Number) -> int | float | str:
    if len(text) <= 20 and WHOLE.fullmatch(text):
        number = int(text)
        if number in STORED_INTEGERS:
            return number
    double = float(text)
    if SHORT_DECIMAL.fullmatch(text):
        return double
    if double not in (float("inf"), float("-inf")) and Decimal(repr(double)) == Decimal(text):
        return double
    return str(text)
