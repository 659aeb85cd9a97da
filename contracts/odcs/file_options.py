"""How the files of a table are written, and which they are: customProperties `csv`, `recordsPath` and `files`."""

from __future__ import annotations

import codecs
from typing import Any

from contracts.odcs.document import Place, check_keys
from contracts.table import CsvDialect

__all__ = ["csv_dialect", "file_globs", "path_of"]

ENCODINGS = (
    *("utf-8", "ascii", *(f"iso8859-{part}" for part in (*range(1, 12), *range(13, 17)))),
    *(f"cp{page}" for page in (437, 850, 852, 855, 857, 858, 860, 861, 862, 863, 865, 866, *range(1250, 1259))),
    *("koi8-r", "koi8-u", "mac-roman", "euc_kr", "gb2312"),
)
"""Encodings of CSV files, as Python names them: each contains ASCII, and no byte of another character is ASCII."""
MARKS = {"delimiter": "delimiter", "quote": "quote", "escape": "escape", "comment": "comment"}
FLAGS = {"trim": "trim", "header": "header", "raggedRows": "ragged"}
CSV_KEYS = (*MARKS, *FLAGS, "encoding", "nulls", "skipLines")
MAX_SKIPPED = 10_000
MAX_GLOBS, MAX_GLOB_LENGTH = 100, 500


def csv_dialect(place: Place, value: object) -> CsvDialect:
    """Return the dialect that `csv` states. Raises UsageError."""
    construct = "customProperties csv"
    if not isinstance(value, dict):
        raise place.error(construct, f"must be a mapping, not {value!r}")
    check_keys(place, value, CSV_KEYS, CSV_KEYS, construct)
    given = {key: stated for key, stated in value.items() if stated is not None}
    settings: dict[str, Any] = {}
    for key in set(MARKS).intersection(given):
        mark = given[key]
        if not isinstance(mark, str) or len(mark) != 1 or mark in "\r\n\0" or not mark.isascii():
            raise place.error(f"{construct}.{key}", f"must be one ASCII character, not {mark!r}")
        settings[key] = mark
    for key, name in FLAGS.items():
        if not isinstance(given.get(key, False), bool):
            raise place.error(f"{construct}.{key}", f"must be true or false, not {given[key]!r}")
        if key in given:
            settings[name] = given[key]
    dialect = CsvDialect(**settings)
    _check_marks(place, construct, dialect)
    skipped = given.get("skipLines", 0)
    if type(skipped) is not int or not 0 <= skipped <= MAX_SKIPPED:
        raise place.error(f"{construct}.skipLines", f"must be a number of lines up to {MAX_SKIPPED:,}, not {skipped!r}")
    nulls = given.get("nulls") or []
    if not isinstance(nulls, list) or not all(isinstance(text, str) for text in nulls):
        raise place.error(f"{construct}.nulls", f"must be a list of texts (in quotes), not {nulls!r}")
    settings["encoding"] = _encoding(place, f"{construct}.encoding", given.get("encoding", dialect.encoding))
    return CsvDialect(**settings, skip_lines=skipped, nulls=tuple(nulls))


def _check_marks(place: Place, construct: str, dialect: CsvDialect) -> None:
    """Raise UsageError if two of the characters are the same."""
    marks: dict[str, str] = {}
    for key, name in MARKS.items():
        mark = getattr(dialect, name)
        if mark and mark in marks:
            raise place.error(construct, f"has the same character as {marks[mark]} and {key}")
        marks[mark] = key


def path_of(place: Place, construct: str, value: object) -> tuple[str, ...]:
    """Return the steps of a path such as `data.items`, or of a list of names. Raises UsageError."""
    steps = value.split(".") if isinstance(value, str) else value
    if not isinstance(steps, list) or not steps or not all(isinstance(step, str) and step for step in steps):
        problem = f"must be a path such as user.id or a list of names, not {value!r}"
        raise place.error(f"customProperties {construct}", problem)
    return tuple(steps)


def file_globs(place: Place, value: object) -> tuple[str, ...]:
    """Return the globs of `files`. Raises UsageError."""
    construct = "customProperties files"
    globs = [value] if isinstance(value, str) else value
    if not isinstance(globs, list) or not 0 < len(globs) <= MAX_GLOBS:
        raise place.error(construct, f"must be a glob or a list of up to {MAX_GLOBS}, not {value!r}")
    for glob in globs:
        if not isinstance(glob, str) or not 0 < len(glob) <= MAX_GLOB_LENGTH:
            raise place.error(construct, f"must have texts of up to {MAX_GLOB_LENGTH} characters, not {glob!r}")
        if glob.startswith("/") or "://" in glob or ".." in glob.split("/"):
            raise place.error(construct, f"{glob!r} must be below the input: no /, scheme or .. in front")
    return tuple(globs)


def _encoding(place: Place, construct: str, name: object) -> str:
    try:
        codec = codecs.lookup(name).name if isinstance(name, str) else ""
    except (LookupError, ValueError):  # ValueError: a name with a NUL
        codec = ""
    if codec == "utf-8-sig":  # its mark is the reader's business
        return "utf-8"
    if not codec:
        raise place.error(construct, f"{name!r} is not a text encoding")
    if codec not in ENCODINGS:
        problem = f"{name} is not supported: records are found by their bytes, so ASCII must be in it as it is"
        raise place.error(construct, f"{problem}; {', '.join(ENCODINGS)} are")
    return codec
