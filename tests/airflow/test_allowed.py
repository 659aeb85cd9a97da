"""What the parameters of a DAG run may ask for, tested without Airflow."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from pipelines.runs.command_line import pipeline_parser
from shop_allowed import RUN_OPTIONS, NotAllowed, allowed_folder, allowed_options, files_below
from shop_settings import Settings

ROOT = Path(__file__).parents[2]

PROGRAMS = (
    "prism_location",
    "setup_file",
    "extra_packages",
    "requirements_file",
    "beam_services",
    "flink_job_server_jar",
    "environment_type",
    "environment_config",
    "sdk_location",
    "sdk_container_image",
    "java_workers",
    "job_endpoint",
)
PLACES = (
    "input",
    "processed",
    "dead_letters",
    "summary",
    "contracts",
    "kafka_config",
    "local",
    "local_dir",
    "dataset",
    "operations_dataset",
    "project",
    "run_id",
    "temp_location",
    "template_location",
    "bootstrap_servers",
    "topic",
    "service_account_email",
    "dataflow_endpoint",
    "pipeline",
    "runner",
)


def test_a_run_may_not_set_options_that_run_programs_or_name_places() -> None:
    for name in (*PROGRAMS, *PLACES, "tables=x --setup_file", "--tables", ""):
        with pytest.raises(NotAllowed, match=r"^options: a run may not set .*; it may set allow_lost_offsets, "):
            allowed_options({"tables": "customers", name: "x"})


def test_a_run_may_set_options_that_choose_or_tune() -> None:
    given = {"tables": "customers", "max_record_bytes": 1, "only_new": True}
    assert allowed_options(given) == given
    assert allowed_options({"setup_file": "/srv/setup.py"}, ["setup_file"]) == {"setup_file": "/srv/setup.py"}


def test_the_launcher_knows_every_option_that_is_allowed() -> None:
    parser = pipeline_parser()
    known = {option.removeprefix("--") for action in parser._actions for option in action.option_strings}
    assert known >= RUN_OPTIONS


@pytest.mark.parametrize(
    ("folder", "root"),
    [
        ("gs://shop/raw", "gs://shop/raw"),
        ("gs://shop/raw/2026-01-01/", "gs://shop/raw"),
        ("gs://shop/raw2", None),
        ("gs://shop-other/raw/x", None),
        ("gs://shop/../raw/x", None),
        ("gs://", None),
        ("{tmp}/in/2026", "{tmp}/in"),
        ("{tmp}/in/../in/2026", "{tmp}/in"),
        ("{tmp}/in/..", None),
        ("{tmp}/in/../secret", None),
        ("{tmp}/in/out", None),
        ("{tmp}/in/within", "{tmp}/in"),
        ("{tmp}/input", None),
        ("/etc", None),
        ("file:///etc", None),
        ("etc", None),
    ],
)
def test_a_folder_is_below_a_root(tmp_path: Path, folder: str, root: str | None) -> None:
    for name in ("in/2026", "secret", "input"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "in" / "out").symlink_to(tmp_path / "secret")
    (tmp_path / "in" / "within").symlink_to(tmp_path / "in" / "2026")
    roots = ["gs://shop/raw", f"{tmp_path}/in"]
    asked = folder.replace("{tmp}", str(tmp_path))
    if root is None:
        with pytest.raises(NotAllowed, match=r"SHOP_INPUT_ROOTS adds more$"):
            allowed_folder(asked, roots)
    else:
        assert allowed_folder(asked, roots) == root.replace("{tmp}", str(tmp_path))


def test_links_within_the_root_are_followed_once(tmp_path: Path) -> None:
    (tmp_path / "root" / "day").mkdir(parents=True)
    (tmp_path / "root" / "shared").mkdir()
    (tmp_path / "root" / "shared" / "products.csv").write_text("x")
    day = tmp_path / "root" / "day"
    (day / "customers.csv").write_text("x")
    (day / "products").symlink_to(tmp_path / "root" / "shared")
    (day / "again.csv").symlink_to(day / "customers.csv")
    (day / "loop").symlink_to(day)
    os.mkfifo(day / "pipe")
    files = files_below(str(day), str(tmp_path / "root"))
    assert [str(path.relative_to(day)) for path in files] == ["again.csv", "customers.csv", "products/products.csv"]


@pytest.mark.parametrize("target", ["secret.csv", "secret", "/etc/hostname"])
def test_a_link_that_leads_out_is_refused_by_name(tmp_path: Path, target: str) -> None:
    (tmp_path / "root" / "sub").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret.csv").write_text("x")
    (tmp_path / "root" / "sub" / "customers.csv").symlink_to(tmp_path / target)
    with pytest.raises(NotAllowed, match=r"root/sub/customers\.csv is a link that leads out of "):
        files_below(str(tmp_path / "root"), str(tmp_path / "root"))


@pytest.mark.parametrize(
    ("variables", "roots"),
    [
        ({}, ("gs://ecommerce-data-lake/raw", "gs://ecommerce-data-lake/raw")),
        ({"SHOP_INPUT": "/srv/day-{date}/x"}, ("gs://ecommerce-data-lake/raw", "/srv")),
        ({"SHOP_INPUT": "/srv/raw", "SHOP_BUCKET": "gs://b/"}, ("gs://b/raw", "/srv/raw")),
        ({"SHOP_INPUT_ROOTS": "gs://a/raw '/srv/two words'"}, ("gs://a/raw", "/srv/two words")),
    ],
)
def test_the_default_roots_are_the_folders_that_the_installation_reads(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], roots: tuple[str, ...]
) -> None:
    for name in ("SHOP_INPUT", "SHOP_BUCKET", "SHOP_INPUT_ROOTS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Settings.from_environment().input_roots == roots


def test_the_document_names_every_variable_and_every_option() -> None:
    text = (ROOT / "docs" / "how-to" / "deploy" / "airflow.md").read_text()
    source = (ROOT / "dags" / "shop_settings.py").read_text()
    read = set(re.findall(r'value\("(\w+)"', source))
    assert len(read) > 15
    assert {f"SHOP_{name}" for name in read} <= set(re.findall(r"`(SHOP_\w+)`", text))
    assert (
        set(re.findall(r"`(\w+)`", text.partition("options that choose or tune:")[2].partition(". ")[0])) == RUN_OPTIONS
    )
