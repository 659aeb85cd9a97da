"""One round of a campaign: the bytes of a file or topic, and all that must hold for them."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from backports import zstd

from connectors.files.json_files import json_splitter
from connectors.files.unreadable import Unreadable
from connectors.sources.files import FileRange, InputFile, blocks_of
from connectors.sources.kafka import BlockMaker, KafkaRecord
from contracts.decoding.csv_records import CsvRecords
from contracts.decoding.decoder import Block
from contracts.decoding.json_records import JsonLines
from contracts.decoding.records import Splitter
from tests.fuzz.cases import Row, clean_rows, csv_text, json_text, tables
from tests.fuzz.checks import Checker, Finding
from tests.fuzz.mutation import huge_record, mutated, pieces
from tests.fuzz.table_files import avro_file, orc_file, parquet_file
from transforms.run_state import RunState

__all__ = ["Round"]

ROWS = 1_200
LIMITS = (10_000_000, 10_000_000, 10_000_000, 300)
BLANKS = b"\r\n\t \x0b\x0c"
JSON_SHAPES = ("lines", "lines", "array", "documents")
SHAPES = (*JSON_SHAPES, "csv", "csv", "kafka", "kafka", "table_file", "damaged", "compressed", "huge")
HUGE_BYTES = 9_000_000
TABLE_FILES = {"parquet": parquet_file, "avro": avro_file, "orc": orc_file}


class Header(NamedTuple):
    """A Kafka header as Beam gives it."""

    key: str
    value: bytes | None


class Round:
    """One round: its bytes, and the checks of its table."""

    def __init__(self, seed: int, number: int, checkers: dict[tuple[str, int], Checker], slow: float) -> None:
        self.chance = np.random.default_rng([seed, number])
        self.shape = str(self.chance.choice(SHAPES))
        names = list(tables())
        if self.shape == "csv":
            names = ["customers", "products", "transactions", "user_events", "rules", "dialect", "nested", "strict"]
        self.table = tables()[str(self.chance.choice(names))]
        self.limit = int(self.chance.choice(LIMITS))
        self.data = b""
        key = self.table.name, self.limit
        if key not in checkers:
            checkers[key] = Checker(self.table, self.limit, slow)
        self.checker = checkers[key]

    def run(self) -> None:
        """Make the bytes, and check what becomes of them."""
        getattr(self, f"_{self.shape}")()

    def _rows(self) -> list[Row]:
        pool = clean_rows(self.table.name)
        return [pool[number] for number in self.chance.integers(0, len(pool), ROWS).tolist()]

    def _json(self, joint: bytes) -> bytes:
        return joint.join(json_text(row).encode() for row in self._rows())

    def _lines(self) -> None:
        self.data = mutated(self._json(b"\n"), self.chance)
        self._json_file("ndjson")

    def _array(self) -> None:
        joined = self._json(b",\n") if self.chance.integers(0, 2) else self._json(b" , ")
        self.data = b"[" + mutated(joined, self.chance) + b"]"
        self._json_file("json")

    def _documents(self) -> None:
        joint = (b"", b" ", b",\n", b"\n\x1e", b"]\n[")[self.chance.integers(0, 5)]
        joined = mutated(self._json(joint), self.chance)
        self.data = b"[" + joined + b"]" if b"[" in joint else b"\x1e" + joined if b"\x1e" in joint else joined
        self._json_file("json")

    def _csv(self) -> None:
        text = csv_text(self.table, self._rows()).encode(self.table.csv.encoding, "replace")
        head, rest = text.split(b"\n", 1)
        if not self.chance.integers(0, 8):
            head = mutated(head, self.chance)
        self.data = head + b"\n" + mutated(rest, self.chance)
        self._file("csv", CsvRecords(_start(self.data), self.limit, self.table.csv), BLANKS)

    def _compressed(self) -> None:
        plain = mutated(self._json(b"\n"), self.chance)
        name, packed = (("gz", gzip.compress(plain, 1)), ("zst", zstd.compress(plain)))[self.chance.integers(0, 2)]
        self.data = packed[: self.chance.integers(1, len(packed) + 1)] if self.chance.integers(0, 2) else packed
        if self.chance.integers(0, 2):
            array = bytearray(self.data)
            array[self.chance.integers(0, len(array))] ^= 1 << int(self.chance.integers(0, 8))
            self.data = bytes(array)
        self._decode(self._blocks(f"ndjson.{name}"))

    def _huge(self) -> None:
        record = huge_record(self.chance, int(self.chance.integers(1, HUGE_BYTES)))
        shape = self.chance.integers(0, 3)
        clean = self._json(b"\n")
        if shape == 0:
            self.data = clean + b"\n" + record + b"\n" + clean
            self._json_file("ndjson")
        elif shape == 1:
            self.data = record
            self._decode([block for block in self._kafka_blocks([record])])
        else:
            text = csv_text(self.table, self._rows()[:50]).encode(self.table.csv.encoding, "replace")
            self.data = text + record + b"\n" + text.split(b"\n", 1)[1]
            self._file("csv", CsvRecords(_start(self.data), self.limit, self.table.csv), BLANKS)

    def _kafka(self) -> None:
        self.data = mutated(self._json(b"\n"), self.chance)
        self._decode(list(self._kafka_blocks(self.data.split(b"\n"))))

    def _kafka_blocks(self, values: list[bytes]) -> Iterator[Block]:
        chance = self.chance
        maker = BlockMaker({"topic": self.table.name}, self.limit, "fuzz", RunState())
        junk = chance.bytes(4096)
        offset, given = int(chance.integers(0, 2**40)), {}
        kinds = chance.integers(0, 100, len(values)).tolist()
        cuts = chance.integers(0, len(junk), (len(values), 2)).tolist()
        blocks: list[tuple[str, Block]] = []
        for value, kind, (start, end) in zip(values, kinds, cuts, strict=True):
            offset += 1 + kind // 98
            key = None if kind < 20 else junk[start:end] if kind < 30 else b"key-%d" % kind
            headers = [Header("name", junk[start:end]), Header("", None)] * (kind % 3) if kind < 40 else None
            stamp = (-1, 0, -(2**62), 1_718_409_600_000)[kind % 4]
            given[offset] = None if kind == 99 else value
            blocks += maker.add(KafkaRecord("topic", 0, offset, stamp, key, given[offset], headers))
        blocks += maker.flush()
        for _, block in blocks:
            kept = [(at, value, False) for at, value in zip(block.positions.tolist(), block.records, strict=True)]
            kept += [(each.position, each.raw, each.truncated) for each in block.refusals]
            for at, value, cut_off in kept:
                whole = given.pop(at) or b""  # a tombstone's dead letter has no bytes
                if value != whole and not (cut_off and whole.startswith(value)):
                    raise Finding(f"the value at offset {at} is another one")
            yield block
        if given:
            raise Finding(f"offsets {list(given)[:5]} are in no block")

    def _rows_of(self, rows: list[Row]) -> tuple[str, bytes]:
        """The name and the bytes of a file with a schema."""
        name = str(self.chance.choice(list(TABLE_FILES), p=[0.5, 0.25, 0.25]))
        return name, TABLE_FILES[name](rows, self.table.name, self.chance)

    def _table_file(self) -> None:
        name, self.data = self._rows_of(self._rows())
        decoded = self._decode(self._blocks(name))
        whole = self._decoded_files
        if decoded != ROWS and not whole:
            raise Finding(f"{decoded} rows of {ROWS}")

    def _damaged(self) -> None:
        name, stored = self._rows_of(self._rows()[:200])
        data = bytearray(stored)
        places = self.chance.integers(0, len(data), int(self.chance.integers(1, 20)))
        for at, bit in zip(places.tolist(), self.chance.integers(0, 256, len(places)).tolist(), strict=True):
            data[at] = bit
        self.data = bytes(data)
        self._decode(self._blocks(name))

    def _blocks(self, name: str) -> list[Block]:
        file = InputFile(self.table.name, f"gs://b/t.{name}", len(self.data), 0)
        return list(blocks_of(io.BytesIO(self.data), FileRange(file), self.table, self.limit))

    def _decode(self, blocks: list[Block]) -> int:
        self._decoded_files = any(
            each.attributes.get("format") == "file" for block in blocks for each in block.refusals
        )
        for block in blocks:
            self.checker.check(block, self.chance)
        return sum(block.count for block in blocks)

    def _json_file(self, name: str) -> None:
        start = _start(self.data)
        file = InputFile(self.table.name, f"gs://b/t.{name}", len(self.data), 0)
        try:
            splitter = json_splitter(file, self.data[start:], start, self.limit, self.table, whole=True)
        except Unreadable:
            self._decode(self._blocks(name))
            return
        lines = type(splitter) is JsonLines
        self._file(name, splitter, BLANKS if lines else BLANKS + b"[],}\x1e")  # a stray bracket may end an array

    def _file(self, name: str, splitter: Splitter, between: bytes) -> None:
        """A file whose positions are those of bytes: nothing of it is lost, and pieces of any size are the same."""
        blocks = self._blocks(name)
        self._decode(blocks)
        if self._decoded_files:
            return
        covered = np.zeros(len(self.data) + 1, dtype=np.int64)
        found: list[tuple[int, bytes]] = []
        for block in blocks:
            found += zip(block.positions.tolist(), block.records, strict=True)
            found += [(each.position, each.raw) for each in block.refusals]
            for position, raw in zip(block.positions.tolist(), block.records, strict=True):
                covered[position] += 1
                covered[position + len(raw)] -= 1
            for each in block.refusals:
                covered[each.position] += 1
                covered[each.position + (each.size or len(each.raw))] -= 1
        start = _start(self.data)
        header = next((block.header.raw for block in blocks if block.header), b"")
        at = self.data.find(header, start)
        if header and all(position != at for position, _ in found):  # it is a record of the file, not of the table
            found.append((at, header))
            covered[at] += 1
            covered[at + len(header)] -= 1
        for position, raw in found:
            if not self.data.startswith(raw, position):
                raise Finding(f"the bytes at {position} are others")
        times = np.cumsum(covered)[:-1]
        if times.max(initial=0) > 1:
            raise Finding(f"the byte at {int(np.argmax(times))} is in two records")
        left = np.frombuffer(self.data, dtype=np.uint8)[times == 0][start:].tobytes()
        if lost := left.translate(None, between):
            raise Finding(f"{lost[:40]!r} is in no record")
        cut = [splitter.feed(piece) for piece in pieces(self.data[start:], self.chance)] + [splitter.end()]
        again = [each for split in cut for each in zip(split.positions, split.records, strict=True)]
        again += [(each.position, each.raw) for split in cut for each in split.refusals]
        if sorted(again) != sorted(found):
            raise Finding("the file in pieces has other records than as a whole")


def _start(data: bytes) -> int:
    return 3 if data.startswith(b"\xef\xbb\xbf") else 0
