"""Options of Beam, of this project and of the job service are known; any other is refused with a suggestion."""

from __future__ import annotations

import pytest
from apache_beam.options.pipeline_options import FlinkRunnerOptions, GoogleCloudOptions

from contracts.errors import UsageError
from pipelines.runs.command_line import CommandLine
from pipelines.runs.settings import StreamSettings


@pytest.mark.parametrize(
    "argv",
    [
        ["--runner=DirectRunner", "--local", "--input=x", "--labels=a=b", "--labels=c=d"],
        ["--runner=SparkRunner", "--input=x"],
        ["--runner=apache_beam.runners.direct.direct_runner.DirectRunner", "--runner", "PrismRunner"],
        ["--runner=", "--input="],
        ["--runner", "DataflowRunner", "--region", "r", "--temp_location", "gs://b/t", "--max_num_workers=3"],
        ["--runner=FlinkRunner", "--checkpointing_interval=1000", "--max_bundle_time_mills", "100", "--object_reuse"],
        ["--object_reuse", "--runner=FlinkRunner", "--flink_master=h:1", "--parallelism=2", "--input=x"],
    ],
)
def test_known_options_are_accepted(argv: list[str]) -> None:
    assert CommandLine.parse(argv).argv == tuple(argv)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--runer=DirectRunner"], "unknown option --runer; did you mean --runner?"),
        (
            ["--max-dead-letter-ratio=1"],
            "unknown option --max-dead-letter-ratio; did you mean --max_dead_letter_ratio?",
        ),
        (["--zzz"], "unknown option --zzz"),
        (["stray"], "unexpected argument 'stray'"),
        (["--max_record_bytes=many"], "argument --max_record_bytes: invalid int value: 'many'"),
        (["--local_dir="], "argument --local_dir: empty; give a folder"),
        (["--checkpointing_interval=1"], "--checkpointing_interval is an option of FlinkRunner, not of DirectRunner"),
        (["--runner=PrismRunner", "--object_reuse"], "--object_reuse is an option of FlinkRunner, not of PrismRunner"),
        (["--runner=DirectRuner"], "--runner DirectRuner: unknown runner; did you mean DirectRunner?"),
        (["--runner", "dataflowrunner"], "did you mean DataflowRunner?"),
        (["--runner=x"], "--runner x: unknown runner"),
        (["--runner=FlinkRunner", "--checkpoint_interval=1"], "did you mean --checkpointing_interval?"),
    ],
)
def test_unknown_options_are_refused_with_a_suggestion(argv: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        CommandLine.parse(argv)
    assert message in str(caught.value)


def test_a_given_option_wins_over_defaults_of_the_launch_and_those_over_the_engines() -> None:
    line = CommandLine.parse(["--runner=FlinkRunner", "--topic=a=b", "--project=", "--max_restarts=0"])
    assert (line.value("java_workers"), line.value("max_restarts"), line.value("buckets")) == (None, 0, None)
    line = line.with_engine(["--java_workers=here:1", "--flink_master=here:2", "--state_backend=filesystem"])
    assert line.value("java_workers") == "here:1"
    assert line.beam().argv[:3] == ("--java_workers=here:1", "--flink_master=here:2", "--state_backend=filesystem")
    line = line.with_defaults(project="local-project", topic=["c=d"], java_workers="there:1")
    assert [line.value(name) for name in ("project", "topic", "java_workers")] == ["local-project", ["a=b"], "there:1"]
    options = line.beam().options()
    assert options.view_as(GoogleCloudOptions).project == "local-project"
    assert options.view_as(FlinkRunnerOptions).flink_master == "here:2"


def test_a_stream_gets_the_java_workers_of_this_machines_cluster() -> None:
    line = CommandLine.parse(["--runner=FlinkRunner", "--project=p", "--location=EU", "--bootstrap_servers=here:3"])
    assert StreamSettings.of(line).java_workers is None
    assert StreamSettings.of(line.with_engine(["--java_workers=here:1"])).java_workers == "here:1"
