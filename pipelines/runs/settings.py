"""What a pipeline's command line asks for, as values: complete, of the right type, within limits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from connectors.files.names import InputFile
from contracts.errors import UsageError
from contracts.table import Table
from pipelines.runs.beam_arguments import BeamArguments
from pipelines.runs.command_line import CommandLine
from pipelines.runs.options import DEFAULT_GROUP, DEFAULT_TOPIC, OperationsOptions
from pipelines.runs.required import check_required

__all__ = [
    "DATASET",
    "MAX_WORKERS",
    "RUN_ID",
    "BatchSettings",
    "Beginning",
    "RunSettings",
    "StreamSettings",
    "check_names",
]

DATASET = re.compile(r"[A-Za-z0-9_]{1,1024}")
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
DEFAULT_HORIZON = "24h"
DEFAULT_FOLD = "5m"
MAX_BUCKETS = 256
MAX_WORKERS = 256
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
TRY_LOCALLY = "; to try it on this machine: python launcher.py {pipeline} --runner {runner} --local"


class Beginning(Enum):
    """Where a consumer group begins in a partition that it has committed no offset of."""

    EARLIEST = "earliest"
    LATEST = "latest"


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """The settings of both pipelines. Raises UsageError if a value is out of its limits."""

    project: str
    location: str
    """BigQuery's, for example EU."""
    operations_dataset: str
    dataset: str | None
    """The dataset of all tables, None for the one that each contract names."""
    contracts: str | None
    """A folder, a glob or a file of contracts; None for those of this package."""
    run_id: str | None
    keep_duplicates: bool
    max_dead_letter_ratio: float
    """From 0 to 1."""
    max_record_bytes: int
    max_expansion: int
    """How many bytes a byte of a compressed file may become."""
    beam: BeamArguments

    def __post_init__(self) -> None:
        check_names(self)

    def datasets(self, tables: Mapping[str, Table]) -> dict[str, str]:
        """Return the dataset of each table."""
        return {name: self.dataset or table.dataset for name, table in tables.items()}


@dataclass(frozen=True, kw_only=True)
class BatchSettings(RunSettings):
    """The settings of a batch. Folders are gs:// or, if the warehouse can load local files, local ones."""

    input: str
    processed: str
    dead_letters: str
    tables: tuple[str, ...]
    """The tables to load, empty for all that have files."""
    strict_files: bool
    only_new: bool
    files: tuple[InputFile, ...] = ()
    """These files and no others; if there are none, those under `input`."""
    workers: int | None = None
    """Processes on this machine; None to choose by the machine and the input."""

    def __post_init__(self) -> None:
        check_names(self)
        if self.workers is None:
            return
        if not 1 <= self.workers <= MAX_WORKERS:
            raise UsageError(f"--workers must be from 1 to {MAX_WORKERS}")
        if (runner := self.beam.runner) not in (None, "DirectRunner"):
            raise UsageError(f"--workers is an option of DirectRunner, not of {runner}")

    @classmethod
    def of(cls, line: CommandLine) -> BatchSettings:
        """Return the settings of a command line. Raises UsageError if one is missing or out of its limits."""
        folders = {f"--{name}": line.value(name) for name in ("input", "processed", "dead_letters")}
        required = {"--project": line.value("project"), "--location": line.value("location"), **folders}
        check_required(required, TRY_LOCALLY.format(pipeline="batch", runner="DirectRunner"))
        for name in ("--processed", "--dead_letters"):
            if not (line.value("local") or folders[name].startswith("gs://")):
                raise UsageError(f"{name} must be a gs:// folder: BigQuery loads from there")
        return cls(
            **_shared(line),
            input=line.value("input"),
            processed=line.value("processed"),
            dead_letters=line.value("dead_letters"),
            tables=tuple(name.strip() for name in (line.value("tables") or "").split(",") if name.strip()),
            strict_files=line.value("strict_files"),
            only_new=line.value("only_new"),
            workers=line.value("workers"),
        )


@dataclass(frozen=True, kw_only=True)
class StreamSettings(RunSettings):
    """The settings of a stream."""

    servers: str | None
    """Kafka's bootstrap servers; None if the file `kafka_config` names them."""
    kafka_config: str | None
    topics: tuple[str, ...]
    """TOPIC=TABLE each."""
    group: str
    create_topics: bool
    beginning: Beginning | datetime
    """Where a new group begins; a moment, with its time zone, for the first record from then on."""
    allow_lost_offsets: bool
    horizon: timedelta
    """How long keys are remembered."""
    fold_every: timedelta
    """How often changes are folded into the tables that take updates."""
    buckets: int | None
    """None for the number that the tables have, or the default."""
    java_workers: str | None
    max_restarts: int
    stop_when_idle: float | None
    """Seconds; None to run until it is stopped."""

    def __post_init__(self) -> None:
        check_names(self)
        if self.max_restarts < 0:
            raise UsageError("--max_restarts must be at least 0")
        if self.stop_when_idle is not None and self.stop_when_idle < 0:
            raise UsageError("--stop_when_idle must be at least 0 seconds")
        if self.buckets is not None and not 1 <= self.buckets <= MAX_BUCKETS:
            raise UsageError(f"--buckets must be from 1 to {MAX_BUCKETS}")

    @classmethod
    def of(cls, line: CommandLine, hint: str | None = None) -> StreamSettings:
        """Return the settings of a command line.

        Raises UsageError if one is missing, with `hint` behind the names, or if one is out of its limits. Beam's own
        default for `--bootstrap_servers` does not count: it is somebody else's broker.
        """
        servers, config = line.named("bootstrap_servers"), line.value("kafka_config")
        required = {
            "--project": line.value("project"),
            "--location": line.value("location"),
            "--bootstrap_servers": servers or config,
        }
        check_required(required, hint or TRY_LOCALLY.format(pipeline="stream", runner="PrismRunner"))
        return cls(
            **_shared(line),
            servers=servers,
            kafka_config=config,
            topics=tuple(",".join(line.value("topic") or [DEFAULT_TOPIC]).split(",")),  # a Flex Template repeats none
            group=line.value("group_id") or DEFAULT_GROUP,
            create_topics=line.value("create_topics"),
            beginning=_beginning(line.value("start_from") or Beginning.EARLIEST.value),
            allow_lost_offsets=line.value("allow_lost_offsets"),
            horizon=_duration(line.value("dedup_horizon") or DEFAULT_HORIZON, "--dedup_horizon"),
            fold_every=_duration(line.value("fold_every") or DEFAULT_FOLD, "--fold_every"),
            buckets=line.value("buckets"),
            java_workers=line.value("java_workers"),
            max_restarts=line.value("max_restarts"),
            stop_when_idle=line.value("stop_when_idle"),
        )


def check_names(values: OperationsOptions | RunSettings) -> None:
    """Raise UsageError for a value that no pipeline accepts."""
    if not 0 <= values.max_dead_letter_ratio <= 1:
        raise UsageError(f"--max_dead_letter_ratio must be from 0 to 1, not {values.max_dead_letter_ratio}")
    if values.max_expansion < 1:
        raise UsageError("--max_expansion must be at least 1")
    if values.max_record_bytes < 1:
        raise UsageError("--max_record_bytes must be at least 1")
    if values.run_id and not RUN_ID.fullmatch(values.run_id):
        raise UsageError("--run_id takes letters, digits, _ . and -, at most 100")
    for dataset in (values.operations_dataset, values.dataset):
        if dataset is not None and not DATASET.fullmatch(dataset):
            raise UsageError(f"{dataset[:80]!r} is not a dataset name: use letters, digits and _ only")


def _shared(line: CommandLine) -> dict[str, Any]:
    """Return the fields of RunSettings."""
    names = ("project", "location", "operations_dataset", "contracts", "run_id", "dataset", "keep_duplicates")
    limits = ("max_dead_letter_ratio", "max_record_bytes", "max_expansion")
    return {**{name: line.value(name) for name in (*names, *limits)}, "beam": line.beam()}


def _beginning(text: str) -> Beginning | datetime:
    kind, _, moment_text = text.partition(":")
    try:
        if kind != "timestamp":
            return Beginning(text)
        moment = datetime.fromisoformat(moment_text)
    except ValueError:
        raise UsageError(
            f"--start_from must be earliest, latest or timestamp:2026-01-31T12:00:00Z, not {text!r}"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _duration(text: str, option: str) -> timedelta:
    match = re.fullmatch(r"([1-9][0-9]*)([smhd])", text)
    if match is None:
        raise UsageError(f"{option} must be a number with s, m, h or d, such as 24h, not {text!r}")
    return timedelta(**{UNITS[match[2]]: int(match[1])})
