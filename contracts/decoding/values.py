"""The rules for one value, as the contract states them.

The decoder reads whole columns at once (columns.py) and accepts what is certainly clean. Every record that it does not
accept is validated here, value by value. So these functions define the rules, and those in columns.py are a fast path
for a subset; a property test compares the two.
"""

from __future__ import annotations

import base64
import math
import operator
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation

from contracts.decoding.json_text import Number
from contracts.decoding.json_value import canonical_json, nested_json, parse_nested
from contracts.decoding.moments import NUMBER, read_date, read_datetime, read_time, read_timestamp
from contracts.decoding.problems import invalid, quoted, wrong_type
from contracts.patterns import EMAIL, MAX_MATCHED_BYTES, matches
from contracts.refusal import ErrorCode, NotClean
from contracts.table import Column, Kind

__all__ = ["EARLIEST_PARTITION", "latest_partition", "validate_value", "value_at"]

EARLIEST_PARTITION = datetime(1960, 1, 1, tzinfo=UTC)
"""The first day that BigQuery has a partition for: rows of earlier days would all be in one partition without a day."""

SPECIAL_NUMBER = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
BOOLEANS = {
    word: value for value, words in ((True, "true t yes y 1"), (False, "false f no n 0")) for word in words.split()
}
INT64 = range(-(2**63), 2**63)
NUMERIC_DIGITS, NUMERIC_SCALE = 38, 9
BIGNUMERIC_DIGITS, BIGNUMERIC_SCALE = 76, 38
NINE_DECIMALS = Decimal("1e-9")
EXACT = Context(prec=160)


def validate_value(column: Column, value: object, path: str = "", today: date | None = None) -> object:
    """Return `value` as the type of `column`, after all rules of the column have been checked.

    `value` comes from parse_json (JSON) or is a text (CSV); None is null. Strings become `str`, INTEGER `int`,
    NUMERIC `Decimal` with 9 decimals, TIMESTAMP an aware `datetime` in UTC, DATETIME a naive one, BYTES `bytes`,
    BIGNUMERIC, TIME and JSON their canonical text, RECORD a `dict` by column name, a repeated column a `list`. `today`
    bounds a partition column; pass it for that column only. `path` is the path of the value in messages. Raises
    NotClean: missing_required, wrong_type or invalid_value.
    """
    path = path or column.name
    if column.repeated:
        return _repeated(column, value, path)
    if value is None:
        if column.required:
            raise NotClean(ErrorCode.MISSING_REQUIRED, f"{path}: a value is required", path)
        return None
    typed = _READERS[column.kind](column, value, path)
    if column.required and isinstance(typed, str) and not typed.strip():
        raise NotClean(ErrorCode.MISSING_REQUIRED, f"{path}: a value is required", path)
    check(column, typed, path)
    if today is not None:
        _check_partition(typed, path, today)
    return typed


def check(column: Column, value: object, path: str) -> None:
    """Check a typed value against the rules of the column. Raises NotClean(invalid_value) with the broken rule."""
    if column.enum and str(value) not in column.enum:
        raise invalid(path, value, f"is not one of {', '.join(column.enum)}")
    if isinstance(value, str):
        _check_text(column, value, path)
    elif isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        check_number(column, value, path)
    elif isinstance(value, date):
        if column.earliest is not None and value < bound(column, column.earliest):
            raise invalid(path, value, f"is before {column.earliest}")
        if column.latest is not None and value > bound(column, column.latest):
            raise invalid(path, value, f"is after {column.latest}")


def _check_text(column: Column, value: str, path: str) -> None:
    if column.min_length is not None and len(value) < column.min_length:
        raise invalid(path, value, f"is shorter than {column.min_length} characters")
    if column.max_length is not None and len(value) > column.max_length:
        raise invalid(path, value, f"is longer than {column.max_length} characters")
    if column.pattern is not None:
        if len(value.encode()) > MAX_MATCHED_BYTES:
            raise invalid(
                path, value, f"is longer than {MAX_MATCHED_BYTES} bytes, the limit of a column with a pattern"
            )
        if not matches(column.pattern, value):
            raise invalid(path, value, f"does not match the pattern {column.pattern}")
    if column.email and not matches(EMAIL, value):
        raise invalid(path, value, "is not an e-mail address")


def check_number(column: Column, value: int | float | Decimal, path: str) -> None:
    """Check a number against the bounds of the column. Raises NotClean(invalid_value) with the broken rule."""
    rules = (
        (column.minimum, operator.lt, "is less than"),
        (column.maximum, operator.gt, "is greater than"),
        (column.exclusive_minimum, operator.le, "is not greater than"),
        (column.exclusive_maximum, operator.ge, "is not less than"),
    )
    for limit, breaks, problem in rules:
        # as a double too, 0.1 is within a maximum of 0.1
        if limit is not None and breaks(value, float(limit) if isinstance(value, float) else limit):
            raise invalid(path, value, f"{problem} {limit}")
    if column.multiple_of is not None and EXACT.remainder(Decimal(value), column.multiple_of):
        raise invalid(path, value, f"is not a multiple of {column.multiple_of}")


def bound(column: Column, text: str) -> date:
    """Return the lower or upper bound of a date or time, which the contract states in ISO 8601, as a value."""
    value = _READERS[column.kind](Column(column.name, column.kind), text, column.name)
    assert isinstance(value, date)
    return value


def latest_partition(today: date) -> datetime:
    """Return the first instant that is too late for a partition column. Tomorrow is the last day allowed."""
    return datetime(today.year, today.month, today.day, tzinfo=UTC) + timedelta(days=2)


def _check_partition(value: object, path: str, today: date) -> None:
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    assert isinstance(value, datetime)
    value = value if value.tzinfo else value.replace(tzinfo=UTC)
    if not EARLIEST_PARTITION <= value < latest_partition(today):
        message = f"{path}: {quoted(value)} is not between 1960-01-01 and tomorrow"
        raise NotClean(ErrorCode.INVALID_VALUE, message, path)


def _repeated(column: Column, value: object, path: str) -> list[object]:
    value = parse_nested(value, path)
    if value is None or value == []:
        if column.required:
            raise NotClean(ErrorCode.MISSING_REQUIRED, f"{path}: a value is required", path)
        return []
    if not isinstance(value, list):
        raise wrong_type(path, value, "an array")
    if None in value:  # an array in BigQuery cannot contain null
        index = value.index(None)
        raise NotClean(ErrorCode.MISSING_REQUIRED, f"{path}[{index}] is null", f"{path}[{index}]")
    element = column.element
    return [validate_value(element, item, f"{path}[{index}]") for index, item in enumerate(value)]


def _record(column: Column, value: object, path: str) -> dict[str, object]:
    value = parse_nested(value, path)
    if not isinstance(value, Mapping):
        raise wrong_type(path, value, "an object")
    return {
        field.name: validate_value(field, value_at(value, field.path), f"{path}.{field.name}")
        for field in column.fields
    }


def value_at(record: Mapping[str, object], path: tuple[str, ...]) -> object:
    """Return the value at `path`, or None if a step of the path is missing or null."""
    value: object = record
    for step in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(step)
    return value


def _string(_column: Column, value: object, path: str) -> str:
    if isinstance(value, Number):
        if not re.fullmatch(r"-?[0-9]+", value):
            raise wrong_type(path, value, "a string")
        return str(value)
    if not isinstance(value, str):
        raise wrong_type(path, value, "a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise NotClean(ErrorCode.INVALID_ENCODING, f"{path}: a lone surrogate is not text", path) from None
    return value


def _decimal(column: Column, value: object, path: str, wanted: str) -> Decimal:
    """The exact value of a number or its text; NaN, Infinity and what no number can hold are invalid_value."""
    if column.number_format and isinstance(value, str) and not isinstance(value, Number):
        plain = column.number_format.plain(value)
        if plain is None:
            raise wrong_type(path, value, f"{wanted} in the numberFormat of the column")
        value = plain
    if not isinstance(value, str):
        raise wrong_type(path, value, wanted)
    if not isinstance(value, Number) and SPECIAL_NUMBER.fullmatch(value):
        raise NotClean(ErrorCode.INVALID_VALUE, f"{path}: {value} is not a finite number", path)
    if not NUMBER.fullmatch(value):
        raise wrong_type(path, value, wanted)
    return Decimal(value)


def _integer(column: Column, value: object, path: str) -> int:
    number = _decimal(column, value, path, "an integer")
    if number and number.adjusted() > 30:
        raise NotClean(ErrorCode.INVALID_VALUE, f"{path}: {quoted(value)} does not fit 64 bits", path)
    if number != number.to_integral_value(context=EXACT):
        raise wrong_type(path, value, "an integer")
    if int(number) not in INT64:
        raise NotClean(ErrorCode.INVALID_VALUE, f"{path}: {quoted(value)} does not fit 64 bits", path)
    return int(number)


def _numeric(column: Column, value: object, path: str) -> Decimal:
    precision, scale = (column.precision, column.scale) if column.precision else (NUMERIC_DIGITS, NUMERIC_SCALE)
    name = f"NUMERIC({precision}, {scale})" if column.precision else "NUMERIC (29 + 9 digits)"
    return _rounded(_decimal(column, value, path, "a number"), precision, scale, path, value, name).quantize(
        NINE_DECIMALS, context=EXACT
    )


def _bignumeric(column: Column, value: object, path: str) -> str:
    precision, scale = (column.precision, column.scale) if column.precision else (BIGNUMERIC_DIGITS, BIGNUMERIC_SCALE)
    name = f"BIGNUMERIC({precision}, {scale})" if column.precision else "BIGNUMERIC (38 + 38 digits)"
    number = _rounded(_decimal(column, value, path, "a number"), precision, scale, path, value, name)
    check_number(column, number, path)
    return format(number, "f")


def _rounded(number: Decimal, precision: int, scale: int, path: str, value: object, name: str) -> Decimal:
    """Return the number rounded half away from zero to `scale` decimals. Raises NotClean if it has too many digits."""
    too_large = NotClean(ErrorCode.INVALID_VALUE, f"{path}: {quoted(value)} does not fit {name}", path)
    if number and number.adjusted() > precision - scale:
        raise too_large
    step = Decimal(1).scaleb(-scale)
    if number and number.adjusted() < -scale - 3:
        return step * 0
    try:
        rounded = number.quantize(
            step, rounding=ROUND_HALF_UP, context=Context(prec=max(160, len(number.as_tuple().digits) + 40))
        )
    except InvalidOperation:
        raise too_large from None
    if rounded.copy_abs() >= Decimal(1).scaleb(precision - scale):  # abs() would round to the context's precision
        raise too_large
    return rounded if rounded else rounded.copy_abs()


def _float(column: Column, value: object, path: str) -> float:
    number = float(_decimal(column, value, path, "a number"))
    if not math.isfinite(number):
        raise NotClean(ErrorCode.INVALID_VALUE, f"{path}: {quoted(value)} is not a finite number", path)
    return number


def _boolean(_column: Column, value: object, path: str) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and not isinstance(value, Number) and value.lower() in BOOLEANS:
        return BOOLEANS[value.lower()]
    raise wrong_type(path, value, "a boolean")


def _bytes(_column: Column, value: object, path: str) -> bytes:
    if not isinstance(value, str) or isinstance(value, Number):
        raise wrong_type(path, value, "bytes in base64")
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:  # also for text that is not ASCII
        raise wrong_type(path, value, "bytes in base64") from None


def _json(_column: Column, value: object, path: str) -> str:
    return canonical_json(nested_json(value, path), path)


_READERS: dict[Kind, Callable[[Column, object, str], object]] = {
    Kind.STRING: _string,
    Kind.INTEGER: _integer,
    Kind.NUMERIC: _numeric,
    Kind.BIGNUMERIC: _bignumeric,
    Kind.FLOAT: _float,
    Kind.BOOLEAN: _boolean,
    Kind.BYTES: _bytes,
    Kind.TIMESTAMP: read_timestamp,
    Kind.DATE: read_date,
    Kind.DATETIME: read_datetime,
    Kind.TIME: read_time,
    Kind.JSON: _json,
    Kind.RECORD: _record,
}
