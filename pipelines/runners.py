"""What a stream needs of its runner unless it is told otherwise."""

from __future__ import annotations

__all__ = ["stream_defaults"]

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
