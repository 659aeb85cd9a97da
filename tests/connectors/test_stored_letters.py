"""Every dead letter decodes again, from its own row alone, to the same code."""

from __future__ import annotations

import gzip
import io
import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.files.names import InputFile, belonging
from connectors.files.storage import Storage
from connectors.sources.files import FileRange, blocks_of, read_blocks
from connectors.sources.stored_letters import decode_again
from contracts.decoding.decoder import Decoder
from contracts.odcs.tables import shipped
from contracts.refusal import Refusal
from contracts.table import Table
from sample_data.generate import generate
from transforms.dead_letters import dead_letters
from transforms.run import Run

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
TODAY = NOW.date()
LIMIT = 10_000_000
RUN = Run(
    run_id="r",
    token="token",
    pipeline="batch",
    started_at=NOW,
    project="p",
    location="US",
    operations_dataset="ops",
    processed="processed",
    dead_letters="dead",
    max_record_bytes=LIMIT,
    max_dead_letter_ratio=0.5,
    keep_duplicates=False,
)


def letters(table: Table, source: str, refusals: list[Refusal]) -> Iterator[dict[str, object]]:
    """The refusals as rows, once through Parquet."""
    sink = io.BytesIO()
    pq.write_table(dead_letters(table, source, refusals, RUN, NOW), sink)
    yield from pq.read_table(io.BytesIO(sink.getvalue())).to_pylist()


def assert_the_same_again(table: Table, source: str, refusals: list[Refusal], limit: int = LIMIT) -> None:
    for letter in letters(table, source, refusals):
        again = decode_again(letter, table, limit, TODAY)
        assert again is not None, (letter["error_code"], letter["error_message"])
        assert again.code.value == letter["error_code"], letter
        assert again.field == letter["field"]


@pytest.mark.slow
def test_every_dead_letter_of_a_dirty_run(tmp_path: Path) -> None:
    def write(name: str, data: bytes) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    generate(write=write, customers=60, products=60, transactions=100, events=100, dirty=0.3, seed=3)
    storage, tables = Storage(), shipped()
    files = belonging(storage.scan(str(tmp_path)), str(tmp_path), tables).files
    codes: Counter[str] = Counter()
    for file in files:
        table = tables[file.table]
        decoder = Decoder(table, lambda: TODAY)
        for block in read_blocks(storage, FileRange(file), table, LIMIT):
            refusals = decoder.decode(block).refusals
            codes.update(refusal.code.value for refusal in refusals)
            assert_the_same_again(table, file.uri, refusals)
    assert {"malformed_json", "malformed_csv", "invalid_encoding", "record_too_large", "wrong_type"} <= set(codes)


def parquet() -> bytes:
    sink = io.BytesIO()
    ids = pa.array([None, "p"], pa.string())
    names = pa.array(["a", None], pa.string())
    pq.write_table(pa.table({"product_id": ids, "name": names}), sink)
    return sink.getvalue()


BAD_FILES = [
    ("products.csv", b"one,two\n1,2\n"),
    ("products.csv", b"product_id,name,name\n1,a,b\n"),
    ("products.csv", b"product_id\n1\n2\n"),
    ("products.csv", b'product_id,na"me\n1\n'),
    ("products.csv", b'product_id,"name\n1,2\n'),
    ("products.csv", b"\xff\xfe,\xfc\n1,2\n"),
    ("products.csv", b"product_id,\xff\n1,2\n3\n"),
    ("products.csv", b'product_id,name,price\n1,"a,5\n2,b,x\n,c,1\n3,\xff,1\n4,d,-1\n'),
    ("products.csv", b"product_id,name\n1," + b"x" * 5000 + b"\n"),
    ("products.csv", b"x" * 5000 + b"\nproduct_id,name\n1\n"),
    ("products.csv", "product_id,name\n1,a\n".encode("utf-16")),
    ("products.csv.gz", gzip.compress(b"product_id,name\n" + b"1,a\n" * 1000)[:-12]),
    ("products.csv.gz", b"product_id,name\n1,a\n"),
    ("products.csv.zst", b"product_id,name\n1,a\n"),
    ("products.json", b'[{"product_id":"1"},2,{"product_id":'),
    ("products.json", b'[{"product_id":"1","name":"' + b"y" * 5000 + b'"}] rest'),
    ("products.ndjson", b'[1]\n{"product_id":"1","name":"\xff"}\n' + b"[" * 3000 + b"\n" + b"x" * 5000),
    ("products.ndjson.gz", gzip.compress(b'{"product_id":"1"}\n')[:-3]),
    ("products.parquet", b"PAR1 is no Parquet"),
    ("products.parquet.gz", gzip.compress(parquet())[:-20]),
    ("products.parquet", parquet()),
]


@pytest.mark.parametrize(("name", "data"), BAD_FILES, ids=[f"{n}-{name}" for n, (name, _) in enumerate(BAD_FILES)])
def test_every_dead_letter_of_a_bad_file(name: str, data: bytes) -> None:
    table = shipped()["products"]
    decoder = Decoder(table, lambda: TODAY)
    part = FileRange(InputFile("products", name, len(data), 0))
    refusals = [
        refusal
        for block in blocks_of(io.BytesIO(data), part, table, 4000)
        for refusal in decoder.decode(block).refusals
    ]
    assert refusals
    assert_the_same_again(table, name, refusals, limit=4000)


def test_a_record_over_the_old_limit_decodes_under_a_larger_one() -> None:
    table = shipped()["products"]
    data = b"product_id,name\n1," + b"x" * 5000 + b"\n"
    part = FileRange(InputFile("products", "products.csv", len(data), 0))
    (refusal,) = [found for block in blocks_of(io.BytesIO(data), part, table, 4000) for found in block.refusals]
    (letter,) = letters(table, "s", [refusal])
    assert decode_again(letter, table, 10_000, TODAY) is None


def test_of_a_record_stored_in_part_the_rest_is_missing() -> None:
    table = shipped()["products"]
    data = b'{"product_id":"' + b"x" * 9_000_000 + b'"}'
    part = FileRange(InputFile("products", "products.ndjson", len(data), 0))
    (refusal,) = [found for block in blocks_of(io.BytesIO(data), part, table, 8_500_000) for found in block.refusals]
    (letter,) = letters(table, "s", [refusal])
    assert letter["truncated"]
    assert json.loads(str(letter["attributes"]))["size"] == len(data)
    again = decode_again(letter, table, 20_000_000, TODAY)
    assert again is not None
    assert again.code is refusal.code


def test_a_clean_record_has_no_refusal() -> None:
    table = shipped()["products"]
    letter = {
        "raw": b'{"product_id":"1","name":"a"}',
        "position": int(np.int64(3)),
        "source": "s",
        "truncated": False,
        "attributes": '{"format": "json"}',
    }
    assert decode_again(letter, table, LIMIT, TODAY) is None
