"""Where the pipeline is and what it writes to: the environment of the Airflow processes says it, nothing else does.

Set the variables for the Dag processor and for the workers alike. None of them is a secret: the Google connection has
the credentials, and a secret of Kafka's is a reference in its properties file.
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
    """Of BigQuery, for example EU."""
    region: str
    """Of Dataflow, for example europe-west1."""
    bucket: str
    """gs://BUCKET, without a slash at its end."""
    operations_dataset: str
    connection: str
    """The Airflow connection for Cloud Storage, BigQuery and Dataflow."""
    launcher: str
    """launcher.py: a path on the workers, or gs://…"""
    python: str
    """The interpreter that runs the launcher, or, with requirements, that its virtual environment is made of."""
    requirements: tuple[str, ...]
    """What pip is to install for the launcher, each time; nothing where `python` has it already."""
    runner: str
    input: str
    """Folder of raw files, local or gs://; {date} in it is the date of the run."""
    batch_schedule: str | None
    stream_runner: str
    stream_options: Mapping[str, Any]
    """The launcher's for the stream, in snake_case: where Kafka and Flink are, topics, group."""
    stream_schedule: str | None
    retry_delay: timedelta

    @classmethod
    def from_environment(cls) -> Settings:
        """The variables SHOP_…, and what holds where one is not set."""

        def value(name: str, default: str) -> str:
            return os.environ.get(f"SHOP_{name}", default)

        own = CHECKOUT / ".venv" / "bin" / "python"
        bucket = value("BUCKET", "gs://ecommerce-data-lake").rstrip("/")
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
            input=value("INPUT", f"{bucket}/raw/{{date}}"),
            batch_schedule=value("BATCH_SCHEDULE", "@daily") or None,
            stream_runner=value("STREAM_RUNNER", "FlinkRunner"),
            stream_options=json.loads(value("STREAM_OPTIONS", "{}")),
            stream_schedule=value("STREAM_SCHEDULE", "*/10 * * * *") or None,
            retry_delay=timedelta(seconds=float(value("RETRY_SECONDS", "60"))),
        )


SETTINGS = Settings.from_environment()
