"""What sending dead letters again would do: which pass now, which are refused, and why."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.current_letters import check_letters
from connectors.files.storage import Storage
from connectors.sources.read_again import ReadAgain, origins
from connectors.sources.stored_letters import StoredLetter, blocks_again
from contracts.decoding.decoder import Decoder
from contracts.decoding.patch import Change, Patch
from contracts.masking import Masking
from contracts.refusal import Refusal
from contracts.table import Table
from pipelines.replay.run import ReplaySettings, tables_to_replay
from pipelines.replay.to_topic import check_topic
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
    patches = settings.patches(tables)
    if settings.selection.to_topic:
        check_topic(settings, tables[str(settings.selection.table)], warehouse)
    selection = replace(settings.selection, limit=min(settings.selection.limit or MOST, MOST))
    query = selection.query(warehouse, settings.operations_dataset, tables)
    rows = warehouse.query(query)
    truncated = any(row["truncated"] for row in rows)
    found = origins(warehouse, settings.operations_dataset, f"({query})") if truncated else {}
    whole = ReadAgain(Storage(settings.project), settings.kafka, found)
    letters: dict[str, list[StoredLetter]] = defaultdict(list)
    for row in rows:
        letters[row["table_name"]].append(StoredLetter.of(row))
    lines = [] if letters else ["no dead letter meets the condition"]
    for name, of_table in sorted(letters.items()):
        lines += _about(tables[name], of_table, settings.max_record_bytes, patches.get(name), whole)
    if len(rows) == MOST:
        lines.append(f"only the newest {MOST:,} were tried")
    if not selection.prunes:
        lines.append("the condition is not about failed_at: BigQuery reads all days of dead_letters")
    return lines


def _about(
    table: Table, letters: list[StoredLetter], max_record_bytes: int, patch: Patch | None, whole: ReadAgain
) -> list[str]:
    today = datetime.now(UTC).date()
    decoder, masking = Decoder(table, lambda: today), Masking(table)
    refused: list[tuple[str, Refusal]] = []
    changes: list[tuple[str, Change]] = []
    for block in blocks_again(letters, table, max_record_bytes, whole):
        if patch:
            block, changed = patch.apply(block, max_record_bytes)
            changes += [(block.source, change) for change in changed]
        refused += [(block.source, refusal) for refusal in decoder.decode(block).refusals]
    lines = [f"{table.name}: {len(letters) - len(refused):,} of {len(letters):,} pass"]
    codes = Counter(refusal.code.value for _, refusal in refused)
    lines += [f"  {code}: {count:,} are refused again" for code, count in codes.most_common()]
    if patch:
        changed_records = len({(source, change.position) for source, change in changes})
        lines.append(f"  the patch changes {changed_records:,} of {len(letters):,}")
    lines += [f"  {source} at {change.position}: {_shown(change, masking)}" for source, change in changes[:SAMPLES]]
    for source, refusal in refused[:SAMPLES]:
        message = masking.message(refusal.code.value, refusal.field, refusal.message)
        raw = masking.raw(refusal.raw, refusal.attributes, truncated=refusal.truncated)
        lines += [f"  {source} at {refusal.position}: {message}", f"    {raw[:SAMPLE_CHARACTERS]}"]
    return lines


def _shown(change: Change, masking: Masking) -> str:
    before, after = masking.value(change.column, change.before), masking.value(change.column, change.after)
    return f"{change.column}: {_quoted(before)} becomes {_quoted(after)}"


def _quoted(value: str | None) -> str:
    return "null" if value is None else json.dumps(value[:SAMPLE_CHARACTERS], ensure_ascii=False)
