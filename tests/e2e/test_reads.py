"""No read ends early unnoticed: a server in front of the bucket that cuts, repeats, changes and stalls."""

from __future__ import annotations

import gzip
import os
import random
from collections.abc import Iterator

import pytest

from connectors.files.names import InputFile
from connectors.files.readers import FETCH_BYTES, ReadFailed, ReadTimes
from connectors.files.storage import Storage
from connectors.sources.files import FileRange, ranges, read_blocks
from contracts.decoding.decoder import Block
from contracts.table import Column, Kind, Table
from tests.e2e.clouds import Cloud
from tests.e2e.proxies import BreakingProxy

pytestmark = pytest.mark.e2e

LARGE = random.Random(5).randbytes(FETCH_BYTES + 1_000_000)
TABLE = Table("t", (Column("id", Kind.STRING, required=True),), ("id",))
LINES = b"".join(b'{"id":"%d"}\n' % number for number in range(2000))
CSV = b"id\n" + b"".join(b"%d\n" % number for number in range(2000))


@pytest.fixture(scope="module")
def proxy(cloud: Cloud) -> Iterator[BreakingProxy]:
    with BreakingProxy(os.environ["STORAGE_EMULATOR_HOST"]) as between, pytest.MonkeyPatch.context() as environment:
        environment.setenv("STORAGE_EMULATOR_HOST", between.address)
        yield between


@pytest.fixture(scope="module")
def storage(proxy: BreakingProxy) -> Storage:
    storage = Storage("local-project", ReadTimes(silence=0.5, deadline=2))
    storage.client.create_bucket("reads")
    storage.write("gs://reads/large", LARGE)
    storage.write("gs://reads/lines.ndjson", LINES)
    return storage


@pytest.mark.parametrize("breaks", ["cut", "short", "stall"])
def test_an_answer_that_breaks_off_is_continued(breaks: str, storage: Storage, proxy: BreakingProxy) -> None:
    proxy.arm(breaks, times=3)
    assert storage.read("gs://reads/large") == LARGE
    assert proxy.broken == 3


@pytest.mark.parametrize("breaks", ["repeat", "longer", "flip"])
def test_other_bytes_than_those_stored_are_an_error(breaks: str, storage: Storage, proxy: BreakingProxy) -> None:
    proxy.arm(breaks, times=1)
    with pytest.raises(ReadFailed, match=r"gs://reads/large.*expected"):
        storage.read("gs://reads/large")
    assert proxy.broken == 1


@pytest.mark.parametrize("breaks", ["cut", "stall", "short"])
def test_what_cannot_be_had_is_an_error_and_no_shorter_file(
    breaks: str, storage: Storage, proxy: BreakingProxy
) -> None:
    proxy.arm(breaks, times=1_000_000, share=0)
    (file,) = [file for file in storage.list("gs://reads") if file.uri.endswith("lines.ndjson")]
    pinned = InputFile("t", file.uri, file.size, file.generation)
    with pytest.raises(ReadFailed, match=r"lines\.ndjson"):
        list(read_blocks(storage, FileRange(pinned), TABLE, 1000))
    proxy.arm("", times=0)


def ids(blocks: list[Block]) -> list[bytes]:
    return [record for block in blocks for record in block.records]


@pytest.mark.parametrize("breaks", ["", "cut", "short"])
def test_ranges_are_held_against_their_bytes(breaks: str, storage: Storage, proxy: BreakingProxy) -> None:
    (file,) = [file for file in storage.list("gs://reads") if file.uri.endswith("lines.ndjson")]
    pinned = InputFile("t", file.uri, file.size, file.generation)
    proxy.arm(breaks, times=4 if breaks else 0)
    parts = list(ranges(storage, pinned, range_bytes=3000))
    assert len(parts) > 5
    found = [block for part in parts for block in read_blocks(storage, part, TABLE, 1000)]
    assert ids(found) == LINES.splitlines()
    proxy.arm("", times=0)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("plain.csv", gzip.compress(CSV)),
        ("named.csv.gz", gzip.compress(CSV)),
        ("twice.csv.gz", gzip.compress(gzip.compress(CSV))),
    ],
)
@pytest.mark.parametrize("encoding", ["gzip", None])
def test_content_encoding_is_decoded_by_us(
    name: str, data: bytes, encoding: str | None, storage: Storage, proxy: BreakingProxy
) -> None:
    blob = storage.client.bucket("reads").blob(f"{encoding}/{name}")
    blob.content_encoding = encoding
    blob.upload_from_string(data)
    assert storage.read(f"gs://reads/{encoding}/{name}") == data
    (file,) = [file for file in storage.list(f"gs://reads/{encoding}") if file.uri.endswith(name)]
    pinned = InputFile("t", file.uri, file.size, file.generation)
    blocks = list(read_blocks(storage, FileRange(pinned), TABLE, 1000))
    assert ids(blocks) == CSV.splitlines()[1:]
    assert int(blocks[0].positions[0]) == 3
