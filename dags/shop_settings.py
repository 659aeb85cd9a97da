"""The settings of one installation, read from environment variables SHOP_… of the Airflow processes.

Set the same variables for the DAG processor and for the workers. None of them is a secret: the Google connection holds
the credentials, and Kafka's secrets are references in its properties file.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

__all__ = ["SETTINGS", "Settings"]

CHECKOUT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Settings:
    """One installation of the pipeline."""

    project: str
    location: str
    """Location of BigQuery, for example EU."""
    region: str
    """Region of Dataflow, for example europe-west1."""
    bucket: str
    """gs://BUCKET, without a trailing slash."""
    operations_dataset: str
    connection: str
    """The Airflow connection for Cloud Storage, BigQuery and Dataflow."""
    launcher: str
    """Path of launcher.py on the workers, or gs://…"""
    python: str
    """The interpreter that runs the launcher. With requirements: the one that creates its virtual environment."""
    requirements: tuple[str, ...]
    """What to install for the launcher in each run; empty if `python` has it already."""
    runner: str
    input: str
    """Folder of raw files, local or gs://; {date} in it stands for the run's date."""
    input_roots: tuple[str, ...]
    """Folders, local or gs://. A run's parameter `input` must name one of them or a folder below."""
    run_options: tuple[str, ...]
    """Options of the launcher that a run's parameters may set in addition to `shop_allowed.RUN_OPTIONS`."""
    batch_options: Mapping[str, Any]
    """Options of the launcher for the batch, in snake_case."""
    batch_schedule: str | None
    stream_runner: str
    stream_options: Mapping[str, Any]
    """Options of the launcher for the stream, in snake_case: addresses of Kafka and Flink, topics, group."""
    stream_schedule: str | None
    retry_delay: timedelta
    notify: str | None
    """Reference to the URL that notices of alarms go to, for example env:ALARMS_URL."""

    @classmethod
    def from_environment(cls) -> Settings:
        """Read the variables SHOP_…; use the default for each that is not set."""

        def value(name: str, default: str) -> str:
            return os.environ.get(f"SHOP_{name}", default)

        own = CHECKOUT / ".venv" / "bin" / "python"
        bucket = value("BUCKET", "gs://ecommerce-data-lake").rstrip("/")
        folder = value("INPUT", f"{bucket}/raw/{{date}}")
        before, dated, _ = folder.partition("{date}")
        roots = shlex.join([f"{bucket}/raw", before.rpartition("/")[0] if dated else folder])
        return cls(
            project=value("PROJECT", os.environ.get("GOOGLE_CLOUD_PROJECT", "")),
            location=value("LOCATION", "US"),
            region=value("REGION", "us-central1"),
            bucket=bucket,
            operations_dataset=value("OPERATIONS_DATASET", "pipeline_operations"),
            connection=value("CONNECTION", "google_cloud_default"),
            launcher=value("LAUNCHER", str(CHECKOUT / "launcher.py")),
            python=value("PYTHON", str(own) if own.exists() else "python3"),
            requirements=tuple(shlex.split(value("REQUIREMENTS", ""))),
            runner=value("RUNNER", "DirectRunner"),
            input=folder,
            input_roots=tuple(shlex.split(value("INPUT_ROOTS", roots))),
            run_options=tuple(value("RUN_OPTIONS", "").split()),
            batch_options=json.loads(value("BATCH_OPTIONS", "{}")),
            batch_schedule=value("BATCH_SCHEDULE", "@daily") or None,
            stream_runner=value("STREAM_RUNNER", "FlinkRunner"),
            stream_options=json.loads(value("STREAM_OPTIONS", "{}")),
            stream_schedule=value("STREAM_SCHEDULE", "*/10 * * * *") or None,
            retry_delay=timedelta(seconds=float(value("RETRY_SECONDS", "60"))),
            notify=value("NOTIFY", "") or None,
        )


SETTINGS = Settings.from_environment()
