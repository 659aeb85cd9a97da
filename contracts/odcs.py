"""Contracts of the Open Data Contract Standard v3, read into frozen tables.

What a contract may state is in three lists, here for the document and its tables, in odcs_column.py for
properties, in odcs_options.py for logicalTypeOptions. Whatever is in none of them is an error of one line that
names file, table, property and construct: nothing is ignored in silence.

What the standard has no word for is stated as customProperties of a table (TABLE_PROPERTIES), and as `source`
of a property.
"""

from __future__ import annotations

import codecs
import enum
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from typing import Any, TypeVar

from open_data_contract_standard.model import SchemaObject

from contracts.derived import check_expression
from contracts.errors import Misuse
from contracts.odcs_column import INFORMATIONAL, check_name, check_quality, columns_of, custom_properties, describe
from contracts.odcs_document import Place, check_keys, read
from contracts.table import Column, CsvDialect, Kind, Table

__all__ = ["load", "shipped"]

SUFFIX = ".odcs.yaml"
TABLE_SUPPORTED = (
    *("name", "physicalName", "physicalType", "logicalType", "description", "properties", "customProperties"),
    "quality",
)
TABLE_INFORMATIONAL = (*INFORMATIONAL, "dataGranularityDescription", "context")
TABLE_PROPERTIES = ("dataset", "writeDisposition", "unknownFields", "versionBy", "clustering", "csv")
PHYSICAL_TABLES = ("table", "topic", "file", "object", "stream")
"""Forms of a table's source; a view cannot be written to."""

DESCRIPTION_LENGTH = 16384
MAX_CLUSTERING = 4
KEY_KINDS = (Kind.STRING, Kind.INTEGER, Kind.NUMERIC, Kind.BOOLEAN, Kind.DATE, Kind.TIMESTAMP)
"""What can be compared for equality, and so be in a key or cluster a table in BigQuery."""

Word = TypeVar("Word", bound=enum.Enum)


def load(paths: Sequence[tuple[str, str]]) -> dict[str, Table]:
    """The tables of all contracts, by name; `paths` holds pairs of a file's name and its YAML text.

    Raises Misuse, with one line, for the first thing that is not supported or not valid, and for a table that
    stands in two places.
    """
    tables: dict[str, Table] = {}
    origin: dict[str, str] = {}
    for file, text in paths:
        for table in _tables_of(file, text):
            twice = origin.get(table.name.casefold())
            if twice is not None:
                raise Misuse(f"{file}: table {table.name} is in {twice} already; a table has one contract")
            tables[table.name] = table
            origin[table.name.casefold()] = file
    return tables


def shipped() -> dict[str, Table]:
    """The tables of the contracts that come with the product, by name."""
    files = sorted((f for f in resources.files("contracts").iterdir() if f.name.endswith(SUFFIX)), key=lambda f: f.name)
    return load([(file.name, file.read_text(encoding="utf-8")) for file in files])


def _tables_of(file: str, text: str) -> list[Table]:
    raw = read(file, text)
    place = Place(file)
    for entry in raw.get("customProperties") or ():
        if entry.get("property") in (*TABLE_PROPERTIES, "source"):
            raise place.error(f"customProperties {entry['property']}", "belongs to a table or property under 'schema'")
    if not raw.get("schema"):
        raise place.error("schema", "is missing: a contract describes at least one table")
    return [
        replace(_table(place, member), contract_id=str(raw["id"]), contract_version=str(raw["version"]))
        for member in raw["schema"]
    ]


def _table(document: Place, raw: Mapping[str, Any]) -> Table:
    if not raw.get("name"):
        raise document.error("schema", "has a table without a name")
    place = replace(document, table=str(raw["name"]))
    check_keys(place, raw, SchemaObject, (*TABLE_SUPPORTED, *TABLE_INFORMATIONAL))
    name = str(raw.get("physicalName") or raw["name"])
    check_name(place, "physicalName" if raw.get("physicalName") else "name", name)
    if raw.get("logicalType") not in (None, "object"):
        raise place.error("logicalType", f"must be object, not {raw['logicalType']}")
    if raw.get("physicalType") is not None and raw["physicalType"].lower() not in PHYSICAL_TABLES:
        known = ", ".join(PHYSICAL_TABLES)
        raise place.error("physicalType", f"{raw['physicalType']} is not supported for a table; {known} are")
    check_quality(place, raw)
    if not raw.get("properties"):
        raise place.error("properties", "is missing: a table needs columns")
    stated = columns_of(place, raw["properties"])
    key = _primary_key(place, raw["properties"])
    columns = tuple(
        replace(column, required=True) if member["name"] in key else column
        for member, column in zip(raw["properties"], stated, strict=True)
    )
    names = {str(member["name"]): column.name for member, column in zip(raw["properties"], columns, strict=True)}
    table = Table(
        name=name,
        columns=columns,
        primary_key=tuple(names[member] for member in key),
        partition=_partition(place, raw["properties"], columns),
        description=describe(place, raw, DESCRIPTION_LENGTH),
    )
    for column in (table.column(member) for member in table.primary_key):
        if column.kind not in KEY_KINDS or column.repeated:
            raise place.inside(column.name).error("primaryKey", f"cannot be {_kind(column)}")
    for column in table.derived_columns:
        problem = check_expression(table, column)
        if problem:
            raise place.inside(column.name).error("transformLogic", problem)
    return _with_table_properties(place, raw, table)


def _primary_key(place: Place, members: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the properties that make the primary key, in order; they are required, as in SQL, stated or not.

    Where no property is a primaryKey, the only one that is required and unique is the key.
    """
    positions: dict[str, int] = {}
    for member in members:
        name, position = str(member["name"]), member.get("primaryKeyPosition")
        if member.get("primaryKey"):
            positions[name] = -1 if position is None else position
        elif position not in (None, -1):
            raise place.inside(name).error("primaryKeyPosition", "is given without primaryKey: true")
    unique = [str(member["name"]) for member in members if member.get("unique")]
    if not positions:
        candidates = [str(member["name"]) for member in members if member.get("unique") and member.get("required")]
        if len(candidates) != 1:
            raise place.error("primaryKey", "is missing: records are told apart by it")
        positions = {candidates[0]: 1}
    for name in unique:
        if list(positions) != [name]:
            raise place.inside(name).error("unique", "is supported for a primary key of one column only")
    ordered = sorted(positions, key=lambda name: positions[name])
    stated = [positions[name] for name in ordered]
    if stated != [-1] * len(stated) and stated != list(range(1, len(stated) + 1)):
        raise place.error("primaryKeyPosition", f"must count from 1 to {len(stated)}, not {stated}")
    return ordered


def _partition(place: Place, members: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> str | None:
    found: str | None = None
    for member, column in zip(members, columns, strict=True):
        at = place.inside(str(member["name"]))
        if not member.get("partitioned"):
            if member.get("partitionKeyPosition") not in (None, -1):
                raise at.error("partitionKeyPosition", "is given without partitioned: true")
            continue
        if found is not None or member.get("partitionKeyPosition") not in (None, -1, 1):
            raise at.error("partitioned", "is supported for one column of a table")
        if column.kind not in (Kind.DATE, Kind.TIMESTAMP) or column.repeated:
            raise at.error("partitioned", f"is by day: the column must be a date or timestamp, not {_kind(column)}")
        found = column.name
    return found


def _with_table_properties(place: Place, raw: Mapping[str, Any], table: Table) -> Table:
    given = custom_properties(place, raw, TABLE_PROPERTIES)
    if "dataset" in given:
        check_name(place, "customProperties dataset", str(given["dataset"]))
        table = replace(table, dataset=str(given["dataset"]))
    if "versionBy" in given:
        kinds = (*KEY_KINDS, Kind.FLOAT)
        table = replace(table, version_by=_column_named(place, table, "versionBy", given["versionBy"], kinds))
    if "clustering" in given:
        names = given["clustering"]
        if not isinstance(names, list) or not 0 < len(set(map(str, names))) == len(names) <= MAX_CLUSTERING:
            problem = f"must list one to {MAX_CLUSTERING} different columns, not {names!r}"
            raise place.error("customProperties clustering", problem)
        clustering = tuple(_column_named(place, table, "clustering", name, KEY_KINDS) for name in names)
        table = replace(table, clustering=clustering)
    return replace(
        table,
        disposition=_word(place, given, "writeDisposition", table.disposition),
        unknown_fields=_word(place, given, "unknownFields", table.unknown_fields),
        csv=_csv(place, given["csv"]) if "csv" in given else table.csv,
    )


def _word(place: Place, given: Mapping[str, Any], name: str, default: Word) -> Word:
    words = [member.value for member in type(default)]
    if name in given and given[name] not in words:
        raise place.error(f"customProperties {name}", f"must be one of {', '.join(words)}, not {given[name]!r}")
    return type(default)(given.get(name, default.value))


def _column_named(place: Place, table: Table, construct: str, name: object, kinds: Sequence[Kind]) -> str:
    column = next((column for column in table.columns if column.name == name), None)
    if column is None:
        raise place.error(f"customProperties {construct}", f"names {name!r}, which is not a column of the table")
    if column.kind not in kinds or column.repeated:
        raise place.error(f"customProperties {construct}", f"names {name}, which is {_kind(column)}")
    return column.name


def _csv(place: Place, value: object) -> CsvDialect:
    construct = "customProperties csv"
    if not isinstance(value, dict):
        raise place.error(construct, f"must be a mapping, not {value!r}")
    keys = ("delimiter", "quote", "encoding", "nulls")
    check_keys(place, value, keys, keys, construct)
    dialect = CsvDialect(**{key: stated for key, stated in value.items() if key != "nulls" and stated is not None})
    for key in ("delimiter", "quote"):
        mark = getattr(dialect, key)
        if not isinstance(mark, str) or len(mark) != 1 or mark in "\r\n\0" or not mark.isascii():
            raise place.error(f"{construct}.{key}", f"must be one ASCII character, not {mark!r}")
    if dialect.delimiter == dialect.quote:
        raise place.error(construct, "has the same character as delimiter and quote")
    try:
        "".encode(dialect.encoding)  # codecs.lookup alone would take rot13
        encoding = codecs.lookup(dialect.encoding).name
    except (LookupError, TypeError):
        raise place.error(f"{construct}.encoding", f"{dialect.encoding!r} is not a text encoding") from None
    nulls = value.get("nulls") or []
    if not isinstance(nulls, list) or not all(isinstance(text, str) for text in nulls):
        raise place.error(f"{construct}.nulls", f"must be a list of texts (in quotes), not {nulls!r}")
    return replace(dialect, encoding=encoding, nulls=tuple(nulls))


def _kind(column: Column) -> str:
    return f"an array of {column.kind.value}" if column.repeated else column.kind.value
