"""A record of which only the beginning is stored is read again from the file that its run has read, or stays."""

from __future__ import annotations

import gzip
import os
from dataclasses import replace
from pathlib import Path

import pytest

from connectors.files.names import InputFile
from connectors.files.storage import Storage
from connectors.sources.files import FileRange, read_blocks
from connectors.sources.read_again import Origin, ReadAgain
from connectors.sources.stored_letters import StoredLetter, blocks_again
from contracts.decoding.decoder import Decoder
from contracts.refusal import Refusal
from contracts.table import Column, Kind, Table
from tests.connectors.test_stored_letters import NOW, RUN, TODAY
from transforms.dead_letters import dead_letters

LIMIT = 10_000_000
NARROW = Table("notes", (Column("id", Kind.STRING, max_length=1), Column("text", Kind.STRING)), ("id",))
WIDE = replace(NARROW, columns=(Column("id", Kind.STRING), Column("text", Kind.STRING)))
LONG = b"x" * 8_100_000
FILES = {
    "notes.ndjson": b'{"id":"1"}\n{"id":"22","text":"%b"}\n{"id":"33"}\n' % LONG,
    "notes.csv.gz": gzip.compress(b'id,text\n1,a\n22,"%b"\n33,\n' % LONG, 1),
}


def refused(file: InputFile) -> list[StoredLetter]:
    """The dead letters of a file under the narrow contract."""
    refusals: list[Refusal] = []
    for block in read_blocks(Storage(), FileRange(file), NARROW, LIMIT):
        refusals += Decoder(NARROW, lambda: TODAY).decode(block).refusals
    return [StoredLetter.of(row) for row in dead_letters(NARROW, file.uri, refusals, RUN, NOW).to_pylist()]


@pytest.fixture(params=FILES)
def file(tmp_path: Path, request: pytest.FixtureRequest) -> InputFile:
    path = tmp_path / request.param
    path.write_bytes(FILES[request.param])
    return InputFile("notes", str(path), path.stat().st_size, path.stat().st_mtime_ns)


def again(file: InputFile, letters: list[StoredLetter], *, limit: int = LIMIT, known: bool = True) -> dict[str, str]:
    """What becomes of the dead letters: their row's id, or why they are refused, by the stored beginning's length."""
    origin = Origin(file.generation, file.size, None)
    whole = ReadAgain(Storage(), None, {(RUN.run_id, file.uri): origin} if known else {})
    rows: dict[str, str] = {}
    for block in blocks_again(letters, WIDE, limit, whole):
        decoded = Decoder(WIDE, lambda: TODAY).decode(block)
        rows |= {row["id"]: str(len(row["text"] or "")) for row in decoded.rows.to_dicts()}
        rows |= {f"at {each.position}": f"{each.code.value}: {each.message}" for each in decoded.refusals}
    return rows


def test_the_whole_record_is_read_from_its_file(file: InputFile) -> None:
    letters = refused(file)
    assert [letter.truncated for letter in letters] == [True, False]
    assert again(file, letters) == {"22": "8100000", "33": "0"}


def test_a_record_stays_whose_file_is_another_one(file: InputFile) -> None:
    letters = refused(file)
    position = f"at {letters[0].position}"
    os.utime(file.uri, ns=(0, file.generation + 1_000_000))
    said = again(file, letters)
    assert said["33"] == "0"
    assert said[position] == (
        "record_too_large: only the beginning of the record is stored, and the file is gone or was changed since"
    )
    Path(file.uri).unlink()
    assert said == again(file, letters)
    assert "the ledger does not say what run r has read" in again(file, letters, known=False)[position]
    assert "the limit is 8000000" in again(file, letters, limit=8_000_000)[position]


def test_a_record_that_begins_differently_is_another_one(file: InputFile) -> None:
    (letter, _) = refused(file)
    other = replace(letter, raw=b"y" + letter.raw[1:])
    assert "its file has no such record" in again(file, [other])[f"at {letter.position}"]
