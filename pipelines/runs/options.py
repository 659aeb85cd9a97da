"""The options of the pipelines, declared once: for `--help`, for the parser, and for Beam, which shows them."""

from __future__ import annotations

import argparse
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from connectors.sources.files import MAX_EXPANSION
from contracts.bookkeeping import OPERATIONS_DATASET
from pipelines.runs.local_dir import LOCAL_DIR_HELP, default_local_dir, named_folder

__all__ = ["DEFAULT_GROUP", "DEFAULT_TOPIC", "LOCAL_BUCKET", "OperationsOptions", "StreamOptions"]

LOCAL_BUCKET = "gs://ecommerce-data-lake"
"""The bucket of the local cloud."""
DEFAULT_GROUP = "contract-pipeline"
DEFAULT_TOPIC = "user-events=user_events_streaming"


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"expected true or false, not {text!r}")
    return text.lower() == "true"


FLAG: dict[str, Any] = {"nargs": "?", "const": True, "default": False, "type": _flag, "metavar": "true"}
"""A switch. A Flex Template's launcher passes every option with a value."""


class OperationsOptions(PipelineOptions):
    """The options that this project adds to Beam's for both pipelines."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse._ActionsContainer) -> None:
        add = parser.add_argument  # types that the job API can carry: no Path
        add("--pipeline", choices=["batch", "stream"], help="the pipeline, for callers that can only pass options")
        add("--input", help="folder of raw files: gs://BUCKET/raw or a local folder")
        add("--strict_files", **FLAG, help="refuse to start if a file under --input belongs to no table")
        add("--tables", help="tables to load, comma-separated; default: all that have files")
        add(
            "--contracts",
            help="folder or glob of *.odcs.yaml or .yml, local or gs://; default: the contracts of this package",
        )
        add("--location", help="BigQuery location of all datasets, for example EU")
        add("--dataset", help="dataset of the tables; default: the dataset that each contract names")
        add(
            "--operations_dataset",
            default=OPERATIONS_DATASET,
            help="dataset of the ledger, the dead letters and the leases (default pipeline_operations)",
        )
        add("--processed", help="folder for Parquet files, gs:// unless --local")
        add("--dead_letters", help="folder for files of dead letters, gs:// unless --local")
        add("--run_id", help="name of the run; repeat the name to continue the run")
        add("--only_new", **FLAG, help="skip files that the ledger shows as loaded")
        add(
            "--workers",
            type=int,
            help="DirectRunner: number of processes that decode and deduplicate; default: by cores, memory and input",
        )
        add("--keep_duplicates", **FLAG, help="store duplicates as dead letters, for audit")
        add(
            "--max_dead_letter_ratio",
            type=float,
            default=0.2,
            help="load no table if a larger share of its records are dead letters (default 0.2)",
        )
        add(
            "--max_record_bytes",
            type=int,
            default=10_000_000,
            help="larger records are dead letters (default 10000000)",
        )
        add(
            "--max_expansion",
            type=int,
            default=MAX_EXPANSION,
            help="stop reading a compressed file that expands to more than this many times its size (default 1000)",
        )
        add("--summary", help="write the summary as JSON to this file, local or gs://")
        add("--notify", help="send notices of alarms to the Apprise URL in env:NAME, file:PATH or secret:projects/…")
        add("--metrics_port", type=int, help="serve Prometheus metrics at http://127.0.0.1:PORT/metrics during the run")
        add("--local", **FLAG, help="use the local cloud on this machine instead of Google's services")
        add("--local_dir", type=named_folder, default=default_local_dir(), help=LOCAL_DIR_HELP)


class StreamOptions(PipelineOptions):
    """The options of a stream besides OperationsOptions; Beam declares `--bootstrap_servers`."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse._ActionsContainer) -> None:
        add = parser.add_argument
        add("--topic", action="append", help=f"TOPIC=TABLE, repeatable or comma-separated; default: {DEFAULT_TOPIC}")
        add("--group_id", help=f"consumer group whose offsets record the progress; default: {DEFAULT_GROUP}")
        add("--create_topics", **FLAG, help="create topics that do not exist, with 4 partitions each")
        add("--kafka_config", help="file of Java consumer properties: TLS, SASL")
        add(
            "--start_from",
            help="where a new group begins: earliest (default), latest, or timestamp:2026-01-31T12:00:00Z",
        )
        add("--allow_lost_offsets", **FLAG, help="continue if the broker has removed records before they were read")
        add(
            "--dedup_horizon",
            help="how long keys are remembered: 90s, 30m, 24h (default) or 7d; memory: 56 bytes per key",
        )
        add(
            "--fold_every",
            help="how often a stream merges updates into a table whose contract says merge: 30s, 5m (default), 1h",
        )
        add("--buckets", type=int, help="buckets that a table's keys are split into (default 8, or the table's number)")
        add(
            "--java_workers",
            help="HOST:PORT of the worker pool that runs Kafka's Java steps next to Flink's task managers",
        )
        add(
            "--ensure_running",
            **FLAG,
            help="start the job and exit; keep a running job of this version, replace one of another version",
        )
        add("--max_restarts", type=int, default=3, help="how often a failed job is submitted again (default 3)")
        add("--stop_when_idle", type=float, help="stop when there has been nothing to read for this many seconds")
