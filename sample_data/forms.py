"""The many ways to write a clean row: what RFC 4180, RFC 8259 and the rules for values allow and real exports contain.

Nothing here makes a row unclean. A form of a file (`CsvForm`, `JsonForm`) turns a row into the bytes of one record,
without the line's end; `awkward` changes the row's values to others that are as clean and harder to read.
"""

from __future__ import annotations

import codecs
import csv
import json
import re
from dataclasses import dataclass
from random import Random

import msgspec

from sample_data.shop import RawTable, Row, pick

__all__ = ["UNKNOWN", "CsvForm", "Form", "JsonForm", "awkward"]

UNKNOWN = "internal_note"
"""A field that no contract names, and that the pipeline is to ignore."""

TEXTS = (
    '12 "The Mews", rear entrance',
    "Flat 3\nring twice",
    "Hof 2\r\nlinks, 3. Stock",
    "NULL",
    "N/A",
    "tab\there",
    " padded ",
    "emoji 🛒 and ∑",
    "back\\slash, 50% & <b>",
    '""',
    "a;b|c'd'",
    "=1+1",
    "«Ça va?» Très bien",
)
UNKNOWN_VALUES: tuple[object, ...] = (
    "see order 7",
    'a "b", c\nd',
    {"ab": ["B", 0.25, None]},
    [],
    12.5,
    True,
    msgspec.Raw(b"1e400"),
)
EARLIER_VALUES: tuple[object, ...] = ("old", "", None, True, -1, 1.5, {"a": 1}, ["x"])

_encode_json = msgspec.json.Encoder().encode


class _Echo:
    """A file that hands back what is written to it, so that csv.writer returns the record."""

    def write(self, text: str) -> str:
        return text


_write = csv.writer(_Echo()).writerow
_write_quoted = csv.writer(_Echo(), quoting=csv.QUOTE_ALL).writerow


@dataclass(frozen=True, slots=True)
class CsvForm:
    """A CSV file: its columns in the header's order, its line end, whether it starts with a BOM, how much it quotes."""

    columns: tuple[str, ...]
    newline: bytes = b"\n"
    bom: bool = False
    quoted_header: bool = False

    def header(self) -> bytes:
        """The header line with its end."""
        line = self.fields(list(self.columns), quote_all=self.quoted_header)
        return (codecs.BOM_UTF8 if self.bom else b"") + line + self.newline

    def fields(self, values: list[object], *, quote_all: bool = False) -> bytes:
        """A record of any number of fields; None is an empty field."""
        text: str = (_write_quoted if quote_all else _write)(values)
        return text.removesuffix("\r\n").encode()

    def encode(self, row: Row, *, quote_all: bool = False) -> bytes:
        """The record of a row."""
        return self.fields([row.get(column) for column in self.columns], quote_all=quote_all)

    def encode_awkward(self, row: Row, rng: Random) -> bytes:
        """The record, half of the time with quotes around everything, empty fields too."""
        return self.encode(row, quote_all=rng.random() < 0.5)


@dataclass(frozen=True, slots=True)
class JsonForm:
    """A file of newline-delimited JSON objects."""

    newline: bytes = b"\n"

    def header(self) -> bytes:
        """JSON lines have none."""
        return b""

    def encode(self, row: Row) -> bytes:
        """The record of a row, compact, as UTF-8."""
        return _encode_json(row)

    def encode_awkward(self, row: Row, rng: Random) -> bytes:
        """The record with other spaces, escapes or order of keys, or with a key that has an earlier, void value."""
        return pick(rng, (_spaced, _escaped, _slashed, _shuffled, _repeated_key))(row, rng)


Form = CsvForm | JsonForm


def _spaced(row: Row, _rng: Random) -> bytes:
    return msgspec.json.format(_encode_json(row), indent=0)


def _escaped(row: Row, _rng: Random) -> bytes:
    """Whatever is outside ASCII escaped (in pairs of surrogates where it takes two), and underscores, in keys too."""
    text = _encode_json(row).decode()
    return re.sub(r"[^\x00-\x7f_]+|_", lambda match: _escapes(match[0]), text).encode("ascii")


def _escapes(text: str) -> str:
    return "\\u005f" if text == "_" else json.dumps(text)[1:-1]


def _slashed(row: Row, _rng: Random) -> bytes:
    return _encode_json(row).replace(b"/", b"\\/")


def _shuffled(row: Row, rng: Random) -> bytes:
    items = list(row.items())
    rng.shuffle(items)
    return _encode_json(dict(items))


def _repeated_key(row: Row, rng: Random) -> bytes:
    """Of a repeated key the last counts, so the earlier value may be of any kind."""
    key = pick(rng, tuple(row))
    return _encode_json({key: pick(rng, EARLIER_VALUES)})[:-1] + b"," + _encode_json(row)[1:]


def awkward(table: RawTable, row: Row, rng: Random) -> Row:
    """A row with one or two values replaced by clean ones in an awkward form. The key may change its form too."""
    row = dict(row)
    changes = [_drop, _text, _unknown]
    changes += [_timestamp] if table.timestamp else []
    changes += [_integer] if table.integers else []
    changes += [_numeric] if table.numerics else []
    changes += [_integer_for_string] if table.format == "json" else []
    for change in {pick(rng, changes): None, pick(rng, changes): None}:
        change(table, row, rng)
    return row


def _drop(table: RawTable, row: Row, rng: Random) -> None:
    column = pick(rng, table.optional)
    if table.format == "json" and rng.random() < 0.5:
        row.pop(column, None)
    else:
        row[column] = None


def _text(table: RawTable, row: Row, rng: Random) -> None:
    """A text that a careless parser trips over; in JSON also the empty text, which is not null."""
    row[pick(rng, table.free_text)] = pick(rng, TEXTS if table.format == "csv" else (*TEXTS, ""))


def _unknown(table: RawTable, row: Row, rng: Random) -> None:
    row[UNKNOWN] = pick(rng, UNKNOWN_VALUES) if table.format == "json" else pick(rng, TEXTS)


def _timestamp(table: RawTable, row: Row, rng: Random) -> None:
    """A space for the T, offsets, fractions of one to six digits. An offset moves the instant, by hours at most."""
    assert table.timestamp
    text = row[table.timestamp]
    if not isinstance(text, str):
        return
    day, time = text[:10], text[11:19]
    fraction = pick(rng, ("", ".5", ".120", ".000001", ".999999"))
    offset = pick(rng, ("", "Z", "+00:00", "+02:00", "-05:30", "+14:00", "-00:45"))
    row[table.timestamp] = f"{day}{pick(rng, ('T', ' '))}{time}{fraction}{offset}"


def _integer(table: RawTable, row: Row, rng: Random) -> None:
    """3 as 3.0, and in JSON as "3"."""
    column = pick(rng, table.integers)
    value = row.get(column)
    if isinstance(value, str):
        row[column] = pick(rng, (f"{value}.0", f"{value}.000"))
    elif isinstance(value, int):
        row[column] = pick(rng, (float(value), str(value), f"{value}.0", msgspec.Raw(f"{value or ''}0e-1".encode())))


def _numeric(table: RawTable, row: Row, rng: Random) -> None:
    """Trailing zeros and further decimals; in JSON also strings, exponents, and a tenth decimal that rounds up.

    In CSV (transactions) four decimals at most, so that total_paid has no more than nine before it is rounded.
    """
    column = pick(rng, table.numerics)
    value = row.get(column)
    if isinstance(value, str) and column != "discount":
        row[column] = pick(rng, (f"{value}00", f"{value}05", f"{value}50"))
    elif isinstance(value, float):
        text = f"{value:.2f}"
        raw = pick(rng, (text, f"{text}00000005", f"{text}00000004999", f"{text}1234567890123456789", f"{text}e0"))
        exponent = f"{text.replace('.', '')}E-2".lstrip("0")
        row[column] = pick(rng, (text, msgspec.Raw(raw.encode()), msgspec.Raw(exponent.encode())))


def _integer_for_string(table: RawTable, row: Row, rng: Random) -> None:
    """A bare integer in a STRING column is its text, with more digits than 64 bits hold too."""
    if table.name == "user_events" and rng.random() < 0.5:
        row[table.key] = int(str(row[table.key]).removeprefix("evt_"), 16)
    else:
        row[pick(rng, table.free_text)] = pick(rng, (0, 1984, -7, msgspec.Raw(b"123456789012345678901234567890")))
