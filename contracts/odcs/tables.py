"""Contracts of the Open Data Contract Standard v3, read into frozen tables.

What a contract may state is in three lists, here for the document and its tables, in odcs_column.py for
properties, in odcs_options.py for logicalTypeOptions. Whatever is in none of them is an error of one line that
names file, table, property and construct: nothing is ignored in silence.

What the standard has no word for is stated as customProperties of a table (TABLE_PROPERTIES), and as `source`
of a property.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from typing import Any, TypeVar

from open_data_contract_standard.model import SchemaObject

from contracts.odcs.columns import INFORMATIONAL, check_name, columns_of, custom_properties, describe
from contracts.odcs.document import Place, check_document, check_keys
from contracts.odcs.expressions import check_expression
from contracts.odcs.file_options import csv_dialect, file_globs, path_of
from contracts.odcs.forms import TABLE_PROPERTIES
from contracts.odcs.keys import kind_name, partition, primary_key
from contracts.odcs.partitions import with_partition
from contracts.odcs.problems import ContractError, Problem, Problems, with_lines
from contracts.odcs.quality import named, rules_of
from contracts.odcs.relationships import Names, orphan_rules
from contracts.odcs.service_levels import with_service_levels
from contracts.odcs.yaml_text import mapping
from contracts.table import Identity, Kind, Table, WriteDisposition

__all__ = ["load", "shipped", "shipped_files"]

SUFFIX = ".odcs.yaml"
TABLE_SUPPORTED = (
    *("name", "physicalName", "physicalType", "logicalType", "description", "properties", "customProperties"),
    *("quality", "relationships"),
)
TABLE_INFORMATIONAL = (*INFORMATIONAL, "dataGranularityDescription", "context")
PHYSICAL_TABLES = ("table", "topic", "file", "object", "stream", "record")
"""Forms of a table's source; a view cannot be written to."""

DESCRIPTION_LENGTH = 16384
MAX_CLUSTERING = 4
KEY_KINDS = (*(Kind.STRING, Kind.INTEGER, Kind.NUMERIC, Kind.BOOLEAN, Kind.DATE, Kind.DATETIME, Kind.TIMESTAMP),)
"""What can be compared for equality, and so be in a key or cluster a table in BigQuery."""

Word = TypeVar("Word", bound=enum.Enum)


def load(paths: Sequence[tuple[str, str]]) -> dict[str, Table]:
    """The tables of all contracts, by name; `paths` holds pairs of a file's name and its YAML text.

    Raises ContractError with all that is not supported or not valid, one line for each problem; also for text that is
    no contract, and for a table that is in two files.
    """
    tables: dict[str, Table] = {}
    origin: dict[str, str] = {}
    problems, names = Problems(), Names()
    documents: list[tuple[str, str, Mapping[str, Any]]] = []
    for file, text in paths:
        read: list[Table] = []
        with problems.collecting():
            raw, read = _tables_of(file, text)
            documents.append((file, text, raw))
            for member, table in zip(raw["schema"], read, strict=True):
                names.add(member, table)
        for table in read:
            twice = origin.get(table.name.casefold())
            with problems.collecting():
                if twice is not None:
                    construct = f"is in {twice} already; a table has one contract"
                    raise ContractError([Problem(table.name, "", "", f"{file}: table {table.name} {construct}")])
            tables[table.name] = table
            origin[table.name.casefold()] = file
    for file, text, raw in documents:
        with problems.collecting():
            tables.update(_with_relationships(file, text, raw, tables, names))
    problems.check()
    return tables


def _with_relationships(
    file: str, text: str, raw: Mapping[str, Any], tables: Mapping[str, Table], names: Names
) -> dict[str, Table]:
    """Return the tables of a file with the rules of their relationships, which may lead to other files."""
    complete: dict[str, Table] = {}
    problems = Problems()
    for member in raw["schema"]:
        table = tables[str(member.get("physicalName") or member["name"])]
        place = Place(file, str(member["name"]), notes=list(table.notes))
        with problems.collecting():
            rules = named((*table.rules, *orphan_rules(place, member, table, names)))
            complete[table.name] = replace(table, rules=rules, notes=tuple(place.notes))
    try:
        problems.check()
    except ContractError as error:
        raise with_lines(error, text) from None
    return complete


def shipped() -> dict[str, Table]:
    """The tables of the contracts that come with the product, by name."""
    return load(shipped_files())


def shipped_files() -> list[tuple[str, str]]:
    """Name and text of the contracts that come with the product."""
    files = sorted((f for f in resources.files("contracts").iterdir() if f.name.endswith(SUFFIX)), key=lambda f: f.name)
    return [(file.name, file.read_text(encoding="utf-8")) for file in files]


def _tables_of(file: str, text: str) -> tuple[Mapping[str, Any], list[Table]]:
    raw = mapping(file, text)
    wrong = Problems()
    with wrong.collecting():
        check_document(file, raw)
    further = Problems(wrong.reported)
    tables: list[Table] = []
    try:
        with further.collecting():
            tables = _tables(file, raw)
    except (AttributeError, KeyError, TypeError, ValueError):
        if not wrong.found:  # a value of the wrong type, which is reported, may end the reading of the tables
            raise
    try:
        if wrong.found or further.found:
            raise ContractError([*wrong.found, *further.found])
    except ContractError as error:
        raise with_lines(error, text) from None
    return raw, tables


def _tables(file: str, raw: Mapping[str, Any]) -> list[Table]:
    place = Place(file)
    for entry in raw.get("customProperties") or ():
        if entry.get("property") in (*TABLE_PROPERTIES, "source"):
            raise place.error(f"customProperties {entry['property']}", "belongs to a table or property under 'schema'")
    if not raw.get("schema"):
        raise place.error("schema", "is missing: a contract describes at least one table")
    tables: list[Table] = []
    problems = Problems()
    for member in raw["schema"]:
        with problems.collecting():
            tables.append(_table(place, member))
    problems.check()
    tables = with_service_levels(raw, tables)
    return [replace(table, contract_id=str(raw["id"]), contract_version=str(raw["version"])) for table in tables]


def _table(document: Place, raw: Mapping[str, Any]) -> Table:
    if not raw.get("name"):
        raise document.error("schema", "has a table without a name")
    place = replace(document, table=str(raw["name"]), notes=[])
    problems = Problems()
    with problems.collecting():
        check_keys(place, raw, SchemaObject, (*TABLE_SUPPORTED, *TABLE_INFORMATIONAL))
    with problems.collecting():
        _check_table_head(place, raw)
    with problems.collecting():
        stated = columns_of(place, raw.get("properties") or ())
    with problems.collecting():
        custom_properties(replace(place, notes=[]), raw, TABLE_PROPERTIES)
    problems.check()
    name = str(raw.get("physicalName") or raw["name"])
    key = primary_key(place, raw["properties"])
    columns = tuple(
        replace(column, required=True) if member["name"] in key else column
        for member, column in zip(raw["properties"], stated, strict=True)
    )
    names = {str(member["name"]): column.name for member, column in zip(raw["properties"], columns, strict=True)}
    table = Table(
        name=name,
        columns=columns,
        primary_key=tuple(names[member] for member in key),
        partition=partition(place, raw["properties"], columns),
        description=describe(place, raw, DESCRIPTION_LENGTH),
    )
    for column in (table.column(member) for member in table.primary_key):
        if column.kind not in KEY_KINDS or column.repeated:
            raise place.inside(column.name).error("primaryKey", f"cannot be {kind_name(column)}")
    for column in table.derived_columns:
        problem = check_expression(table, column)
        if problem:
            raise place.inside(column.name).error("transformLogic", problem)
    table = _checked_identity(place, _with_table_properties(place, raw, table))
    return replace(table, rules=rules_of(place, raw, table), notes=tuple(place.notes))


def _check_table_head(place: Place, raw: Mapping[str, Any]) -> None:
    """Raise ContractError for a problem of the table itself, not of its columns."""
    name = str(raw.get("physicalName") or raw["name"])
    check_name(place, "physicalName" if raw.get("physicalName") else "name", name)
    if raw.get("logicalType") not in (None, "object"):
        raise place.error("logicalType", f"must be object, not {raw['logicalType']}")
    if raw.get("physicalType") is not None and raw["physicalType"].lower() not in PHYSICAL_TABLES:
        known = ", ".join(PHYSICAL_TABLES)
        raise place.error("physicalType", f"{raw['physicalType']} is not supported for a table; {known} are")
    if not raw.get("properties"):
        raise place.error("properties", "is missing: a table needs columns")


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
    if "partition" in given:
        table = with_partition(place, given["partition"], table)
    return replace(
        table,
        disposition=_word(place, given, "writeDisposition", table.disposition),
        identity=_identity(place, given, table),
        unknown_fields=_word(place, given, "unknownFields", table.unknown_fields),
        csv=csv_dialect(place, given["csv"]) if "csv" in given else table.csv,
        records_path=path_of(place, "recordsPath", given["recordsPath"]) if "recordsPath" in given else (),
        files=file_globs(place, given["files"]) if "files" in given else (),
    )


def _identity(place: Place, given: Mapping[str, Any], table: Table) -> Identity:
    if table.primary_key:
        if "identity" in given and given["identity"] != Identity.KEY.value:
            key = ", ".join(table.primary_key)
            raise place.error("customProperties identity", f"{given['identity']!r} contradicts the primary key {key}")
        return Identity.KEY
    identity = _word(place, given, "identity", Identity.POSITION)
    if identity is Identity.KEY:
        raise place.error("customProperties identity", "is key, but no property is a primaryKey")
    return identity


def _checked_identity(place: Place, table: Table) -> Table:
    """Return the table; raise UsageError if it has no key and something that needs one."""
    if table.identity is Identity.KEY:
        return table
    if table.disposition is not WriteDisposition.APPEND:
        problem = f"is {table.disposition.value}, but the table has no primaryKey: it can only append"
        raise place.error("customProperties writeDisposition", problem)
    if table.version_by:
        raise place.error("customProperties versionBy", "needs a primaryKey: it chooses among the records of a key")
    return table


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
        raise place.error(f"customProperties {construct}", f"names {name}, which is {kind_name(column)}")
    return column.name
