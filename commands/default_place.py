"""Whether a pipeline runs on this machine although its command line does not say --local."""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.runs.command_line import CommandLine

__all__ = ["LOCAL_BY_DEFAULT", "OPTIONS", "VARIABLES", "runs_locally"]

OPTIONS = frozenset(
    {
        "project",
        "location",
        "input",
        "processed",
        "dead_letters",
        "bootstrap_servers",
        "kafka_config",
        "region",
        "temp_location",
        "staging_location",
        "template_location",
        "job_endpoint",
        "local",
    }
)
"""Options that name a place whatever their value: an empty value is a decision of the user, too."""
VARIABLES = (
    "BIGQUERY_EMULATOR_HOST",
    "BIGQUERY_STORAGE_EMULATOR_HOST",
    "GOOGLE_CLOUD_PROJECT",
    "KAFKA_BOOTSTRAP_SERVERS",
    "STORAGE_EMULATOR_HOST",
)
"""Environment variables that name a place."""
RUNNERS: Mapping[str, tuple[str, ...]] = {
    "batch": ("DirectRunner", "PrismRunner", "FlinkRunner"),
    "stream": ("PrismRunner", "FlinkRunner"),
    "doctor": ("DirectRunner", "PrismRunner", "FlinkRunner"),
}
"""The runners that run on this machine, by command."""
OWN_FLINK = ("[auto]", "[local]")
"""Values of --flink_master for a Flink inside the launcher."""
LOCAL_BY_DEFAULT = (
    "no place is named: running on this machine, as with --local; for a real cloud give --project, --location and the"
    " options that --help shows"
)


def runs_locally(command: str, line: CommandLine, environment: Mapping[str, str]) -> bool:
    """Return whether `batch`, `stream` or `doctor` runs as if --local were given, because nothing names a place.

    A place is named by an option of OPTIONS, a gs:// folder, a runner or a Flink elsewhere, a variable of VARIABLES.
    """
    runner, master = line.given.get("runner"), line.given.get("flink_master")
    return (
        OPTIONS.isdisjoint(line.given)
        and not any("gs://" in argument for argument in line.argv)
        and (runner is None or runner in RUNNERS[command])
        and (master is None or master in OWN_FLINK)
        and not any(name in environment for name in VARIABLES)
    )
