"""A sample of records with the facts about its files: fields before any contract is known."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from connectors.files.compression import Damaged, decompress
from connectors.files.json_files import BOM, wide_encoding
from connectors.files.line_ends import EXCEL_LINE
from connectors.files.names import PART, InputFile, form_of
from connectors.files.storage import Storage
from contracts.decoding.csv_rows import parse_row
from contracts.decoding.decoder import Block
from contracts.decoding.json_forms import arrays_of_objects
from contracts.decoding.json_text import parse_json
from contracts.errors import UsageError
from contracts.refusal import NotClean
from contracts.table import Column, CsvDialect, Kind, Table
from operations.contracts.sample import blocks_of_files

__all__ = ["Sample", "add_blocks", "csv_table", "grouped", "records_path", "sample_of"]

HEAD_BYTES = 1 << 18
DELIMITERS = (",", ";", "\t", "|")
MAX_DOCUMENT_BYTES = 64 << 20
LOOKED_AT = 200
"""Lines that the form of a CSV file is decided by."""
LONGEST_LINE = 100_000
"""Longer lines say nothing about the form, and Python's csv refuses fields of more than 128 KB."""
NUMBER = re.compile(r"\s*[-+]?[\d.,:/ -]+\s*")


@dataclass(slots=True)
class Sample:
    """Records of one table. `in_csv`: their values are text."""

    records: list[Mapping[str, object]] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    read: int = 0
    in_csv: bool = False
    dialect: CsvDialect | None = None
    remarks: list[str] = field(default_factory=list)
    unreadable: str = ""
    """Why the first record that is none cannot be read."""
    complete: bool = True
    """Whether these are all records."""
    records_path: tuple[str, ...] = ()
    """Where the records are inside a JSON document."""
    topic: bool = False


def grouped(files: Sequence[InputFile], folders: Sequence[str], name: str | None) -> dict[str, list[InputFile]]:
    """Return the files by table: all of one table if it is named, else by the names of files and folders."""
    groups: dict[str, list[InputFile]] = {}
    for file in files:
        groups.setdefault(name or _table_of(file.uri, folders), []).append(file)
    return groups


def _table_of(uri: str, folders: Sequence[str]) -> str:
    base = next((folder.rstrip("/") + "/" for folder in folders if uri.startswith(folder.rstrip("/") + "/")), "")
    parts = uri.removeprefix(base).split("/") if base else [uri.rsplit("/", 1)[-1]]
    named = [part for part in parts[:-1] if "=" not in part]
    if named:
        return named[0]
    if len(parts) > 1:
        return base.rstrip("/").rsplit("/", 1)[-1]
    form = form_of(uri)
    stem = re.sub(r"(?i)\.[a-z]+(\.(gz|gzip|zst|zstd))?$", "", parts[-1]) if form else parts[-1]
    for end in range(1, len(stem)):
        if PART.fullmatch(stem.lower(), end):
            return stem[:end]
    return stem


def csv_table(storage: Storage, file: InputFile) -> tuple[Table, list[str]]:
    """Return a table of the fields of a CSV file, as texts, and remarks on how its form was found.

    Raises UsageError for UTF-16 and for a file that cannot be decompressed.
    """
    head = _head(storage, file)
    remarks: list[str] = []
    dialect = CsvDialect()
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        cut = error.start > len(head) - 4
        dialect = dialect if cut else replace(dialect, encoding="cp1252")
        text = head.decode(dialect.encoding, errors="ignore")
        if not cut:
            remarks.append("check: not UTF-8; read as cp1252, others are iso8859-1, iso8859-15, cp1250")
    if excel := EXCEL_LINE.match(head):
        text = text[excel.end() :]
    lines = [line for line in re.split(r"\r\n|\n|\r", text) if line.strip()]
    lines = lines[:-1] if len(head) >= HEAD_BYTES and len(lines) > 1 else lines
    lines = [line for line in lines[:LOOKED_AT] if len(line) <= LONGEST_LINE]
    if lines and lines[0].startswith("#"):
        dialect = replace(dialect, comment="#")
        remarks.append("lines that begin with # are no records")
        lines = [line for line in lines if not line.startswith("#")]
    named = excel[2].decode() if excel else ""
    delimiter = named or ("\t" if file.format == "tsv" else _delimiter(lines))
    try:
        rows = list(csv.reader(io.StringIO("\n".join(lines)), delimiter=delimiter))
    except csv.Error as error:
        raise UsageError(f"{file.uri}: cannot be read as CSV: {error}") from None
    if named:
        remarks.append(f"the first line of the file names {named!r} as what separates its fields")
    elif file.format != "tsv" and delimiter != ",":
        dialect = replace(dialect, delimiter=delimiter)
        remarks.append(f"fields are separated by {delimiter!r}, as in {len(rows):,} lines")
    first = [name.strip() for name in rows[0]] if rows else []
    if not _is_header(first, rows[1:]):
        dialect = replace(dialect, header=False)
        remarks.append("check: the first line is no header, so fields are named by their order; rename them")
        first = [f"column_{number}" for number in range(1, len(first) + 1)]
    widths = Counter(map(len, rows[1:]))
    short = sum(count for width, count in widths.items() if width < len(first))
    if short and all(width <= len(first) for width in widths):
        dialect = replace(dialect, ragged=True)
        remarks.append(f"{short:,} of {len(rows):,} lines have fewer fields than the first")
    if any(field != field.strip() for row in rows[1:] for field in row):
        dialect = replace(dialect, trim=True)
        remarks.append("blanks around values are not part of them")
    columns = tuple(Column(f"c{number}", Kind.STRING, source=(name,)) for number, name in enumerate(first))
    return Table("sample", columns, (), csv=dialect), remarks


def _head(storage: Storage, file: InputFile) -> bytes:
    head = b""
    with storage.open(file.uri) as stream:
        try:
            for piece in decompress(stream, file.compression, None):
                head += piece
                if len(head) >= HEAD_BYTES:
                    break
        except Damaged as error:
            if not head:
                raise UsageError(f"{file.uri}: cannot be read: {error}") from None
    if wide := wide_encoding(head):
        raise UsageError(f"{file.uri}: is {wide}, not UTF-8; convert it with iconv -f {wide} -t UTF-8")
    return head[:HEAD_BYTES].removeprefix(BOM)


def _delimiter(lines: Sequence[str]) -> str:
    """Return the delimiter that gives most lines the same number of fields, and the most fields."""

    def score(delimiter: str) -> tuple[float, int]:
        try:
            rows = list(csv.reader(lines, delimiter=delimiter))
        except csv.Error:  # a field of more than 128 KB: quotes that this delimiter does not pair
            return 0.0, 0
        width, count = Counter(map(len, rows)).most_common(1)[0] if rows else (1, 0)
        return (count / len(rows) if rows and width > 1 else 0.0), width

    return max(DELIMITERS, key=score)


def _is_header(first: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    if not first or not all(first) or len({name.casefold() for name in first}) != len(first):
        return len(first) > 1 and any(first) and not any(NUMBER.fullmatch(name) for name in first) and not rows
    if any(NUMBER.fullmatch(name) or "@" in name for name in first):
        return False
    numeric = [
        index
        for index in range(len(first))
        if rows and all(NUMBER.fullmatch(row[index]) for row in rows if index < len(row))
    ]
    return bool(numeric) or len(set(first) & {field for row in rows for field in row}) == 0


def sample_of(storage: Storage, files: Sequence[InputFile], limit: int) -> Sample:
    """Return the first `limit` records of the files, spread evenly over the files."""
    sample = Sample()
    share = max(1, -(-limit // max(1, len(files))))
    for file in files:
        table: Table | None = None
        if file.format == "json" and (path := records_path(storage, file)):
            table, sample.records_path = Table("sample", (), (), records_path=path), path
        elif file.format in ("csv", "tsv"):
            table, remarks = csv_table(storage, file)
            sample.in_csv = True
            sample.dialect = sample.dialect or table.csv
            sample.remarks += [remark for remark in remarks if remark not in sample.remarks]
        add_blocks(sample, blocks_of_files(storage, [file], table), share)
    return sample


def records_path(storage: Storage, file: InputFile) -> tuple[str, ...]:
    """Return where a JSON file that is one object has an array of objects, the longest; () for any other file."""
    if file.size > MAX_DOCUMENT_BYTES or not _head(storage, file).lstrip().startswith(b"{"):
        return ()
    with storage.open(file.uri) as stream:
        try:
            document = json.loads(b"".join(decompress(stream, file.compression, MAX_DOCUMENT_BYTES)))
        except (Damaged, ValueError, RecursionError):  # lines of JSON, for example
            return ()
    arrays = dict(arrays_of_objects(document))
    return max(arrays, key=lambda path: len(arrays[path]), default=())


def add_blocks(sample: Sample, blocks: Iterable[Block], limit: int) -> None:
    """Add the first `limit` records of the blocks."""
    left = limit
    for block in blocks:
        if left <= 0:
            sample.complete = False
            return
        sample.read += len(block.refusals)
        if block.refusals and not sample.unreadable:
            sample.unreadable = block.refusals[0].message
        part = block.part(range(min(left, len(block.records)))) if len(block.records) > left else block
        sample.complete &= part is block
        sample.blocks.append(part)
        for raw in part.records:
            sample.read += 1
            try:
                record = parse_row(raw, block.header) if block.header else parse_json(raw.decode())
            except (NotClean, UnicodeDecodeError) as problem:
                sample.unreadable = sample.unreadable or str(problem)
                continue
            if isinstance(record, Mapping):
                sample.records.append(record)
            else:
                sample.unreadable = sample.unreadable or "the record is not a JSON object"
        left -= len(part.records)
