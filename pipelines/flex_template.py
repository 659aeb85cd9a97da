"""The metadata of the Flex Templates, generated from the declared options.

python -m pipelines.flex_template batch > deploy/batch_template.json
python -m pipelines.flex_template stream > deploy/stream_template.json
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from pipelines.runs.help import BEAM_OPTIONS, PIPELINES
from pipelines.runs.options import OperationsOptions, StreamOptions

__all__ = ["LEFT_OUT", "metadata"]

LEFT_OUT = {
    "local": "Dataflow's workers cannot reach services of the launcher's machine",
    "local_dir": "belongs to local",
    "metrics_port": "serves the metrics of a local run; Dataflow shows Beam's metrics itself",
    "summary": "a template's launcher has exited before the run ends; the ledger holds the counts",
    "notify": "a template's launcher has exited before the run ends; a scheduler runs launcher.py alarms",
    "java_workers": "an option of Flink",
    "workers": "an option of DirectRunner",
    "ensure_running": "a template starts a job each time; gcloud's --update replaces one",
    "max_restarts": "a template's launcher has exited when the job fails; Dataflow retries by itself",
    "stop_when_idle": "a template's launcher has exited",
}
"""Our options that are not parameters, and why."""
PASSED_THROUGH = {
    "batch": ("sdk_container_image", "labels"),
    "stream": ("sdk_container_image", "labels", "bootstrap_servers"),
}
"""Beam's options that are parameters: gcloud has flags for workers, network, account, folders and names."""
REQUIRED = {
    "batch": ("pipeline", "input", "processed", "dead_letters", "location", "sdk_container_image"),
    "stream": ("pipeline", "location", "bootstrap_servers", "sdk_container_image"),
}
FOLDER = r"^gs://[^/]+/.+$"
TYPES = {
    "input": "GCS_READ_FOLDER",
    "processed": "GCS_WRITE_FOLDER",
    "dead_letters": "GCS_WRITE_FOLDER",
    "kafka_config": "GCS_READ_FILE",
}
REGEXES = {
    "input": r"^gs://[^/]+(/.*)?$",
    "processed": FOLDER,
    "dead_letters": FOLDER,
    "kafka_config": FOLDER,
    "contracts": r"^gs://[^/]+/.+$",
    "dataset": r"^[A-Za-z0-9_]{1,1024}$",
    "operations_dataset": r"^[A-Za-z0-9_]{1,1024}$",
    "run_id": r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$",
    "max_dead_letter_ratio": r"^(0(\.[0-9]+)?|1(\.0+)?)$",
    "max_record_bytes": r"^[1-9][0-9]*$",
    "topic": r"^[^=,]+=[^=,]+(,[^=,]+=[^=,]+)*$",
    "start_from": r"^(earliest|latest|timestamp:.+)$",
    "dedup_horizon": r"^[1-9][0-9]*[smhd]$",
    "buckets": r"^([1-9]|[1-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-6])$",
}
SWITCH = r"^([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])$"


def metadata(pipeline: str) -> dict[str, Any]:
    """Return the metadata of a pipeline's template for `gcloud dataflow flex-template build --metadata-file`."""
    parser = argparse.ArgumentParser(add_help=False)
    OperationsOptions._add_argparse_args(parser)
    if pipeline == "stream":
        StreamOptions._add_argparse_args(parser)
    ours = [action for action in parser._actions if action.dest not in LEFT_OUT]
    return {
        "name": f"contract-pipeline {pipeline}",
        "description": PIPELINES[pipeline][0],
        "streaming": pipeline == "stream",
        **({"supportsExactlyOnce": True, "supportsAtLeastOnce": False} if pipeline == "stream" else {}),
        "parameters": [
            *(_parameter(pipeline, action) for action in ours),
            *(_passed_through(pipeline, name) for name in PASSED_THROUGH[pipeline]),
        ],
    }


def _parameter(pipeline: str, action: argparse.Action) -> dict[str, Any]:
    parameter = _described(pipeline, action.dest, action.help or "")
    if action.dest == "pipeline":
        parameter["regexes"] = [f"^{pipeline}$"]
        parameter["helpText"] = f"{pipeline}, the pipeline of the image to run"
    elif action.nargs == "?":
        parameter["regexes"], parameter["paramType"] = [SWITCH], "BOOLEAN"
    return parameter


def _passed_through(pipeline: str, name: str) -> dict[str, Any]:
    return _described(pipeline, name, BEAM_OPTIONS[f"--{name}"])


def _described(pipeline: str, name: str, text: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": name.replace("_", " "),
        "helpText": text,
        "isOptional": name not in REQUIRED[pipeline],
        **({"regexes": [REGEXES[name]]} if name in REGEXES else {}),
        "paramType": TYPES.get(name, "TEXT"),
    }


if __name__ == "__main__":
    print(json.dumps(metadata(sys.argv[1]), indent=2))
