"""Which command lines run on this machine although they do not say --local."""

from __future__ import annotations

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from commands.default_place import OPTIONS, OWN_FLINK, RUNNERS, VARIABLES, runs_locally
from contracts.errors import UsageError
from local.services import SERVICES
from pipelines.runs.command_line import CommandLine, pipeline_parser

HERE = [
    ("batch", "--runner DirectRunner"),
    ("batch", "--runner=DirectRunner"),
    ("batch", ""),
    ("batch", "--runner PrismRunner"),
    ("batch", "--runner FlinkRunner --flink_master [local]"),
    ("batch", "--runner DirectRunner --local_dir elsewhere --run_id again --only_new --tables customers"),
    ("batch", "--runner DataflowRunner --runner DirectRunner"),
    ("stream", "--runner PrismRunner"),
    ("stream", "--runner PrismRunner --stop_when_idle 5 --topic clicks=user_events_streaming --group_id shop"),
    ("stream", "--runner FlinkRunner"),
    ("stream", "--runner FlinkRunner --flink_master=[auto]"),
    ("stream", ""),
    ("doctor", ""),
    ("doctor", "--runner DirectRunner"),
    ("doctor", "--runner PrismRunner --topic clicks=user_events_streaming"),
]
ELSEWHERE = [
    ("batch", "--runner DataflowRunner"),
    ("batch", "--runner PortableRunner"),
    ("batch", "--runner SparkRunner"),
    ("batch", "--runner="),
    ("batch", "--runner FlinkRunner --flink_master host:8081"),
    ("batch", "--runner FlinkRunner --flink_master="),
    ("batch", "--runner DirectRunner --local false"),
    ("batch", "--runner DirectRunner --local"),
    ("batch", "--runner DirectRunner --contracts gs://b/contracts"),
    ("batch", "--runner DirectRunner --summary=gs://b/summary.json"),
    ("stream", "--runner DirectRunner"),
    ("stream", "--runner DataflowRunner --template_location gs://b/t"),
    ("doctor", "--runner DataflowRunner"),
    ("doctor", "--runner FlinkRunner --flink_master host:8081"),
]


@pytest.mark.parametrize(("command", "line"), HERE)
def test_nothing_names_a_place(command: str, line: str) -> None:
    assert runs_locally(command, CommandLine.parse(line.split()), {"HOME": "/home/gs", "PATH": "/bin"})


@pytest.mark.parametrize(("command", "line"), ELSEWHERE)
def test_a_runner_or_a_value_names_a_place(command: str, line: str) -> None:
    assert not runs_locally(command, CommandLine.parse(line.split()), {})


@pytest.mark.parametrize("command", RUNNERS)
@pytest.mark.parametrize("option", sorted(OPTIONS))
def test_an_option_names_a_place_even_if_its_value_is_empty(command: str, option: str) -> None:
    name, value = f"--{option}", "false" if option == "local" else "somewhere"
    given = [[f"{name}={value}"], [name, value]]
    given += [[name]] if option == "local" else [[f"{name}="], [name, ""]]
    for arguments in given:
        assert not runs_locally(command, CommandLine.parse(arguments), {})
        assert not runs_locally(command, CommandLine.parse(["--runner", "PrismRunner", *arguments]), {})
        assert not runs_locally(command, CommandLine.parse([*arguments, "--runner=PrismRunner"]), {})


@pytest.mark.parametrize("option", sorted({*OPTIONS, "runner"} - {"local"}))
def test_an_option_without_a_value_is_refused(option: str) -> None:
    with pytest.raises(UsageError, match=f"argument --{option}: expected one argument"):
        CommandLine.parse([f"--{option}"])


@pytest.mark.parametrize("command", RUNNERS)
@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("value", ["somewhere", ""])
def test_the_environment_names_a_place(command: str, variable: str, value: str) -> None:
    assert not runs_locally(command, CommandLine.parse(["--runner=PrismRunner"]), {variable: value})


def test_the_options_are_there_and_so_are_the_values() -> None:
    names = {f"--{option}" for option in (*OPTIONS, "runner", "flink_master")}
    assert names <= set(pipeline_parser()._option_string_actions)
    for master in OWN_FLINK:
        assert PipelineOptions(["--flink_master", master]).get_all_options()["flink_master"] == master


def test_every_variable_by_which_a_client_finds_a_local_service_names_a_place() -> None:
    ports = dict.fromkeys(("http", "rest", "grpc", "broker", "controller", "sasl", "ssl", "sasl_ssl"), 1)
    for service in SERVICES.values():
        named = service.environment({**ports, **dict.fromkeys(service.ports, 1)})
        assert set(named) <= set(VARIABLES), service.name
