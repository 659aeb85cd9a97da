"""What the runners take that Beam's Python half does not know, and what a stream needs of them unless told otherwise."""

from __future__ import annotations

__all__ = ["FLINK_OPTIONS", "stream_defaults"]

FLINK_OPTIONS = frozenset(
    """
allow_non_restored_state attached_mode auto_watermark_interval checkpoint_timeout_millis checkpointing_interval
checkpointing_mode disable_metrics enable_stable_input_drain execution_mode_for_batch execution_retry_delay
externalized_checkpoints_enabled fail_on_checkpointing_errors fasterxml_copy file_inputs_split_in_memory
finish_bundle_before_checkpointing flink_conf_dir force_slot_sharing_group job_check_interval_in_secs
latency_tracking_interval max_bundle_size max_bundle_time_mills min_pause_between_checkpoints
num_concurrent_checkpoints number_of_execution_retries object_reuse operator_chaining
re_iterable_group_by_key_result report_checkpoint_duration retain_externalized_checkpoints_on_cancellation
savepoint_path shutdown_sources_after_idle_ms state_backend state_backend_factory state_backend_storage_path
unaligned_checkpoint_enabled use_data_stream_for_batch
""".split()
)
"""Options of Beam's FlinkPipelineOptions (Java): they reach the job server as they stand."""

STREAM_DEFAULTS = {
    # The default interval is never: then nothing of the job is kept when a task manager is lost.
    "checkpointing_interval": "5000",
    # The default is a bundle of 10 s where few records come.
    "max_bundle_time_mills": "500",
    "max_bundle_size": "20000",
}


def stream_defaults(runner: str | None, argv: list[str]) -> list[str]:
    """The arguments to add to a stream's `argv`."""
    if runner != "FlinkRunner":
        return []
    return [
        f"--{name}={value}"
        for name, value in STREAM_DEFAULTS.items()
        if not any(argument.split("=", 1)[0] == f"--{name}" for argument in argv)
    ]
