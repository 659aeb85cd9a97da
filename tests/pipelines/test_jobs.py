"""The name, the version and the options of a job."""

from __future__ import annotations

from dataclasses import replace

import pytest
from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)
from hypothesis import example, given
from hypothesis import strategies as st

from contracts.odcs.tables import shipped
from pipelines.engines import naming
from pipelines.engines.job_options import batch_options, stream_options
from pipelines.engines.naming import job_name_of, stream_version
from pipelines.engines.runners import ONE_PROCESS
from pipelines.runs.beam_arguments import BeamArguments
from tests.dataflow_service import LABEL

TABLES = shipped()
VERSION = stream_version(TABLES)


@given(group=st.text(min_size=1))
def test_a_jobs_name_is_made_of_its_group(group: str) -> None:
    name = job_name_of(PipelineOptions(group_id=group))
    assert name.startswith("stream")
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert job_name_of(PipelineOptions(group_id=group, job_name="mine")) == "mine"


@example("0.000.000.dev" + 21 * "0" + "+" + 20 * "0")
@given(
    version=st.from_regex(
        r"[0-9]{1,3}(\.[0-9]{1,3}){1,2}((a|b|rc)[0-9]|\.dev[0-9]+)?(\+[a-z0-9.]{1,20})?", fullmatch=True
    )
)
def test_a_version_fits_a_label_and_is_the_codes(version: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(naming, "PIPELINE_VERSION", version)
        found = stream_version(TABLES)
    assert LABEL[1].fullmatch(found)
    assert (found == VERSION) == (version == naming.PIPELINE_VERSION)


def test_a_version_is_of_the_contracts_too() -> None:
    events = TABLES["user_events"]
    assert stream_version(dict(reversed(TABLES.items()))) == VERSION
    assert stream_version({"user_events": events}) == stream_version({"user_events": replace(events)})
    longer = replace(events.columns[0], max_length=7)
    for other in (
        {"user_events": replace(events, columns=(longer, *events.columns[1:]))},
        {"user_events": replace(events, primary_key=())},
        {"user_events": events, "customers": TABLES["customers"]},
    ):
        assert stream_version(other) != stream_version({"user_events": events})


@pytest.mark.parametrize(
    ("arguments", "name", "labels"),
    [
        (["--runner=DataflowRunner"], "clicks", [f"pipeline_version={VERSION}"]),
        (["--runner=DataflowRunner", "--labels=team=shop"], "clicks", ["team=shop", f"pipeline_version={VERSION}"]),
        (["--runner=DataflowRunner", "--labels=pipeline_version=mine"], "clicks", ["pipeline_version=mine"]),
        (["--runner=FlinkRunner", "--flink_master=localhost:8081"], f"clicks@{VERSION}", None),
        (["--runner=FlinkRunner"], "clicks", None),
        (["--runner=PrismRunner"], "clicks", None),
    ],
)
def test_how_a_job_carries_its_version(arguments: list[str], name: str, labels: list[str] | None) -> None:
    beam = BeamArguments((*arguments, "--job_name=clicks"))
    google = stream_options(beam, VERSION).view_as(GoogleCloudOptions)
    assert (google.job_name, google.labels) == (name, labels)


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["--runner=PrismRunner"], "LOOPBACK"),
        (["--runner=PrismRunner", "--environment_type=PROCESS"], "PROCESS"),
        (["--runner=FlinkRunner"], "LOOPBACK"),
        (["--runner=FlinkRunner", "--flink_master=localhost:8081"], None),
        (["--runner=DataflowRunner"], None),
    ],
)
def test_where_the_workers_of_a_stream_run(arguments: list[str], environment: str | None) -> None:
    options = stream_options(BeamArguments(tuple(arguments)), VERSION)
    assert options.view_as(PortableOptions).environment_type == environment
    assert options.view_as(StandardOptions).streaming is True


def test_experiments_of_the_user_stay() -> None:
    given = ("--experiments=a,b", "--experiments=streaming_mode_exactly_once")
    dataflow = stream_options(BeamArguments((*given, "--runner=DataflowRunner")), VERSION)
    assert dataflow.view_as(DebugOptions).experiments == ["a", "b", "streaming_mode_exactly_once", ONE_PROCESS]
    prism = stream_options(BeamArguments((*given, "--runner=PrismRunner")), VERSION)
    assert prism.view_as(DebugOptions).experiments[-1] == "disable_prism_server_singleton"


def test_dataflow_gets_no_path_of_the_launchers_machine() -> None:
    own = ("--summary=/s", "--contracts=/c", "--kafka_config=/k", '--beam_services={"x": "/x.jar"}', "--runner")
    for options in (
        batch_options(BeamArguments((*own, "DataflowRunner", "--setup_file=setup.py"))),
        stream_options(BeamArguments((*own, "DataflowRunner", "--setup_file=setup.py")), VERSION),
    ):
        values = options.get_all_options(drop_default=True)
        assert {"summary", "contracts", "kafka_config", "beam_services"}.isdisjoint(
            name for name, value in values.items() if value
        )
        assert values["setup_file"] == "./setup.py"  # Beam changes to the folder that the name has


def test_options_are_new_each_time() -> None:
    beam = BeamArguments(("--runner=DataflowRunner",), {"labels": ["a=b"]})
    beam.options().view_as(GoogleCloudOptions).labels.append("c=d")
    assert beam.options().view_as(GoogleCloudOptions).labels == ["a=b"]
    assert beam.runner == "DataflowRunner"
