"""How a job is named, and which version it says it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from hypothesis import given
from hypothesis import strategies as st

from contracts.odcs import shipped
from pipelines import jobs
from pipelines.jobs import carry_version, job_name_of, stream_version
from tests.dataflow_service import LABEL

TABLES = shipped()
VERSION = stream_version(TABLES)


@given(group=st.text(min_size=1))
def test_a_jobs_name_is_made_of_its_group(group: str) -> None:
    name = job_name_of(PipelineOptions(group_id=group))
    assert name.startswith("stream")
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert job_name_of(PipelineOptions(group_id=group, job_name="mine")) == "mine"


@given(
    version=st.from_regex(
        r"[0-9]{1,3}(\.[0-9]{1,3}){1,2}((a|b|rc)[0-9]|\.dev[0-9]+)?(\+[a-z0-9.]{1,20})?", fullmatch=True
    )
)
def test_a_version_fits_a_label_and_is_the_codes(version: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "PIPELINE_VERSION", version)
        found = stream_version(TABLES)
    assert LABEL[1].fullmatch(found)
    assert found != VERSION


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
    options = PipelineOptions([*arguments, "--job_name=clicks"])
    carry_version(options, VERSION)
    google = options.view_as(GoogleCloudOptions)
    assert (google.job_name, google.labels) == (name, labels)
