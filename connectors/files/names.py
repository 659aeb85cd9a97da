"""The table that an input file belongs to, its format and compression: all by its name.

    <table>/…<ext>                           any file with a known extension in the folder of the table, at any depth
    <table><ext>                             rides.csv, RIDES.CSV, rides.json.gz
    <table><part><ext>                       rides_001.csv, rides-2024-05-01.csv, rides+0+0000000012.json.gz

A file belongs to the longest table name that matches: a file of `orders_items` never belongs to `orders`. Case does
not matter. A part consists of digits, dates and times after `-`, `_`, `.` or `+`, with `part` and `of` among them, or
of the twelve digits that BigQuery exports. No other word is a part: `orders-archive.csv` does not belong to `orders`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from connectors.files.storage import StoredFile, Unlisted, below
from contracts.table import Table
from transforms.source_order import natural_order

__all__ = ["RULE", "FileForm", "InputFile", "InputListing", "PassedOver", "belonging", "escaped", "form_of"]

FORMATS = {
    "csv": "csv",
    "tsv": "tsv",
    "txt": "csv",
    "json": "json",
    "ndjson": "ndjson",
    "jsonl": "jsonl",
    "parquet": "parquet",
    "avro": "avro",
    "orc": "orc",
}
COMPRESSIONS = {"gz": "gz", "gzip": "gz", "zst": "zst", "zstd": "zst"}
EXTENSION = re.compile(
    rf"(?P<stem>.+?)\.(?P<format>{'|'.join(FORMATS)})(?:\.(?P<compression>{'|'.join(COMPRESSIONS)}))?"
)
PART = re.compile(r"(?=.*[0-9])(?:[-_.+](?:[0-9][0-9tz:]*|part|of))+|[0-9]{12}")
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, and surrogates, by which Python represents bytes that are not UTF-8."""
RULE = (
    "a table's files are <table>/…, <table>.csv, <table>_001.csv or <table>-2024-05-01.csv, in any case;"
    f" extensions .{', .'.join(FORMATS)}, plain or with .{', .'.join(COMPRESSIONS)} behind"
)
"""The rule in one sentence, for messages."""


class FileForm(NamedTuple):
    """`format`: csv, tsv, json, ndjson, jsonl, parquet, avro or orc; `compression`: gz, zst or ''."""

    format: str
    compression: str


@dataclass(frozen=True, slots=True, order=True)
class InputFile:
    """An input file that a run has pinned. `content_encoding` is that of its object in Cloud Storage: '' or gzip."""

    table: str
    uri: str
    size: int
    generation: int
    content_encoding: str = ""

    @property
    def format(self) -> str:
        """csv, tsv, json, ndjson, jsonl, parquet, avro or orc."""
        return self._form.format

    @property
    def compression(self) -> str:
        """By the name: gz, zst, or '' for a plain file."""
        return self._form.compression

    @property
    def _form(self) -> FileForm:
        form = form_of(self.uri)
        assert form, self.uri
        return form


class PassedOver(NamedTuple):
    """A file below the input that is not read: its URI with unsafe characters escaped, and the reason."""

    uri: str
    reason: str


@dataclass(frozen=True, slots=True)
class InputListing:
    """The content of the input folder: the files of the tables in natural order, and the files that are passed over.

    `uncommitted` is the number of files that are not data (of Spark, Hive, Delta): their name, or that of a folder
    above them, begins with `_` or `.`.
    """

    files: list[InputFile]
    passed_over: list[PassedOver]
    uncommitted: int


def form_of(uri: str) -> FileForm | None:
    """Return format and compression by the extension of a file, None if it is unknown."""
    match = EXTENSION.fullmatch(uri.rsplit("/", 1)[-1].lower())
    return FileForm(FORMATS[match["format"]], COMPRESSIONS.get(match["compression"], "")) if match else None


def escaped(text: str) -> str:
    r"""Return the text with escapes such as `\xff` for all characters that cannot be displayed or stored."""
    return UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    code = code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code  # surrogateescape: a byte that is not UTF-8
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def belonging(
    files: Iterable[StoredFile | Unlisted], folder: str, tables: Iterable[str] | Mapping[str, Table]
) -> InputListing:
    """Assign the entries of `Storage.scan(folder)` to `tables`, whose names must differ in more than case.

    A table whose contract has globs has the files that match them, relative to the folder, and no others.
    """
    globs = {name: table.files for name, table in tables.items()} if isinstance(tables, Mapping) else {}
    patterns = {name: re.compile("|".join(map(_expression, those))) for name, those in globs.items() if those}
    names = {name.lower(): name for name in sorted(tables, key=len, reverse=True) if name not in patterns}
    data: list[InputFile] = []
    others: list[PassedOver] = []
    uncommitted = 0
    base = below(folder)
    for file in files:
        parts = file.uri.removeprefix(base).split("/")
        if isinstance(file, Unlisted):
            others.append(PassedOver(escaped(file.uri), file.reason))
        elif UNSAFE.search(file.uri):
            others.append(PassedOver(escaped(file.uri), "its name is not UTF-8, or has control characters"))
        elif any(map(_is_hidden, parts[1:] if parts[0].lower() in names else parts)):
            uncommitted += 1
        elif isinstance(table := _table_by_glob(parts, patterns) or _table_of(parts, names), PassedOver):
            others.append(table._replace(uri=file.uri))
        else:
            data.append(InputFile(table, file.uri, file.size, file.generation, file.content_encoding))
    data.sort(key=lambda file: (file.table, natural_order(file.uri)))
    return InputListing(data, others, uncommitted)


def _table_by_glob(parts: list[str], patterns: Mapping[str, re.Pattern[str]]) -> str | PassedOver | None:
    """Return the table whose globs match the path, None if there is none, or why the file is not read."""
    matching = [name for name, pattern in patterns.items() if pattern.fullmatch("/".join(parts))]
    if not matching:
        return None
    if len(matching) > 1:
        return PassedOver("", f"the contracts of {' and '.join(sorted(matching))} both have it among their files")
    if form_of(parts[-1]) is None:
        return PassedOver("", "its extension is not one of a supported format")
    return matching[0]


def _expression(glob: str) -> str:
    """Return the regular expression of a glob: `*` and `?` stay within a folder, `**/` is any number of folders."""
    marks = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", glob)
    return "".join(marks.get(part) or re.escape(part) for part in parts)


def _is_hidden(name: str) -> bool:
    """Return whether Spark would ignore a file or folder; the folder of a partition may begin with `_`: `_day=1`."""
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def _table_of(parts: list[str], names: dict[str, str]) -> str | PassedOver:
    """Return the table of the file at the path `parts`, or why it has none; the URI is left empty.

    `names` maps lower case to the name of a table, the longest first.
    """
    match = EXTENSION.fullmatch(parts[-1].lower())
    if len(parts) > 1 and parts[0].lower() not in names:
        return PassedOver("", f"no table is called {parts[0]}")
    if not match:
        return PassedOver("", "its extension is not one of a supported format")
    if len(parts) > 1:
        return names[parts[0].lower()]
    stem = match["stem"]
    for lower, name in names.items():
        if stem == lower or (stem.startswith(lower) and PART.fullmatch(stem, len(lower))):
            return name
    return PassedOver("", "its name matches no table")
