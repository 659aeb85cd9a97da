"""A draft of a contract from a sample of data. What is uncertain is a comment with the choices."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from console.printable import printable
from contracts.decoding.decoder import Decoder
from contracts.decoding.values import validate_value
from contracts.errors import UsageError
from contracts.odcs.tables import load
from contracts.refusal import NotClean
from contracts.table import CsvDialect, Table
from operations.contracts.candidates import column_of_form
from operations.contracts.draft import DraftTable, contract_text
from operations.contracts.fields import MAYBE_REQUIRED, Field, fields_of, fields_without, nulls_of, sanitized
from operations.contracts.sampled import Sample

__all__ = ["draft_of"]

ENOUGH = 0.99
"""The share of the records of a sample that pass its draft."""
IDENTIFIER = re.compile(
    r"(?i:^(id|_id|uuid|guid|key|number|no)$|[_ -](id|uuid|guid|key|no|nr|number|code)$)"
    r"|[a-z](Id|ID|Uuid|Key|No|Number)$"
)
"""Names of fields that identify a record."""
MOMENT = re.compile(r"(?i)event|created|begun|start|time|date|_at$|^at$|^ts$|day")
MAX_PARTITIONS = 4_000
NEARLY_DISTINCT = 0.9
"""The share of the records with a distinct value where a field may be the key all the same."""


def draft_of(samples: Mapping[str, Sample], today: date | None = None, dataset: str | None = None) -> str:
    """Return a contract with a table for each sample: it is valid, and at least 99% of each sample pass it.

    The tables are in `dataset`, if it is given.

    A sample without a record, such as of a list of files, is left out, and the first comment says so. Raises UsageError
    if no sample has a record.
    """
    today = today or datetime.now(UTC).date()
    readable = {name: sample for name, sample in samples.items() if sample.records}
    head = ["A draft, from a sample. Each comment is the evidence for the line below it; look for `check`."]
    for name in [name for name in samples if name not in readable]:
        why = f": {samples[name].unreadable}" if samples[name].unreadable else ""
        unread = f"{name}: no record can be read{why}"
        if not readable:
            raise UsageError(unread)
        head.append(f"check: {printable(' '.join(unread.split()))}; left out")
    tables = [_table(name, sample, today) for name, sample in readable.items()]
    for table in tables if dataset else []:
        table.properties = {"dataset": dataset, **table.properties}
    return contract_text(sanitized(next(iter(readable))), head, tables)


def _table(name: str, sample: Sample, today: date) -> DraftTable:
    passed, drafted = 0, None
    for tolerant in (True, False):
        drafted = _drafted(name, sample, today, tolerant)
        refused = _refused(drafted, sample, today)
        passed = sample.read - refused.total()
        if passed >= ENOUGH * sample.read or not tolerant:
            break
    assert drafted
    codes = "".join(f"; {code}: {count:,}" for code, count in refused.most_common())
    whole = "all records" if sample.complete else "a sample: the first records of each file"
    drafted.remarks.insert(0, f"{passed:,} of {sample.read:,} records pass ({whole}){codes}")
    if sample.unreadable:
        drafted.remarks.insert(1, f"check: some records cannot be read, such as: {sample.unreadable[:200]}")
    return drafted


def _refused(drafted: DraftTable, sample: Sample, today: date) -> Counter[str]:
    """Return the codes of the records of the sample that the draft refuses."""
    table = next(iter(load([("draft", contract_text("draft", [], [drafted]))]).values()))
    decoder = Decoder(table, lambda: today)
    codes: Counter[str] = Counter()
    for block in sample.blocks:
        header = block.header and replace(block.header, dialect=_dialect(table, block.header.dialect))
        decoded = decoder.decode(replace(block, header=header))
        codes.update(refusal.code.value for refusal in decoded.refusals)
    return codes


def _dialect(table: Table, read: CsvDialect) -> CsvDialect:
    """Return the dialect of the draft with the delimiter that the file was read with."""
    return replace(table.csv, delimiter=read.delimiter)


def _drafted(name: str, sample: Sample, today: date, tolerant: bool) -> DraftTable:
    fields, remarks = fields_of(sample.records, in_csv=sample.in_csv, tolerant=tolerant)
    if sample.in_csv and (nulls := nulls_of(fields, sample.records)):
        fields, remarks = fields_without(nulls, sample.records, tolerant=tolerant)
    if not fields:
        raise UsageError(f"{name}: its records have no field that can be a column")
    table = sanitized(name)
    properties: dict[str, Any] = {}
    if table != name and not sample.topic:
        properties["files"] = [f"**/{name}*"]
    if sample.records_path:
        properties["recordsPath"] = list(sample.records_path)
        remarks.append(f"the records are inside a document, at {'.'.join(sample.records_path)}")
    if sample.dialect and (csv := _csv_properties(sample.dialect, fields)):
        properties["csv"] = csv
    remarks += sample.remarks
    remarks += _choose_key(table, fields, sample.records)
    remarks += _choose_partition(fields, sample.records, today)
    return DraftTable(table, properties, remarks, fields)


def _csv_properties(dialect: CsvDialect, fields: Sequence[Field]) -> dict[str, Any]:
    plain = CsvDialect()
    names = {"delimiter": "delimiter", "encoding": "encoding", "trim": "trim", "header": "header", "comment": "comment"}
    names["ragged"] = "raggedRows"
    given = {
        key: getattr(dialect, name) for name, key in names.items() if getattr(dialect, name) != getattr(plain, name)
    }
    if nulls := sorted({text for each in fields for text in each.nulls}):
        given["nulls"] = nulls
    return given


def _choose_key(table: str, fields: Sequence[Field], records: Sequence[Mapping[str, object]]) -> list[str]:
    """Make the column that identifies records the key; return remarks, with the choices if none does."""
    different = list({json.dumps(record, sort_keys=True, default=str): record for record in records}.values())
    unique: list[Field] = []
    for each in fields:
        if each.definition["logicalType"] not in ("string", "integer") or each.definition.get("physicalType") == "JSON":
            continue
        values = [record.get(each.name) for record in different]
        if None not in values and len(set(map(str, values))) == len(values) and not each.nulls:
            unique.append(each)
    named = [each for each in unique if IDENTIFIER.search(each.name)]
    named.sort(key=lambda each: not _names_table(each.name, table))
    if len(different) >= 2 and named:
        key = named[0]
        key.definition.pop("required", None)
        key.definition |= {"required": True, "primaryKey": True}
        key.evidence = [line for line in key.evidence if not line.startswith(MAYBE_REQUIRED)]
        key.evidence.append(f"key: distinct in all {len(different):,} different records")
        others = [each.name for each in unique if each is not key]
        return [f"check: also distinct in every record: {', '.join(others[:5])}"] if others else []
    choices = ", ".join(each.name for each in unique[:5])
    found = (
        f"distinct in every record: {choices}; set primaryKey: true on the one that identifies a record"
        if choices
        else _nearly_distinct(fields, len(records))
    )
    pair = "" if found else _pair(fields, different)
    return [
        "check: no key was found, so each record that is read is a row; equal records are duplicates with"
        f" customProperties identity: record. {found or pair}".rstrip(". ")
    ]


def _nearly_distinct(fields: Sequence[Field], count: int) -> str:
    """Return which field identifies nearly all records, if its name says that it identifies them; else ''."""
    for each in fields:
        named = IDENTIFIER.search(each.name) and each.values == count and not each.nulls
        if named and NEARLY_DISTINCT * count <= each.distinct < count:
            more = f"{count - each.distinct:,} of {count:,} records repeat a value of {each.name}"
            return f"{more}: if it is the key all the same (primaryKey: true), they are duplicates"
    return ""


def _names_table(field: str, table: str) -> bool:
    words = re.sub(r"[^a-z]", "", field.lower())
    return words in ("id", "uuid", "key") or table.lower().rstrip("s").replace("_", "")[:4] in words


def _pair(fields: Sequence[Field], records: Sequence[Mapping[str, object]]) -> str:
    """Return which two required columns identify a record together."""
    kinds = ("string", "integer", "timestamp", "date")
    few = [each for each in fields if each.definition.get("required") and each.definition["logicalType"] in kinds][:8]
    for number, first in enumerate(few):
        for second in few[number + 1 :]:
            pairs = {(str(record.get(first.name)), str(record.get(second.name))) for record in records}
            if len(pairs) == len(records) > 1:
                return f"Distinct together: {first.name} and {second.name}"
    return ""


def _choose_partition(fields: Sequence[Field], records: Sequence[Mapping[str, object]], today: date) -> list[str]:
    """Make one column the partition column; return remarks with the other choices."""
    able: list[tuple[Field, int]] = []
    for each in fields:
        if each.definition["logicalType"] not in ("date", "timestamp"):
            continue
        days = _days(each, [record.get(each.name) for record in records], today)
        if days:
            able.append((each, days))
    if not able:
        return []
    able.sort(key=lambda pair: (not pair[0].definition.get("required"), not MOMENT.search(pair[0].name)))
    chosen, days = able[0]
    chosen.definition["partitioned"] = True
    chosen.evidence.append(f"partition: {days:,} {'day' if days == 1 else 'days'} in the sample")
    if days > MAX_PARTITIONS // 4:
        chosen.evidence.append("check: many days; partition by month with customProperties partition: {by: month}?")
    others = ", ".join(each.name for each, _ in able[1:])
    return [f"check: partitioned by {chosen.name}; it could be by {others}"] if others else []


def _days(each: Field, values: Sequence[object], today: date) -> int:
    """Return the number of different days, 0 if a value cannot be in a partition."""
    keys = ("logicalType", "logicalTypeOptions", "customProperties")
    definition: dict[str, Any] = {key: each.definition[key] for key in keys if key in each.definition}
    column = column_of_form(definition)
    days: set[object] = set()
    for value in values:
        if value is None or (isinstance(value, str) and value in each.nulls):
            continue
        try:
            typed = validate_value(column, value, today=today)
        except NotClean as problem:
            if "tomorrow" in problem.message:
                return 0
            continue
        days.add(typed.date() if isinstance(typed, datetime) else typed)
    return len(days)
