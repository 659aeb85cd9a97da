"""The options of the pipelines: Beam's own, and these. An unknown one is refused, with the one that was meant."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from contracts.errors import Misuse

__all__ = ["DEFAULT_GROUP", "OperationsOptions", "PipelineArguments", "StreamOptions", "beam_arguments", "check_known"]

LOCAL_BUCKET = "gs://ecommerce-data-lake"
DEFAULT_GROUP = "shop-pipeline"


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"it is true or false, not {text!r}")
    return text.lower() == "true"


FLAG: dict[str, Any] = {"nargs": "?", "const": True, "default": False, "type": _flag, "metavar": "true"}
"""A switch. A Flex Template's launcher passes every option with a value."""


class OperationsOptions(PipelineOptions):
    """What the pipelines of this project take besides Beam's own options."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse._ActionsContainer) -> None:
        add = parser.add_argument  # types that the job API can carry: no Path
        add("--pipeline", choices=["batch", "stream"], help="the pipeline, for callers that pass options only")
        add("--input", help="folder of raw files: gs://BUCKET/raw, or a local one")
        add("--tables", help="tables to take, comma-separated; default: all that have files")
        add("--contracts", help="folder or glob of *.odcs.yaml, local or gs://, in place of the shipped ones")
        add("--location", help="BigQuery location of all data sets, for example EU")
        add("--dataset", help="data set of the tables; default: what each contract says")
        add(
            "--operations_dataset", default="pipeline_operations",
            help="data set of what the pipelines keep: ledger, dead letters, leases (pipeline_operations)",
        )  # fmt: skip
        add("--processed", help="folder for Parquet files, gs:// unless --local")
        add("--dead_letters", help="folder for files of dead letters, gs:// unless --local")
        add("--run_id", help="name of the run; the same name again goes on with the same run")
        add("--only_new", **FLAG, help="skip files that the ledger shows as loaded")
        add("--keep_duplicates", **FLAG, help="keep duplicates as dead letters, for audit")
        add("--max_dead_letter_ratio", type=float, default=0.2, help="above it no table is loaded (0.2)")
        add("--max_record_bytes", type=int, default=10_000_000, help="a larger record is a dead letter (10 MB)")
        add("--summary", help="write what happened as JSON to this file, local or gs://")
        add("--metrics_port", type=int, help="serve metrics for Prometheus at http://127.0.0.1:PORT/metrics meanwhile")
        add("--local", **FLAG, help="use servers on this machine in place of Google's")
        add("--local_dir", default=".local", help="where their data is (default .local)")


class StreamOptions(PipelineOptions):
    """What a stream takes besides OperationsOptions; `--bootstrap_servers` is an option of Beam's own."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse._ActionsContainer) -> None:
        add = parser.add_argument
        add(
            "--topic",
            action="append",
            help="TOPIC=TABLE, repeatable, or several with commas; default: user-events=user_events_streaming",
        )
        add("--group_id", help="consumer group whose offsets say what is done; default: shop-pipeline")
        add("--create_topics", **FLAG, help="make topics that are absent, with 4 partitions each")
        add("--kafka_config", help="file of Java consumer properties: TLS, SASL")
        add(
            "--start_from",
            help="where a new group begins: earliest (default), latest, or timestamp:2026-01-31T12:00:00Z",
        )
        add("--allow_lost_offsets", **FLAG, help="go on where the broker has removed unread records")
        add(
            "--dedup_horizon", help="for how long keys are known, 90s, 30m, 24h (default) or 7d; memory: 52 bytes a key"
        )
        add("--buckets", type=int, help="owners that a table's keys are split among (default 8, or what the table has)")
        add(
            "--java_workers",
            help="HOST:PORT of the pool that runs Kafka's half of the job beside Flink's task managers",
        )
        add(
            "--ensure_running", **FLAG,
            help="start the job and leave it; leave one that runs as it is, or replace it if it is of another version",
        )  # fmt: skip
        add("--max_restarts", type=int, default=3, help="how often a job that failed is submitted again")
        add("--stop_when_idle", type=float, help="end when nothing was left to read for so many seconds")


class PipelineArguments(argparse.ArgumentParser):
    """A parser whose errors are Misuse."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise Misuse(message)


def beam_arguments(parser: argparse.ArgumentParser) -> None:
    """Add every option that Beam and its runners define, and OperationsOptions'."""
    seen: set[str] = set()
    for options in PipelineOptions.__subclasses__():
        if f"{options.__module__}.{options.__name__}" not in seen:
            seen.add(f"{options.__module__}.{options.__name__}")
            options._add_argparse_args(parser)  # type: ignore[arg-type]  # Beam's parser only adds formatting


_FLINK = """
    allow_non_restored_state attached_mode auto_balance_write_files_sharding_enabled auto_watermark_interval
    checkpoint_timeout_millis checkpointing_interval checkpointing_mode disable_metrics enable_stable_input_drain
    execution_mode_for_batch execution_retry_delay externalized_checkpoints_enabled fail_on_checkpointing_errors
    faster_copy file_input_split_max_size_m_b finish_bundle_before_checkpointing flink_conf_dir
    force_slot_sharing_group force_unaligned_checkpoint_enabled job_check_interval_in_secs latency_tracking_interval
    max_bundle_size max_bundle_time_mills min_pause_between_checkpoints num_concurrent_checkpoints
    number_of_execution_retries object_reuse operator_chaining re_iterable_group_by_key_result
    report_checkpoint_duration retain_externalized_checkpoints_on_cancellation savepoint_path
    shutdown_sources_after_idle_ms state_backend state_backend_factory state_backend_storage_path
    unaligned_checkpoint_enabled use_data_stream_for_batch
"""
FLINK_OPTIONS = _FLINK.split()
"""What only Flink's job service knows, as it names them (FlinkPipelineOptions of Beam 2.70, in snake_case)."""


def check_known(argv: Sequence[str], parser: argparse.ArgumentParser) -> None:
    """Misuse for the first option in `argv` that neither `parser` nor the job service of the runner knows."""
    given, _ = parser.parse_known_args(list(argv))
    flink = given.runner == "FlinkRunner"
    if flink:
        for name in FLINK_OPTIONS:
            parser.add_argument(f"--{name}", nargs="?")
    _, unknown = parser.parse_known_args(list(argv))
    if not unknown:
        return
    name = unknown[0].split("=", 1)[0]
    if not name.startswith("-"):
        raise Misuse(f"unexpected argument {name!r}")
    if name.removeprefix("--") in FLINK_OPTIONS:
        raise Misuse(f"{name} is an option of FlinkRunner, not of {given.runner or 'DirectRunner'}")
    known = [option for action in parser._actions for option in action.option_strings]
    near = difflib.get_close_matches(name.replace("-", "_").replace("__", "--", 1), known, 1)
    raise Misuse(f"unknown option {name}" + (f"; did you mean {near[0]}?" if near else ""))
