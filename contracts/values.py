"""The rules for one value, as the specification states them: the judge of every record that is not plainly clean.

The decoder reads whole columns at once (columns.py) and accepts what is plainly clean; whatever it does
not accept comes here, value by value. So these functions are the rule and those in columns.py are a fast
way to a subset of it; a property test holds the two together.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation

from contracts.refusal import ErrorCode, NotClean
from contracts.table import Column, Kind

__all__ = ["EARLIEST_PARTITION", "Number", "convert", "latest_partition", "parse_json"]

EARLIEST_PARTITION = datetime(2000, 1, 1, tzinfo=UTC)
"""No partition lies before this day: one stray date can make the warehouse refuse a whole load."""

EMAIL = re.compile(r"[^@\s\x1c-\x1f]+@[^@\s\x1c-\x1f.]+(\.[^@\s\x1c-\x1f.]+)+")
NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,9})?")
SPECIAL_NUMBER = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
TIMESTAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)"
    r"(Z|[+-][0-9]{2}(?::?[0-9]{2})?)?"
)
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
BOOLEANS = {
    word: value for value, words in ((True, "true t yes y 1"), (False, "false f no n 0")) for word in words.split()
}
MAX_DEPTH = 200
BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
INT64 = range(-(2**63), 2**63)
NUMERIC_STEP = Decimal("1e-9")
NUMERIC_LIMIT = Decimal(10) ** 29
EXACT = Context(prec=80)


class Number(str):
    """A JSON number as its text, so that no digit is lost before the column's type is known."""

    __slots__ = ()


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_int=Number, parse_float=Number, parse_constant=_no_constant)


def parse_json(text: str) -> object:
    """Read one JSON value; numbers stay text (`Number`), of a repeated key the last counts. NotClean if it is none."""
    if too_deep(text):
        raise NotClean(ErrorCode.MALFORMED_JSON, f"nested more than {MAX_DEPTH} deep")
    try:
        return _DECODER.decode(text)
    except ValueError as error:
        raise NotClean(ErrorCode.MALFORMED_JSON, str(error)) from None


def too_deep(text: str) -> bool:
    """Whether JSON is nested more than MAX_DEPTH deep. What a parser's stack allows depends on who calls it."""
    if len(text) <= MAX_DEPTH or text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    depth = 0
    for token in BRACKET.finditer(text):
        if token[0] in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif token[0] in "]}":
            depth -= 1
    return False


def convert(column: Column, value: object, path: str = "", today: date | None = None) -> object:
    """The typed value of `value` under `column`, or NotClean with the code that the specification gives.

    `value` comes from parse_json (JSON) or is a text (CSV); None is null. Strings become `str`, INTEGER `int`,
    NUMERIC `Decimal` with 9 decimals, TIMESTAMP an aware `datetime` in UTC, RECORD a `dict` by column name.
    `today` bounds a partition column; it is given for that column only.
    """
    path = path or column.name
    if column.repeated:
        return _repeated(column, value, path)
    if value is None:
        if column.required:
            raise NotClean(ErrorCode.MISSING_REQUIRED, f"{path} is required", path)
        return None
    typed = _READERS[column.kind](column, value, path)
    if column.required and isinstance(typed, str) and not typed.strip():
        raise NotClean(ErrorCode.MISSING_REQUIRED, f"{path} is required", path)
    check(column, typed, path)
    if today is not None:
        _check_partition(typed, path, today)
    return typed


def check(column: Column, value: object, path: str) -> None:
    """Hold a typed value against the column's rules; NotClean(invalid_value) names the one it breaks."""

    def broken(rule: str) -> NotClean:
        return NotClean(ErrorCode.INVALID_VALUE, f"{path}: {_shown(value)} {rule}", path)

    if column.enum and str(value) not in column.enum:
        raise broken(f"is not one of {', '.join(column.enum)}")
    if isinstance(value, str):
        if column.min_length is not None and len(value) < column.min_length:
            raise broken(f"is shorter than {column.min_length}")
        if column.max_length is not None and len(value) > column.max_length:
            raise broken(f"is longer than {column.max_length}")
        if column.pattern is not None and not re.search(column.pattern, value):
            raise broken(f"does not match {column.pattern}")
        if column.email and not EMAIL.fullmatch(value):
            raise broken("does not look like an e-mail address")
    elif isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        exact = float if isinstance(value, float) else Decimal  # 0.1 keeps a maximum of 0.1, as a double too
        if column.minimum is not None and value < exact(column.minimum):
            raise broken(f"is less than {column.minimum}")
        if column.maximum is not None and value > exact(column.maximum):
            raise broken(f"is greater than {column.maximum}")
        if column.exclusive_minimum is not None and value <= exact(column.exclusive_minimum):
            raise broken(f"is not greater than {column.exclusive_minimum}")
        if column.exclusive_maximum is not None and value >= exact(column.exclusive_maximum):
            raise broken(f"is not less than {column.exclusive_maximum}")
    elif isinstance(value, date):
        if column.earliest is not None and value < bound(column, column.earliest):
            raise broken(f"is before {column.earliest}")
        if column.latest is not None and value > bound(column, column.latest):
            raise broken(f"is after {column.latest}")


def bound(column: Column, text: str) -> date:
    """A contract's lower or upper bound of a DATE or TIMESTAMP column as a value of that type."""
    value = _date(column, text, column.name) if column.kind is Kind.DATE else _timestamp(column, text, column.name)
    assert isinstance(value, date)
    return value


def latest_partition(today: date) -> datetime:
    """The first instant that is too late for a partition column: tomorrow is the last day allowed."""
    return datetime(today.year, today.month, today.day, tzinfo=UTC) + timedelta(days=2)


def _check_partition(value: object, path: str, today: date) -> None:
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    assert isinstance(value, datetime)
    if not EARLIEST_PARTITION <= value < latest_partition(today):
        message = f"{path}: {_shown(value)} is not between 2000-01-01 and tomorrow"
        raise NotClean(ErrorCode.INVALID_VALUE, message, path)


def _repeated(column: Column, value: object, path: str) -> list[object]:
    if isinstance(value, str) and not isinstance(value, Number):
        value = _nested_text(value, path)
    if value is None or value == []:
        if column.required:
            raise NotClean(ErrorCode.MISSING_REQUIRED, f"{path} is required", path)
        return []
    if not isinstance(value, list):
        raise _wrong_type(path, value, "an array")
    if None in value:  # BigQuery's arrays hold no null
        index = value.index(None)
        raise NotClean(ErrorCode.MISSING_REQUIRED, f"{path}[{index}] is null", f"{path}[{index}]")
    element = column.element
    return [convert(element, item, f"{path}[{index}]") for index, item in enumerate(value)]


def _record(column: Column, value: object, path: str) -> dict[str, object]:
    if isinstance(value, str) and not isinstance(value, Number):
        value = _nested_text(value, path)
    if not isinstance(value, Mapping):
        raise _wrong_type(path, value, "an object")
    return {field.name: convert(field, find(value, field.path), f"{path}.{field.name}") for field in column.fields}


def find(record: Mapping[str, object], path: tuple[str, ...]) -> object:
    """The value at `path`, None where a step of it is absent or null."""
    value: object = record
    for step in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(step)
    return value


def _nested_text(value: str, path: str) -> object:
    """A nested value inside a CSV field, written as JSON."""
    try:
        return parse_json(value)
    except NotClean:
        raise _wrong_type(path, value, "JSON") from None


def _string(column: Column, value: object, path: str) -> str:
    if isinstance(value, Number):
        if not re.fullmatch(r"-?[0-9]+", value):
            raise _wrong_type(path, value, "a string")
        return str(value)
    if not isinstance(value, str):
        raise _wrong_type(path, value, "a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise NotClean(ErrorCode.INVALID_ENCODING, f"{path}: a lone surrogate is not text", path) from None
    return value


def _decimal(value: object, path: str, wanted: str) -> Decimal:
    """The exact value of a number or its text; NaN, Infinity and what no number can hold are invalid_value."""
    if not isinstance(value, str):
        raise _wrong_type(path, value, wanted)
    if not isinstance(value, Number) and SPECIAL_NUMBER.fullmatch(value):
        raise NotClean(ErrorCode.INVALID_VALUE, f"{path}: {value} is not a finite number", path)
    if not NUMBER.fullmatch(value):
        raise _wrong_type(path, value, wanted)
    return Decimal(value)


def _integer(column: Column, value: object, path: str) -> int:
    number = _decimal(value, path, "an integer")
    if number and number.adjusted() > 30:
        raise NotClean(ErrorCode.INVALID_VALUE, f"{path}: {_shown(value)} does not fit 64 bits", path)
    if number != number.to_integral_value(context=EXACT):
        raise _wrong_type(path, value, "an integer")
    if int(number) not in INT64:
        raise NotClean(ErrorCode.INVALID_VALUE, f"{path}: {_shown(value)} does not fit 64 bits", path)
    return int(number)


def _numeric(column: Column, value: object, path: str) -> Decimal:
    number = _decimal(value, path, "a number")
    too_large = NotClean(ErrorCode.INVALID_VALUE, f"{path}: {_shown(value)} does not fit NUMERIC (29 + 9 digits)", path)
    if number and number.adjusted() > 29:
        raise too_large
    if number and number.adjusted() < -12:
        return Decimal("0e-9")
    try:
        rounded = number.quantize(
            NUMERIC_STEP, rounding=ROUND_HALF_UP, context=Context(prec=max(80, len(number.as_tuple().digits) + 10))
        )
    except InvalidOperation:
        raise too_large from None
    if rounded.copy_abs() >= NUMERIC_LIMIT:  # abs() would round to the context's precision
        raise too_large
    return rounded if rounded else rounded.copy_abs()


def _float(column: Column, value: object, path: str) -> float:
    _decimal(value, path, "a number")
    number = float(str(value))
    if not math.isfinite(number):
        raise NotClean(ErrorCode.INVALID_VALUE, f"{path}: {_shown(value)} is not a finite number", path)
    return number


def _boolean(column: Column, value: object, path: str) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and not isinstance(value, Number) and value.lower() in BOOLEANS:
        return BOOLEANS[value.lower()]
    raise _wrong_type(path, value, "a boolean")


def _timestamp(column: Column, value: object, path: str) -> datetime:
    match = TIMESTAMP.fullmatch(value) if isinstance(value, str) and not isinstance(value, Number) else None
    if match is None:
        raise _wrong_type(path, value, "a timestamp")
    day, time, offset = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{time}{(offset or 'Z').replace('Z', '+00:00')}")
    except ValueError:
        raise _wrong_type(path, value, "a timestamp") from None
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise NotClean(ErrorCode.INVALID_VALUE, f"{path}: {value} is outside the years 1 to 9999", path) from None


def _date(column: Column, value: object, path: str) -> date:
    if not isinstance(value, str) or isinstance(value, Number) or not DATE.fullmatch(value):
        raise _wrong_type(path, value, "a date")
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise _wrong_type(path, value, "a date") from None


def _wrong_type(path: str, value: object, wanted: str) -> NotClean:
    return NotClean(ErrorCode.WRONG_TYPE, f"{path}: {_shown(value)} is not {wanted}", path)


def _shown(value: object) -> str:
    """The value as a message shows it: short, on one line."""
    text = str(value) if isinstance(value, (Number, datetime, date, Decimal)) else json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


_READERS: dict[Kind, Callable[[Column, object, str], object]] = {
    Kind.STRING: _string,
    Kind.INTEGER: _integer,
    Kind.NUMERIC: _numeric,
    Kind.FLOAT: _float,
    Kind.BOOLEAN: _boolean,
    Kind.TIMESTAMP: _timestamp,
    Kind.DATE: _date,
    Kind.RECORD: _record,
}
