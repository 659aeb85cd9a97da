"""What a batch run over a folder of raw files must yield, computed straight from the files.

Written from the rules of the tables, of what is clean and of dead letters, not from the code, with nothing but the
standard library, and on purpose without a line of the pipeline's or the generator's code: one record at a time,
simple, slow. It reads the forms that `generate` makes: CSV and JSON lines, plain or .gz.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from pathlib import Path

__all__ = ["Expected", "Funnel", "dead_letters", "expected", "funnel", "revenue_by_category"]

MAX_RECORD_BYTES = 10_000_000
Row = dict[str, object]


@dataclass(frozen=True)
class Rules:
    """A table: its columns with their types in order, and what must hold of the values."""

    columns: dict[str, str]
    key: str
    required: frozenset[str]
    keep: str
    """Which of two records with one key is kept: "first" (append) or "last" (merge)."""
    ranges: dict[str, tuple[str | None, str | None, bool]] = field(default_factory=dict)
    """Column: least, greatest (inclusive; None is no bound), and whether the least itself is excluded."""
    enums: dict[str, frozenset[str]] = field(default_factory=dict)
    partition: str | None = None


def _columns(text: str) -> dict[str, str]:
    return dict(pair.split(":") for pair in text.split())


TABLES = {
    "customers": Rules(
        columns=_columns(
            "customer_id:STRING email:EMAIL first_name:STRING last_name:STRING age:INTEGER gender:STRING city:STRING "
            "country:STRING registration_date:TIMESTAMP"
        ),
        key="customer_id",
        required=frozenset({"customer_id", "email"}),
        keep="last",
        ranges={"age": ("0", "130", False)},
    ),
    "products": Rules(
        columns=_columns(
            "product_id:STRING name:STRING category:STRING subcategory:STRING brand:STRING price:NUMERIC cost:NUMERIC "
            "stock_quantity:INTEGER"
        ),
        key="product_id",
        required=frozenset({"product_id", "name"}),
        keep="last",
        ranges={"price": ("0", None, False), "cost": ("0", None, False), "stock_quantity": ("0", None, False)},
    ),
    "transactions": Rules(
        columns=_columns(
            "transaction_id:STRING customer_id:STRING product_id:STRING quantity:INTEGER unit_price:NUMERIC "
            "total_amount:NUMERIC discount:NUMERIC transaction_date:TIMESTAMP payment_method:STRING "
            "shipping_address:STRING"
        ),
        key="transaction_id",
        required=frozenset({"transaction_id", "customer_id", "product_id"}),
        keep="first",
        ranges={
            "quantity": ("0", None, True),
            "unit_price": ("0", None, False),
            "total_amount": ("0", None, False),
            "discount": ("0", "1", False),
        },
        partition="transaction_date",
    ),
    "user_events": Rules(
        columns=_columns(
            "event_id:STRING customer_id:STRING product_id:STRING event_type:STRING event_timestamp:TIMESTAMP "
            "session_id:STRING page_url:STRING user_agent:STRING"
        ),
        key="event_id",
        required=frozenset({"event_id", "customer_id", "event_type", "event_timestamp"}),
        keep="first",
        enums={"event_type": frozenset({"page_view", "add_to_cart", "remove_from_cart", "purchase", "search"})},
        partition="event_timestamp",
    ),
}


class Refused(Exception):
    """A record that is a dead letter, with its code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class JsonNumber(str):
    """A JSON number as it is written."""


@dataclass
class Counts:
    """The four counts of a table or of one of its files."""

    read: int = 0
    duplicate: int = 0
    by_code: Counter[str] = field(default_factory=Counter)

    @property
    def dead_letter(self) -> int:
        """The records refused."""
        return self.by_code.total()

    @property
    def written(self) -> int:
        """What is neither refused nor a duplicate."""
        return self.read - self.duplicate - self.dead_letter


@dataclass
class Expected(Counts):
    """What a run must make of one table's files.

    `rows` has by primary key the row that is kept: STRING as str, INTEGER int, NUMERIC Decimal, TIMESTAMP an aware
    datetime in UTC, null None, derived columns with the others. `positions` has where that row stands: the file's
    name and the byte offset of the record (in a compressed file: of the decompressed bytes). `refused` has file,
    position and code of every dead letter. `sources` counts by file; a duplicate counts where the row not kept stands.
    """

    rows: dict[str, Row] = field(default_factory=dict)
    positions: dict[str, tuple[str, int]] = field(default_factory=dict)
    refused: list[tuple[str, int, str]] = field(default_factory=list)
    sources: dict[str, Counts] = field(default_factory=dict)


def expected(folder: Path) -> dict[str, Expected]:
    """What must come of each table's files in `folder`."""
    return {table: _table(folder, table, rules) for table, rules in TABLES.items()}


def _table(folder: Path, table: str, rules: Rules) -> Expected:
    result = Expected()
    pattern = re.compile(rf"{table}(_\d+)?\.(csv|json)(\.gz)?")
    for name in sorted(path.name for path in folder.iterdir() if pattern.fullmatch(path.name)):
        path = folder / name
        data = gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
        counts = result.sources[name] = Counts()
        records = _csv_records(data) if ".csv" in name else _json_records(data)
        for position, fields in records:
            result.read += 1
            counts.read += 1
            try:
                if isinstance(fields, Refused):
                    raise fields
                row = _clean(rules, fields, csv_file=".csv" in name)
            except Refused as refused:
                result.by_code[refused.code] += 1
                counts.by_code[refused.code] += 1
                result.refused.append((name, position, refused.code))
                continue
            key = str(row[rules.key])
            if key in result.rows:
                result.duplicate += 1
                loser = name if rules.keep == "first" else result.positions[key][0]
                result.sources[loser].duplicate += 1
                if rules.keep == "first":
                    continue
            result.rows[key] = row | _derived(table, row)
            result.positions[key] = (name, position)
    return result


# Records of a file: yields (byte offset, fields or why the record has none).


def _lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Lines with their ends."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start) + 1 or len(data)
        yield start, data[start:end]
        start = end


def _json_records(data: bytes) -> Iterator[tuple[int, Row | Refused]]:
    for position, line in _lines(data):
        record = line.removesuffix(b"\n").removesuffix(b"\r")
        if record:
            yield position, _parse_json(record)


def _parse_json(record: bytes) -> Row | Refused:
    def no_constant(name: str) -> object:
        raise ValueError(name)

    if len(record) > MAX_RECORD_BYTES:
        return Refused("record_too_large")
    try:
        text = record.decode("utf-8")
    except UnicodeDecodeError:
        return Refused("invalid_encoding")
    try:
        value = json.loads(text, parse_int=JsonNumber, parse_float=JsonNumber, parse_constant=no_constant)
    except ValueError:
        return Refused("malformed_json")
    return value if isinstance(value, dict) else Refused("malformed_json")


def _csv_records(data: bytes) -> Iterator[tuple[int, Row | Refused]]:
    bom = b"\xef\xbb\xbf"
    header: list[str] | None = None
    for position, record in _csv_texts(data):
        if header is None:
            fields = _parse_csv(record.removeprefix(bom))
            assert isinstance(fields, list), "a header that cannot be read is not for this oracle"
            header = fields
            continue
        fields = _parse_csv(record)
        if isinstance(fields, Refused):
            yield position, fields
        elif len(fields) != len(header):
            yield position, Refused("malformed_csv")
        else:
            yield position, dict(zip(header, fields, strict=True))


def _csv_texts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Records without their ends: lines, joined while a quote is open, which is while their number is odd."""
    position, parts, quotes = 0, list[bytes](), 0
    for start, line in _lines(data):
        if not parts:
            position = start
        parts.append(line)
        quotes += line.count(b'"')
        if quotes % 2 == 0:
            record = b"".join(parts).removesuffix(b"\n").removesuffix(b"\r")
            if record:
                yield position, record
            parts, quotes = [], 0
    if parts:
        yield position, b"".join(parts)


def _parse_csv(record: bytes) -> list[str] | Refused:
    if len(record) > MAX_RECORD_BYTES:
        return Refused("record_too_large")
    try:
        text = record.decode("utf-8")
    except UnicodeDecodeError:
        return Refused("invalid_encoding")
    try:
        (fields,) = csv.reader([text], strict=True)
    except csv.Error:
        return Refused("malformed_csv")
    return fields


# Values.


def _clean(rules: Rules, fields: Row, *, csv_file: bool) -> Row:
    row: Row = {}
    for column, kind in rules.columns.items():
        value = fields.get(column)
        if csv_file and value == "":
            value = None
        typed = None if value is None else _READ[kind](value)
        if column in rules.required and (typed is None or (isinstance(typed, str) and not typed.strip())):
            raise Refused("missing_required")
        if typed is not None:
            _check(rules, column, kind, typed)
        row[column] = typed
    return row


def _check(rules: Rules, column: str, kind: str, value: object) -> None:
    if column in rules.enums and value not in rules.enums[column]:
        raise Refused("invalid_value")
    if kind == "EMAIL" and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", str(value)):
        raise Refused("invalid_value")
    if column in rules.ranges:
        least, greatest, exclusive = rules.ranges[column]
        number = Decimal(str(value))
        if least is not None and (number < Decimal(least) or (exclusive and number == Decimal(least))):
            raise Refused("invalid_value")
        if greatest is not None and number > Decimal(greatest):
            raise Refused("invalid_value")
    if column == rules.partition:
        assert isinstance(value, datetime)
        if not datetime(1960, 1, 1, tzinfo=UTC) <= value <= datetime.now(UTC) + timedelta(days=1):
            raise Refused("invalid_value")


def _string(value: object) -> str:
    if isinstance(value, JsonNumber) and not re.fullmatch(r"-?\d+", value):
        raise Refused("wrong_type")
    if not isinstance(value, str):
        raise Refused("wrong_type")
    return str(value)


def _number(value: object) -> Decimal:
    if not isinstance(value, str) or not re.fullmatch(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", value, re.ASCII):
        raise Refused("wrong_type")
    return Decimal(value)


def _integer(value: object) -> int:
    number = _number(value)
    if number != number.to_integral_value():
        raise Refused("wrong_type")
    if not -(2**63) <= int(number) < 2**63:
        raise Refused("invalid_value")
    return int(number)


def _numeric(value: object) -> Decimal:
    number = _number(value)
    if abs(number) >= Decimal(10) ** 29:  # 38 digits, 9 of them decimals
        raise Refused("invalid_value")
    return _rounded(number, "1e-9")


def _rounded(number: Decimal, step: str) -> Decimal:
    """Half away from zero."""
    with localcontext(prec=100):
        return number.quantize(Decimal(step), rounding=ROUND_HALF_UP)


def _timestamp(value: object) -> datetime:
    form = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)?"
    if not isinstance(value, str) or not re.fullmatch(form, value, re.ASCII):
        raise Refused("wrong_type")
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise Refused("wrong_type") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


_READ = {"STRING": _string, "EMAIL": _string, "INTEGER": _integer, "NUMERIC": _numeric, "TIMESTAMP": _timestamp}


def _derived(table: str, row: Row) -> Row:
    if table == "customers":
        names = [str(row[column]) for column in ("first_name", "last_name") if row[column] is not None]
        return {"full_name": " ".join(names) if names else None}
    if table == "products":
        price, cost = row["price"], row["cost"]
        both = isinstance(price, Decimal) and isinstance(cost, Decimal)
        return {"profit_margin": price - cost if both else None}  # type: ignore[operator]
    if table == "transactions":
        quantity, price, discount = row["quantity"], row["unit_price"], row["discount"]
        if not isinstance(quantity, int) or not isinstance(price, Decimal):
            return {"total_paid": None}
        rest = 1 - discount if isinstance(discount, Decimal) else Decimal(1)
        with localcontext(prec=100):
            return {"total_paid": _rounded(quantity * price * rest, "0.01")}
    moment = row["event_timestamp"]
    assert isinstance(moment, datetime)
    return {"event_hour": moment.hour}


# The demo's three questions.


@dataclass(frozen=True)
class Funnel:
    """How often an event type occurs, and of how many customers."""

    events: int
    customers: int


def revenue_by_category(tables: dict[str, Expected]) -> dict[str, Decimal | None]:
    """The sum of total_paid by the product's category; "unknown" where the product or its category is.

    None if no transaction of a category has a total, as SQL's SUM has it.
    """
    products = tables["products"].rows
    revenue: dict[str, Decimal | None] = {}
    for row in tables["transactions"].rows.values():
        product = products.get(str(row["product_id"]), {})
        category = str(product.get("category") or "unknown")
        paid = row["total_paid"]
        before = revenue.setdefault(category, None)
        if isinstance(paid, Decimal):
            revenue[category] = paid if before is None else before + paid
    return revenue


def funnel(tables: dict[str, Expected]) -> dict[str, Funnel]:
    """Events and distinct customers by event type."""
    customers: dict[str, list[object]] = defaultdict(list)
    for row in tables["user_events"].rows.values():
        customers[str(row["event_type"])].append(row["customer_id"])
    return {kind: Funnel(len(ids), len(set(ids))) for kind, ids in customers.items()}


def dead_letters(tables: dict[str, Expected]) -> dict[tuple[str, str], int]:
    """Dead letters by table and code; a pair without any is left out."""
    return {(table, code): number for table, found in tables.items() for code, number in found.by_code.items()}
