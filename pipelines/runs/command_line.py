"""A pipeline's command line, parsed once. An unknown option is refused, with the option that was probably meant."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from contracts.errors import UsageError
from pipelines.runs.argument_parser import PipelineArguments, did_you_mean
from pipelines.runs.beam_arguments import BeamArguments

__all__ = ["FLINK_OPTIONS", "CommandLine", "pipeline_parser"]

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
"""Options that only Flink's job service knows, by its names (FlinkPipelineOptions of Beam 2.70, in snake_case)."""


def pipeline_parser(prog: str = "launcher.py") -> PipelineArguments:
    """Return a parser of every option that Beam, its runners and this project declare, without Flink's own."""
    parser = PipelineArguments(prog=prog, conflict_handler="resolve", allow_abbrev=False)
    seen: set[str] = set()
    for options in PipelineOptions.__subclasses__():
        name = f"{options.__module__}.{options.__name__}"
        if name not in seen:
            seen.add(name)
            options._add_argparse_args(parser)  # type: ignore[arg-type]  # Beam's parser only adds formatting
    return parser


@dataclass(frozen=True)
class CommandLine:
    """The arguments of `batch`, `stream` or `doctor`. Options are named without dashes."""

    argv: tuple[str, ...]
    given: Mapping[str, Any]
    """The options on the command line and their values; an empty value counts as given."""
    declared: Mapping[str, Any]
    """Every option's default, as Beam and OperationsOptions declare it."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Defaults of this launch, which replace the declared ones and empty values."""
    engine: tuple[str, ...] = ()
    """Arguments that go before `argv`: where this machine has the engine's programs and workers."""
    engine_values: Mapping[str, Any] = field(default_factory=dict)
    """The options in `engine` and their values."""

    @classmethod
    def parse(cls, argv: Sequence[str], prog: str = "launcher.py") -> CommandLine:
        """Parse `argv`.

        Raises UsageError for a value of the wrong type, for the first option that neither the parser nor the job
        service of the runner knows, and for a runner that Beam does not know by exactly this name: Beam would take
        another spelling for another runner.
        """
        parser = pipeline_parser(prog)
        known = [option for action in parser._actions for option in action.option_strings]
        declared = {action.dest: action.default for action in parser._actions}
        given, unknown = _given(parser, argv)
        runner = given.get("runner")
        _check_runner_name(runner)
        if runner == "FlinkRunner":
            known += [f"--{name}" for name in FLINK_OPTIONS]
        elif flink := [name for name in given if name in FLINK_OPTIONS]:
            raise UsageError(f"--{flink[0]} is an option of FlinkRunner, not of {runner or 'DirectRunner'}")
        if unknown:
            raise _unknown(unknown[0], known)
        return cls(tuple(argv), given, declared)

    def with_defaults(self, **defaults: Any) -> CommandLine:
        """Return the command line with `defaults` for options that are not given or are given as empty."""
        return replace(self, defaults={**self.defaults, **defaults})

    def with_engine(self, arguments: Sequence[str]) -> CommandLine:
        """Return the command line with further arguments, which the user's own ones override."""
        values, _ = _given(pipeline_parser(), arguments)
        return replace(self, engine=(*self.engine, *arguments), engine_values={**self.engine_values, **values})

    def value(self, option: str) -> Any:
        """Return the value of an option: given, default of this launch, of the engine, or as declared."""
        for values in (self.given, self.defaults, self.engine_values):
            if values.get(option):
                return values[option]
        return self.given.get(option, self.declared[option])

    def named(self, option: str) -> Any:
        """Return the value of an option that is given or has a default of this launch, None for any other."""
        return self.given.get(option) or self.defaults.get(option)

    def beam(self) -> BeamArguments:
        """Return what Beam gets of this command line."""
        changes = {name: value for name, value in self.defaults.items() if not self.given.get(name)}
        return BeamArguments((*self.engine, *self.argv), changes)


def _given(parser: PipelineArguments, argv: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Return the options in `argv` with their values, and the arguments that are unknown, even to Flink's job service.

    The parser cannot be used for anything else afterwards: its defaults are gone.
    """
    for name in FLINK_OPTIONS:
        parser.add_argument(f"--{name}", nargs="?")
    for action in parser._actions:
        action.default = argparse.SUPPRESS
    namespace, unknown = parser.parse_known_args(list(argv))
    return vars(namespace), unknown


def _check_runner_name(runner: str | None) -> None:
    if runner and "." not in runner and runner not in StandardOptions.KNOWN_RUNNER_NAMES:
        names = {name.casefold(): name for name in StandardOptions.KNOWN_RUNNER_NAMES}
        near = [names[name] for name in difflib.get_close_matches(runner.casefold(), names, 1)]
        raise UsageError(f"--runner {runner}: unknown runner" + (f"; did you mean {near[0]}?" if near else ""))


def _unknown(argument: str, known: Sequence[str]) -> UsageError:
    name = argument.split("=", 1)[0]
    if not name.startswith("-"):
        return UsageError(f"unexpected argument {name!r}")
    return UsageError(f"unknown option {name}{did_you_mean(name.replace('-', '_').replace('__', '--', 1), known)}")
