"""`--to_topic`: dead letters of a stream into its topic again, while it runs. Only the stream writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from connectors.bigquery.warehouse import Warehouse
from connectors.bookkeeping.dataset import ensure_operations
from connectors.bookkeeping.ledger import INPUT, OFFSETS, LedgerTable
from connectors.kafka.client import NoTopic, admin, partitions
from connectors.kafka.config import KafkaConfig
from connectors.sinks.send_letters import SendLetters
from contracts.changes import takes_updates
from contracts.errors import UsageError
from contracts.table import Table
from pipelines.replay.run import ReplaySettings, replay_of, tables_to_replay
from pipelines.runs.availability import wait_for_bigquery
from transforms.ledger import State

__all__ = ["SentToTopic", "check_topic", "send_to_topic"]


@dataclass(frozen=True, slots=True)
class SentToTopic:
    """What a run has sent: how many records the topic has, and why others were left open."""

    run_id: str
    table: str
    topic: str
    sent: int
    left: Mapping[str, int]

    def lines(self) -> list[str]:
        """Return the lines to print."""
        lines = [f"run {self.run_id}: {self.sent:,} dead letters of {self.table} are in topic {self.topic}"]
        return lines + [f"  {count:,} are left open: {why}" for why, count in sorted(self.left.items())]


def check_topic(settings: ReplaySettings, table: Table, warehouse: Warehouse) -> KafkaConfig:
    """Return where the topic is. Raises UsageError if a record that comes late or twice could change a row wrongly."""
    topic, dataset = settings.selection.to_topic or "", settings.selection.dataset or table.dataset
    if takes_updates(table) and not table.version_by:
        raise UsageError(
            f"--to_topic: {table.name} takes the newest record of a key, and has no versionBy that tells an older one"
            " apart: send the corrected record"
        )
    config = settings.kafka
    if config is None:
        raise UsageError("--to_topic: --bootstrap_servers says where the topic is")
    with admin(config) as client:
        try:
            partitions(client, config, [topic])
        except NoTopic:
            raise UsageError(f"--to_topic: there is no topic {topic} at {config.bootstrap_servers}") from None
    read = warehouse.query(
        f"SELECT 1 FROM `{warehouse.project}.{settings.operations_dataset}.ledger` WHERE kind = '{OFFSETS}'"
        " AND `table` = @name AND IFNULL(`dataset`, @dataset) = @dataset AND STARTS_WITH(source, @topic) LIMIT 1",
        name=table.name,
        dataset=dataset,
        topic=f"kafka://{topic}/",
    )
    if not read:
        raise UsageError(f"--to_topic: no stream has read topic {topic} into {dataset}.{table.name}")
    return config


def send_to_topic(settings: ReplaySettings, contracts: Mapping[str, Table], log: Callable[[str], None]) -> SentToTopic:
    """Send the selected dead letters to their stream's topic. Raises a ReportedError for what is refused before."""
    warehouse, selection = Warehouse(settings.project, settings.location), settings.selection
    wait_for_bigquery(warehouse, settings.operations_dataset, log)
    ensure_operations(warehouse, settings.operations_dataset)
    ((name, table),) = tables_to_replay(settings, contracts, log).items()
    config = check_topic(settings, table, warehouse)
    ledger = LedgerTable(warehouse, settings.operations_dataset)
    lines = ledger.lines(settings.run_id, INPUT) if settings.run_id else []
    run = replay_of(settings, lines)
    if not lines:
        ledger.record(run, INPUT, [{"detail": settings.detail()}])
    selection.pin(warehouse, settings.operations_dataset, run.run_id, {name: table})
    pinned = selection.pinned_name(run.run_id)
    letters = SendLetters(warehouse, settings.operations_dataset, pinned, run.run_id)
    letters.send(config, selection.to_topic or "")
    ledger.record_end(run, State.DONE, {"topic": selection.to_topic, "sent": letters.sent, "left": dict(letters.left)})
    return SentToTopic(run.run_id, name, selection.to_topic or "", letters.sent, dict(letters.left))
