"""The Flex Templates' metadata: what is in deploy/, held to the options and to what is refused before a start."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from google.cloud import dataflow_v1beta3 as dataflow
from google.protobuf import json_format

from contracts.errors import UsageError
from contracts.odcs.tables import shipped
from pipelines.flex_template import LEFT_OUT, metadata
from pipelines.runs.argument_parser import PipelineArguments
from pipelines.runs.command_line import CommandLine, pipeline_parser
from pipelines.runs.options import OperationsOptions, StreamOptions
from pipelines.runs.settings import check_names
from pipelines.stream.preflight import topics_of

DEPLOY = Path(__file__).parents[2] / "deploy"


def parameters(pipeline: str) -> dict[str, dict[str, Any]]:
    return {parameter["name"]: parameter for parameter in metadata(pipeline)["parameters"]}


@pytest.mark.parametrize("pipeline", ["batch", "stream"])
def test_the_file_is_what_the_options_say(pipeline: str) -> None:
    written = (DEPLOY / f"{pipeline}_template.json").read_text()
    assert json.loads(written) == metadata(pipeline), f"python -m pipelines.flex_template {pipeline} > deploy/…"
    json_format.Parse(written, dataflow.TemplateMetadata.pb()())  # Google's own type: no unknown field or value


@pytest.mark.parametrize("pipeline", ["batch", "stream"])
def test_every_parameter_is_an_option_and_every_option_a_parameter(pipeline: str) -> None:
    ours = PipelineArguments(add_help=False)
    for options in (OperationsOptions, StreamOptions) if pipeline == "stream" else (OperationsOptions,):
        options._add_argparse_args(ours)
    names = {name.removeprefix("--") for name in ours._option_string_actions}
    found = parameters(pipeline)
    assert names - set(found) == names & set(LEFT_OUT)
    assert not set(found) & set(LEFT_OUT)
    assert all(LEFT_OUT.values())
    assert {f"--{name}" for name in found} <= set(pipeline_parser()._option_string_actions)
    assert all(one["helpText"] for one in found.values())


SWITCHES = ("only_new", "keep_duplicates", "create_topics", "allow_lost_offsets")


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize(("value", "meant"), [("true", True), ("false", False), ("True", True), ("yes", None)])
def test_a_switch_takes_the_values_that_a_template_passes(name: str, value: str, meant: bool | None) -> None:
    (regex,) = parameters("stream")[name]["regexes"]
    argv = [f"--{name}={value}", "--runner=DataflowRunner"]
    assert bool(re.fullmatch(regex, value)) == (meant is not None)
    if meant is None:
        with pytest.raises(UsageError, match="true or false"):
            CommandLine.parse(argv)
    else:
        assert CommandLine.parse(argv).value(name) is meant


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("run_id", value) for value in ("a", "A.b_c-1", "-a", "a b", "", "x" * 100, "x" * 101)),
        *(
            (name, value)
            for name in ("dataset", "operations_dataset")
            for value in ("d_1", "a-b", "x" * 1024, "x" * 1025)
        ),
        *(("max_dead_letter_ratio", value) for value in ("0", "0.25", "1", "1.0", "1.5", "2")),
        *(("max_record_bytes", value) for value in ("1", "10000000", "0")),
    ],
)
def test_a_regex_takes_what_preflight_takes(name: str, value: str) -> None:
    """Of the empty run id and dataset both sides are silent: they are as if they were left out."""
    (regex,) = parameters("batch")[name]["regexes"]
    try:
        check_names(OperationsOptions([f"--{name}={value}"]))
        fits = bool(value)
    except UsageError:
        fits = False
    assert bool(re.fullmatch(regex, value)) == fits


@pytest.mark.parametrize(
    "value",
    ["a=user_events", "a=user_events,b=transactions", "a", "a=", "=user_events", "a=user_events,", "a=user_events,b"],
)
def test_topics_are_taken_as_the_regex_takes_them(value: str) -> None:
    (regex,) = parameters("stream")["topic"]["regexes"]
    try:
        fits = bool(topics_of([value], shipped()))
    except UsageError:
        fits = False
    assert bool(re.fullmatch(regex, value)) == fits


@pytest.mark.parametrize("value", ["1", "8", "256", "0", "257", "08", "9999"])
def test_buckets_are_from_1_to_256(value: str) -> None:
    (regex,) = parameters("stream")["buckets"]["regexes"]
    assert bool(re.fullmatch(regex, value)) == (value == str(int(value)) and 1 <= int(value) <= 256)
