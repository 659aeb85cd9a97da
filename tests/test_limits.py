"""docs/reference/limits.md says what the code holds to."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.bigquery.append_stream import MAX_ROW_BYTES
from connectors.files.avro_container import MAX_BLOCK_BYTES
from connectors.files.avro_schema import MAX_TYPES
from connectors.files.table_rows import MAX_DECOMPRESSED_BYTES
from connectors.retry import SAME_ERROR_SECONDS
from connectors.sources.files import EXPANSION_FROM, MAX_EXPANSION
from contracts import patterns, refusal
from contracts.decoding import columns, csv_rows, json_text
from contracts.odcs import expressions as derived
from contracts.odcs import growth, yaml_text
from transforms.dead_letters import MAX_DEAD_LETTER_BYTES, MIN_ATTRIBUTES_BYTES
from transforms.early_ratio import EARLY_FROM

LIMITS = Path(__file__).parents[1] / "docs" / "reference" / "limits.md"
STATED = {
    "Avro, one block": [MAX_BLOCK_BYTES >> 20],
    "Avro, types of a schema": [MAX_TYPES],
    "attributes of a dead letter": [MIN_ATTRIBUTES_BYTES // 1000, MAX_DEAD_LETTER_BYTES // 1_000_000],
    "compressed file against its size": [MAX_EXPANSION, EXPANSION_FROM // 1_000_000],
    "contract, size": [yaml_text.MAX_VALUES],
    "depth of a JSON record": [json_text.MAX_DEPTH],
    "dead letters of a table, against its records": [EARLY_FROM],
    "derived text": [columns.MAX_DERIVED_BYTES],
    "header of a CSV file": [csv_rows.MAX_HEADER_BYTES >> 10, csv_rows.MAX_HEADER_COLUMNS],
    "message and field of a dead letter": [refusal.MAX_TEXT],
    "Parquet, Avro or ORC, compressed as a whole (`.parquet.gz`)": [MAX_DECOMPRESSED_BYTES >> 30],
    "`pattern`, length": [patterns.MAX_PATTERN],
    "`pattern`, repetitions": [patterns.MAX_STATES],
    "`pattern`, value that it is looked for in": [patterns.MAX_MATCHED_BYTES],
    "refused record, stored bytes": [refusal.MAX_STORED_BYTES // 1_000_000],
    "refusals, the same internal error": [SAME_ERROR_SECONDS],
    "row of a stream, encoded for BigQuery": [MAX_ROW_BYTES >> 20],
    "`transformLogic`, growth of a text": [growth.MAX_GROWTH, growth.MAX_PADDING],
    "`transformLogic`, length": [derived.MAX_LENGTH, derived.MAX_WORDS],
    "values of a JSON record": [json_text.MAX_VALUES],
}


@pytest.mark.parametrize("name", STATED)
def test_a_limit_is_what_the_document_says(name: str) -> None:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in LIMITS.read_text().splitlines()]
    (row,) = [cells for cells in rows if cells[0] == name]
    for limit in STATED[name]:
        assert f"{limit:,.0f}" in row[1] + row[3]


def test_limits_are_sorted_by_name() -> None:
    names = [line.strip("| `").casefold() for line in LIMITS.read_text().splitlines() if line.startswith("| ")][2:]
    assert names == sorted(names)
