"""What sending dead letters again would do: which pass now, which are refused, and why."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.current_letters import check_letters
from connectors.sources.stored_letters import StoredLetter, blocks_again
from contracts.decoding.decoder import Decoder
from contracts.masking import Masking
from contracts.refusal import Refusal
from contracts.table import Table
from pipelines.replay.run import ReplaySettings, tables_to_replay
from pipelines.runs.availability import wait_for_bigquery

__all__ = ["dry_run_lines"]

MOST = 1_000
"""How many dead letters a dry run decodes, unless --limit says less."""
SAMPLES, SAMPLE_CHARACTERS = 3, 200


def dry_run_lines(settings: ReplaySettings, contracts: Mapping[str, Table], log: Callable[[str], None]) -> list[str]:
    """Decode the selected letters under the contracts, write nothing, and return the lines to print."""
    warehouse = Warehouse(settings.project, settings.location)
    wait_for_bigquery(warehouse, settings.operations_dataset, log)
    check_letters(warehouse, settings.operations_dataset)
    tables = tables_to_replay(settings, contracts, log)
    selection = replace(settings.selection, limit=min(settings.selection.limit or MOST, MOST))
    rows = warehouse.query(selection.query(warehouse, settings.operations_dataset, tables))
    letters: dict[str, list[StoredLetter]] = defaultdict(list)
    for row in rows:
        letters[row["table_name"]].append(StoredLetter.of(row))
    lines = [] if letters else ["no dead letter meets the condition"]
    for name, of_table in sorted(letters.items()):
        lines += _about(tables[name], of_table, settings.max_record_bytes)
    if len(rows) == MOST:
        lines.append(f"only the newest {MOST:,} were tried")
    if not selection.prunes:
        lines.append("the condition is not about failed_at: BigQuery reads all days of dead_letters")
    return lines


def _about(table: Table, letters: list[StoredLetter], max_record_bytes: int) -> list[str]:
    today = datetime.now(UTC).date()
    decoder = Decoder(table, lambda: today)
    refused: list[tuple[str, Refusal]] = [
        (block.source, refusal)
        for block in blocks_again(letters, table, max_record_bytes)
        for refusal in decoder.decode(block).refusals
    ]
    lines = [f"{table.name}: {len(letters) - len(refused):,} of {len(letters):,} pass"]
    codes = Counter(refusal.code.value for _, refusal in refused)
    lines += [f"  {code}: {count:,} are refused again" for code, count in codes.most_common()]
    masking = Masking(table)
    for source, refusal in refused[:SAMPLES]:
        message = masking.message(refusal.code.value, refusal.field, refusal.message)
        raw = masking.raw(refusal.raw, refusal.attributes, truncated=refusal.truncated)
        lines += [f"  {source} at {refusal.position}: {message}", f"    {raw[:SAMPLE_CHARACTERS]}"]
    return lines
