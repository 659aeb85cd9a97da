"""Records that are refused: for every table and every stable error code several ways to earn exactly that code.

Each has one defect, and only such as the rules for values decide beyond doubt; cases that they leave open
(NaN in a NUMERIC column, a lone surrogate, an array as an NDJSON line) are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from sample_data.forms import UNKNOWN, CsvForm, Form, JsonForm
from sample_data.shop import Row

__all__ = ["CODES", "LARGE", "MALFORMED", "broken_end", "refused"]

CODES = {
    "csv": ("malformed_csv", "invalid_encoding", "missing_required", "wrong_type", "invalid_value"),
    "json": ("malformed_json", "invalid_encoding", "missing_required", "wrong_type", "invalid_value"),
}
"""The codes that a record of any table can get, by format; LARGE comes on top."""
MALFORMED = {"csv": "malformed_csv", "json": "malformed_json"}
LARGE = "record_too_large"
LARGE_BYTES = 11_000_000
"""Over the 10 MB that a record may have, whether a megabyte is 10**6 or 2**20 bytes."""

_ABSENT = object()
_BAD_BYTES = (b"\xe9", b"\xff", b"\xc3", b"\xe2\x82", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\x80")
"""Latin-1, no UTF-8 byte, cut sequences, an overlong slash, a surrogate, beyond U+10FFFF, a stray continuation."""
_MARK = "@@bad@@"
_FILLERS = ("x", "0123456789 ", "many words, ", "Zeile für Zeile\n", 'a "quoted" word ')
_BLANKS = (None, "   ")
_BLANKS_JSON = (None, _ABSENT, "", " \t ")
_TOO_LATE = "2999-01-01T00:00:00Z"
_TOO_EARLY = ("1959-12-31T23:59:59Z", "1900-01-01 00:00:00", "0001-01-01T00:00:00")
_NO_TIMESTAMPS = (
    "yesterday",
    "2025-02-30T10:00:00Z",
    "01/02/2025 10:00",
    "1735689600",
    "2025-13-01 00:00:00",
    "2025-03-01T25:00:00Z",
)


@dataclass(frozen=True, slots=True)
class _Ways:
    """What to put into which column to have a record refused."""

    missing_required: tuple[tuple[str, object], ...]
    wrong_type: tuple[tuple[str, object], ...]
    invalid_value: tuple[tuple[str, object], ...]
    text: tuple[str, ...]
    """STRING columns without rules, for bad bytes and for megabytes; never the key."""


def _across(columns: tuple[str, ...], values: tuple[object, ...]) -> tuple[tuple[str, object], ...]:
    """Every value in every column, with the column changing fastest."""
    return tuple((column, value) for value in values for column in columns)


_WAYS = {
    "customers": _Ways(
        missing_required=_across(("customer_id", "email"), _BLANKS),
        wrong_type=(
            *(("age", value) for value in ("forty", "41.5", "12 years", "1_0", "0x1F", "4 2", "true", "33,0")),
            *(("registration_date", value) for value in _NO_TIMESTAMPS),
        ),
        invalid_value=(
            *(("age", value) for value in ("131", "-1", "9223372036854775808", "-9223372036854775809", "131.0")),
            *(("email", value) for value in ("no at sign", "@example.com", "anna@", "anna.example.com")),
        ),
        text=("first_name", "last_name", "city"),
    ),
    "products": _Ways(
        missing_required=_across(("product_id", "name"), _BLANKS_JSON),
        wrong_type=(
            ("price", "cheap"),
            ("stock_quantity", 1.5),
            ("name", True),
            ("cost", "12.50 EUR"),
            ("brand", 2.5),
            ("category", ["Books"]),
            ("price", False),
            ("stock_quantity", ""),
            ("price", ""),
            ("product_id", {"id": 7}),
            ("stock_quantity", "many"),
            ("price", "19,99"),
            ("cost", [1]),
            ("stock_quantity", "2.25"),
            ("stock_quantity", True),
        ),
        invalid_value=(
            ("price", -0.01),
            ("stock_quantity", -5),
            ("stock_quantity", 2**63),
            ("cost", "-4.99"),
            ("price", msgspec.Raw(b"1" + 40 * b"0")),
            ("price", "1" + 40 * "0"),
            ("stock_quantity", "-1"),
            ("stock_quantity", msgspec.Raw(b"-9223372036854775809")),
        ),
        text=("subcategory", "brand"),
    ),
    "transactions": _Ways(
        missing_required=_across(("transaction_id", "product_id", "customer_id"), _BLANKS),
        wrong_type=(
            ("quantity", "two"),
            ("unit_price", "$19.99"),
            ("transaction_date", "yesterday"),
            ("discount", "10%"),
            ("quantity", "1.5"),
            ("total_amount", "1.2.3"),
            ("unit_price", "12,50"),
            *(("transaction_date", value) for value in _NO_TIMESTAMPS[1:]),
            ("total_amount", "12.50 EUR"),
            ("quantity", "1_000"),
        ),
        invalid_value=(
            ("quantity", "0"),
            ("unit_price", "-19.99"),
            ("discount", "1.5"),
            ("transaction_date", _TOO_LATE),
            ("transaction_date", _TOO_EARLY[0]),
            ("total_amount", "-0.01"),
            ("quantity", "9223372036854775808"),
            ("discount", "-0.1"),
            ("quantity", "-3"),
            ("unit_price", "1" + 40 * "0"),
            ("transaction_date", _TOO_EARLY[1]),
        ),
        text=("shipping_address", "payment_method"),
    ),
    "user_events": _Ways(
        missing_required=(
            ("event_timestamp", None),
            *_across(("event_id", "customer_id", "event_type"), _BLANKS_JSON),
            ("event_timestamp", _ABSENT),
        ),
        wrong_type=(
            ("event_timestamp", 1735689600),
            ("customer_id", True),
            ("product_id", 1.5),
            ("session_id", ["s1"]),
            ("event_timestamp", "yesterday"),
            ("page_url", {"path": "/"}),
            ("event_type", False),
            *(("event_timestamp", value) for value in _NO_TIMESTAMPS[1:]),
            ("event_timestamp", True),
            ("user_agent", -0.5),
        ),
        invalid_value=(
            ("event_type", "teleport"),
            ("event_timestamp", _TOO_LATE),
            ("event_timestamp", _TOO_EARLY[0]),
            ("event_type", "PAGE_VIEW"),
            ("event_type", 5),
            ("event_timestamp", _TOO_EARLY[1]),
            ("event_type", "page view"),
            ("event_timestamp", _TOO_EARLY[2]),
        ),
        text=("page_url", "user_agent"),
    ),
}


def refused(table: str, form: Form, code: str, turn: int, row: Row) -> bytes:
    """The record of the clean `row` made unclean, so that it is refused with `code`; `turn` 0, 1, … chooses the way."""
    ways = _WAYS[table]
    row = dict(row)
    column = ways.text[turn % len(ways.text)]
    if code == LARGE:
        filler = _FILLERS[turn % len(_FILLERS)]
        large = UNKNOWN if isinstance(form, JsonForm) and turn % 3 == 1 else column
        row[large] = f"{_MARK}{filler}{_MARK}"
        before, encoded, after = form.encode(row).split(_MARK.encode())
        return before + encoded * (LARGE_BYTES // len(filler) + 1) + after  # csv takes 40 ms for ten million characters
    if code == "invalid_encoding":
        row[column] = f"Caf{_MARK}" if turn % 2 else f"{_MARK} au lait"
        return form.encode(row).replace(_MARK.encode(), _BAD_BYTES[turn % len(_BAD_BYTES)])
    if code == "malformed_csv":
        assert isinstance(form, CsvForm)
        return _MALFORMED_CSV[turn % len(_MALFORMED_CSV)](form, row)
    if code == "malformed_json":
        return _MALFORMED_JSON[turn % len(_MALFORMED_JSON)](form.encode(row))
    kinds: tuple[tuple[str, object], ...] = getattr(ways, code)
    column, value = kinds[turn % len(kinds)]
    if value is _ABSENT:
        del row[column]
    else:
        row[column] = value
    return form.encode(row)


def broken_end(form: Form, row: Row) -> bytes:
    """The last record of a file, broken off: in CSV within an open quote, in JSON within the object."""
    if isinstance(form, CsvForm):
        return form.fields([row.get(column) for column in form.columns[:-1]]) + b',"left open'
    return form.encode(row)[:-20]


def _values(form: CsvForm, row: Row) -> list[object]:
    """The row's fields without line breaks or quotes, so that a broken record stays on one line for any reader."""
    return [str(row.get(column) or "").replace("\n", " ").replace('"', "") for column in form.columns]


_MALFORMED_CSV: tuple[Callable[[CsvForm, Row], bytes], ...] = (
    lambda form, row: form.fields(_values(form, row)[:-1]),
    lambda form, row: form.fields([*_values(form, row), "one too many"]),
    lambda form, row: form.fields(_values(form, row)[:-1]) + b',"quoted" and more',
    lambda _form, _row: b"Warning: connection reset by peer",
    lambda form, row: form.fields([*_values(form, row), None, None, None]),
    lambda form, row: b'"quoted"x,' + form.fields(_values(form, row)[1:]),
)
_MALFORMED_JSON: tuple[Callable[[bytes], bytes], ...] = (
    lambda record: record[: len(record) // 2],
    lambda record: record[:-1] + b",}",
    lambda record: record.replace(b'"', b"'"),
    lambda record: record.replace(b'":', b'" ', 1),
    lambda record: record + record,
    lambda _: b"ERROR: connection reset by peer",
    lambda record: record.replace(b'":"', b'":"\\x41', 1),
    lambda record: record.replace(b'":"', b'":"\t', 1),
    lambda record: record.replace(b',"', b' "', 1),
    lambda record: record.replace(b'":"', b'":None,"x":"', 1),
    lambda record: record[1:],
)
