"""Nothing that a record holds raises out of the decoder: it costs that record, and no other."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from contracts.decoding.csv_rows import parse_header
from contracts.decoding.decoder import Block, Decoder, Format
from contracts.decoding.derived_columns import DerivedColumns
from contracts.decoding.validate import RecordValidator
from contracts.refusal import ErrorCode, NotClean, Refusal
from contracts.table import Column, CsvDialect, Kind, Table, UnknownFields
from tests import runs
from tests.logs import logged_by
from transforms.dead_letters import dead_letters

TODAY = date(2024, 6, 15)
COUNT = 3000
POISONED = range(500, COUNT, 1000)
POISON = "poison"
NUMBER = Column("n", Kind.INTEGER)
DOUBLE = Column("m", Kind.INTEGER, derived="n * 2")
SURROGATE = b'{"id":"a","\\ud800":1}'
RUN = replace(
    runs.RUN,
    run_id="r",
    started_at=datetime(2024, 6, 15, tzinfo=UTC),
    location="EU",
    operations_dataset="pipeline_operations",
    processed="processed",
    dead_letters="dead_letters",
    max_record_bytes=10_000_000,
    max_dead_letter_ratio=0.2,
)


def table(unknown: UnknownFields = UnknownFields.IGNORE, *columns: Column) -> Table:
    return Table(
        "t", (Column("id", Kind.STRING, required=True), NUMBER, DOUBLE, *columns), ("id",), unknown_fields=unknown
    )


def throw(found: Iterable[object]) -> None:
    if any(POISON in str(value) for value in found):
        raise MemoryError("no room for a row of that kind")


class PoisonedColumns(Decoder):
    def _read_columns(self, block: Block) -> tuple[list[Sequence[object]] | None, list[int]]:
        throw(block.records)
        return super()._read_columns(block)


class PoisonedAcceptance(Decoder):
    def _accept_clean(self, columns: list[Sequence[object]], today: date) -> Any:
        throw(columns[0])
        return super()._accept_clean(columns, today)


class PoisonedValidator(Decoder):
    class _Validator(RecordValidator):
        def validate(self, raw: bytes, *arguments: Any) -> tuple[object, ...]:
            throw([raw])
            return super().validate(raw, *arguments)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._validator = self._Validator(self.table)


class PoisonedFrame(Decoder):
    def _validated_frame(self, rows: list[tuple[object, ...]]) -> pl.DataFrame:
        throw(rows)
        return super()._validated_frame(rows)


class PoisonedDerived(Decoder):
    class _Derived(DerivedColumns):
        def add(self, frame: pl.DataFrame, *arguments: Any) -> Any:
            throw(frame["id"])
            return super().add(frame, *arguments)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._derived = self._Derived(self.table)


class PoisonedDigest(Decoder):
    def _with_digest(self, frame: pl.DataFrame, block: Block) -> pl.DataFrame:
        throw(frame["id"])
        return super()._with_digest(frame, block)


class PoisonedRefusal(Decoder):
    def _refusal(self, block: Block, index: int, reason: NotClean) -> Refusal:
        throw([block.records[index]])
        return super()._refusal(block, index, reason)


class Panicking(Decoder):
    """polars panics, which is no Exception."""

    def _with_digest(self, frame: pl.DataFrame, block: Block) -> pl.DataFrame:
        if any(POISON in key for key in frame["id"]):
            raise pl.exceptions.PanicException("index out of bounds")
        return super()._with_digest(frame, block)


def records(format: Format) -> list[bytes]:
    """Of three records one needs the row-wise validator, one is refused; every thousandth is poisoned and refused."""
    if format is Format.CSV:
        lines = [f"a{number},{(number, 'x', f'{number}e0')[number % 3]}" for number in range(COUNT)]
        return [f"{POISON}{n},{n}e0".encode() if n in POISONED else line.encode() for n, line in enumerate(lines)]
    values = [f'{{"id":"a{number}","n":{(number, "true", f"{number}e0")[number % 3]}}}' for number in range(COUNT)]
    return [f'{{"id":"{POISON}{n}","n":{n}e0}}'.encode() if n in POISONED else v.encode() for n, v in enumerate(values)]


PLACES = [
    (PoisonedColumns, False),
    (PoisonedAcceptance, False),
    (PoisonedValidator, False),
    (PoisonedFrame, False),
    (PoisonedDerived, False),
    (PoisonedDigest, False),
    (Panicking, False),
    (PoisonedRefusal, True),
]


@pytest.mark.parametrize("format", Format)
@pytest.mark.parametrize(("place", "refused"), PLACES, ids=[place.__name__ for place, _ in PLACES])
def test_a_record_that_makes_a_step_raise_is_refused_and_the_others_are_as_without_it(
    place: type[Decoder], refused: bool, format: Format, caplog: pytest.LogCaptureFixture
) -> None:
    raws = records(format)
    if refused:
        raws = [raw.replace(b"e0", b"x") if POISON.encode() in raw else raw for raw in raws]
    header = parse_header(b"id,n", CsvDialect()) if format is Format.CSV else None
    positions = np.arange(COUNT, dtype=np.int64) * 10
    others = [number for number in range(COUNT) if number not in POISONED]
    without = Block("s", format, [raws[number] for number in others], positions[others], header)
    expected = Decoder(table(), lambda: TODAY, True).decode(without)
    with caplog.at_level(logging.WARNING):
        found = place(table(), lambda: TODAY, True).decode(Block("gs://b/x", format, raws, positions, header))
    assert found.rows.equals(expected.rows)
    unforeseen = [each for each in found.refusals if each.code is ErrorCode.UNPROCESSABLE]
    assert [(each.position, each.raw) for each in unforeseen] == [(number * 10, raws[number]) for number in POISONED]
    assert [each for each in found.refusals if each not in unforeseen] == expected.refusals
    assert all(
        each.attributes["format"] == format.value and ("header" in each.attributes) == bool(header)
        for each in unforeseen
    )
    (line,) = logged_by("contracts.decoding.decoder", caplog)
    assert line.startswith(f"gs://b/x, position {POISONED[0] * 10} and {len(POISONED) - 1} more: ")
    assert ascii(unforeseen[0].message) in line


def test_the_reader_own_refusals_are_kept_where_every_record_raises() -> None:
    raws = [b'{"id":"poison"}'] * 3
    own = Refusal(99, b"x", ErrorCode.RECORD_TOO_LARGE, "too large")
    block = Block("s", Format.JSON, raws, np.arange(3, dtype=np.int64), refusals=(own,))
    found = PoisonedColumns(table(), lambda: TODAY).decode(block)
    assert found.rows.is_empty()
    assert (
        found.rows.schema
        == Decoder(table(), lambda: TODAY).decode(Block("s", Format.JSON, [], block.positions[:0])).rows.schema
    )
    assert [each.position for each in found.refusals] == [99, 0, 1, 2]


@pytest.mark.parametrize("indices", [range(0), range(1), range(1, 3), range(3)])
def test_a_part_of_a_block_has_none_of_the_readers_refusals(indices: range) -> None:
    own = Refusal(99, b"x", ErrorCode.RECORD_TOO_LARGE, "too large")
    block = Block("s", Format.JSON, [b"0", b"1", b"2"], np.arange(3, dtype=np.int64), refusals=(own,))
    part = block.part(indices)
    assert (part.records, part.positions.tolist()) == ([b"%d" % at for at in indices], list(indices))
    assert not part.refusals


def test_what_is_not_about_data_stops_the_decoder() -> None:
    class Interrupted(Decoder):
        def _read_columns(self, block: Block) -> tuple[list[Sequence[object]] | None, list[int]]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Interrupted(table(), lambda: TODAY).decode(Block("s", Format.JSON, [b"{}"], np.zeros(1, dtype=np.int64)))


INNER = Column("user", Kind.RECORD, fields=(Column("a", Kind.STRING), Column("b", Kind.NUMERIC, repeated=True)))
LISTED = Column("users", Kind.RECORD, repeated=True, fields=INNER.fields)
KEEP, REJECT = UnknownFields.KEEP, UnknownFields.REJECT
UNKNOWN = [
    (KEEP, SURROGATE, "invalid_encoding", r"\ud800"),
    (KEEP, b'{"id":"a","x":"\\ud800"}', "invalid_encoding", "x"),
    (KEEP, b'{"id":"a","x":{"y":["\\udfff"]}}', "invalid_encoding", "x"),
    (KEEP, b'{"id":"a","user":{"\\ud800":1}}', "invalid_encoding", r"user.\ud800"),
    (REJECT, SURROGATE, "invalid_encoding", r"\ud800"),
    (REJECT, b'{"id":"a","x":"\\ud800"}', "unknown_field", "x"),
    (REJECT, b'{"id":"a","user":{"!":1,"b":[1.5]}}', "unknown_field", "user.!"),
    (REJECT, b'{"id":"a","user":"{\\"!\\":1}"}', "unknown_field", "user.!"),
    (REJECT, b'{"id":"a","users":[{"a":"x"},{"!":1}]}', "unknown_field", "users[1].!"),
    (REJECT, b'{"id":"a","user":"{"}', "wrong_type", "user"),
]


@pytest.mark.parametrize(("unknown", "record", "code", "field"), UNKNOWN)
def test_fields_that_no_contract_names_are_refused_by_name(
    unknown: UnknownFields, record: bytes, code: str, field: str
) -> None:
    of = table(unknown, INNER, LISTED)
    block = Block("s", Format.JSON, [b'{"id":"1"}', record, b'{"id":"2"}'], np.arange(3, dtype=np.int64))
    decoded = Decoder(of, lambda: TODAY).decode(block)
    assert decoded.rows["id"].to_list() == ["1", "2"]
    assert [(each.code.value, each.field, each.raw) for each in decoded.refusals] == [(code, field, record)]
    stored = dead_letters(of, "s", decoded.refusals, RUN, RUN.started_at).to_pylist()
    assert [(row["raw"], row["field"]) for row in stored] == [(record, field)]


def test_a_csv_field_that_holds_an_object_is_held_against_reject_too() -> None:
    header = parse_header(b"id,user", CsvDialect())
    raws = [b'1,"{""a"":""x""}"', b'2,"{""!"":1}"']
    block = Block("s", Format.CSV, raws, np.arange(2, dtype=np.int64), header)
    decoded = Decoder(table(REJECT, INNER), lambda: TODAY).decode(block)
    assert decoded.rows["id"].to_list() == ["1"]
    assert [(each.code.value, each.field) for each in decoded.refusals] == [("unknown_field", "user.!")]


@pytest.mark.parametrize("text", ["a\ud800b", "x" * 5000, "é" * 999])
def test_whatever_a_refusal_says_can_be_stored(text: str) -> None:
    refusal = Refusal(0, b"x", ErrorCode.UNKNOWN_FIELD, text, text)
    row = dead_letters(table(), "s", [refusal], RUN, RUN.started_at).to_pylist()[0]
    assert row["error_message"] == row["field"] == refusal.message
    assert len(refusal.message) <= 1010
    assert refusal.message[:1] == text[:1]


def test_a_refused_record_of_more_than_8_mb_is_kept_up_to_there() -> None:
    raw = json.dumps({"id": "", "x": "y" * 8_500_000}).encode()
    decoded = Decoder(table(), lambda: TODAY).decode(Block("s", Format.JSON, [raw], np.zeros(1, dtype=np.int64)))
    (refusal,) = decoded.refusals
    assert refusal.truncated
    assert (refusal.raw, refusal.size) == (raw[:8_000_000], len(raw))
