"""The name and the version that a job carries."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from contracts.table import Table
from pipelines.engines.runners import flink_cluster, is_dataflow
from pipelines.runs.options import DEFAULT_GROUP, StreamOptions
from transforms.run import PIPELINE_VERSION

__all__ = ["VERSION_LABEL", "job_name_of", "stream_version", "version_as_label", "version_options"]

VERSION_LABEL = "pipeline_version"
"""The label of a Dataflow job that holds its version."""


def job_name_of(options: PipelineOptions) -> str:
    """Return the name of a stream's job: --job_name, or a name made of its group that Dataflow accepts."""
    given = options.view_as(GoogleCloudOptions).job_name
    if given:
        return str(given)
    group = options.view_as(StreamOptions).group_id or DEFAULT_GROUP
    return "stream-" + re.sub(r"[^a-z0-9]+", "-", group.lower()).strip("-")


LONGEST_VERSION = 54
"""A label has at most 63 characters, nine of which are a digest of the contracts."""


def version_as_label() -> str:
    """Return the version of this code as the value of a label, which has no dots; the end of a long one is a digest."""
    label = re.sub(r"[^a-z0-9_-]", "-", PIPELINE_VERSION.lower())
    if len(label) <= LONGEST_VERSION:
        return label
    digest = hashlib.blake2b(PIPELINE_VERSION.encode(), digest_size=4).hexdigest()
    return f"{label[: LONGEST_VERSION - 9]}-{digest}"


def stream_version(tables: Mapping[str, Table]) -> str:
    """Return the version of a stream into `tables`: the code's version and a digest of the contracts.

    Two jobs of the same version treat a record alike.
    """
    digest = hashlib.blake2b(repr(sorted(tables.items())).encode(), digest_size=4).hexdigest()
    return f"{version_as_label()}-{digest}"


def version_options(options: PipelineOptions, name: str | None, version: str) -> dict[str, Any]:
    """Return the options, without dashes, by which a job named `name` carries its version.

    On Dataflow it is a label, unless the user has set that label. On a Flink cluster, whose jobs have no labels, it
    follows the name: NAME@VERSION. Jobs of other engines end with their launcher and carry none.
    """
    if is_dataflow(options):
        labels = list(options.view_as(GoogleCloudOptions).labels or [])
        if any(VERSION_LABEL in label for label in labels):
            return {}
        return {"labels": [*labels, f"{VERSION_LABEL}={version}"]}
    if flink_cluster(options):
        return {"job_name": f"{name}@{version}"}
    return {}
