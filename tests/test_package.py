"""The package that Dataflow's workers install: built as Beam builds it, installed where nothing of the checkout is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import polars
import pytest
from apache_beam.runners.portability.stager import Stager

from contracts.odcs.tables import shipped

ROOT = Path(__file__).parent.parent
EVENT = {"event_id": "e", "customer_id": "c", "event_type": "search", "event_timestamp": "2026-03-01T12:00:00Z"}
SALE = {"transaction_id": "t", "customer_id": "c", "product_id": "p", "quantity": 2, "unit_price": 1.5, "discount": 0.1}
RECORDS = {
    "customers": {"customer_id": "c", "email": "c@example.com", "first_name": "A"},
    "products": {"product_id": "p", "name": "n", "price": 2, "cost": 1.5},
    "transactions": SALE,
    "transactions_streaming": SALE,
    "user_events": EVENT,
    "user_events_streaming": EVENT,
}
DERIVED = {
    "customers": ("full_name", "A"),
    "products": ("profit_margin", "0.500000000"),
    "transactions": ("total_paid", "2.700000000"),
    "transactions_streaming": ("total_paid", "2.700000000"),
    "user_events": ("event_hour", "12"),
    "user_events_streaming": ("event_hour", "12"),
}
PACKAGES = str(Path(polars.__file__).parents[1])
"""Where the dependencies are: an environment may share those of another one."""
WORKER = """
import importlib, importlib.metadata, json, pkgutil, sys
installed, packages = sys.argv[1:3]
sys.path[:0] = [installed]
sys.path.append(packages)
names = ["contracts", "transforms", "connectors", "pipelines"]
for name in names:
    package = importlib.import_module(name)
    assert package.__file__.startswith(installed), package.__file__
    for module in pkgutil.iter_modules(package.__path__, name + "."):
        importlib.import_module(module.name)
import datetime, numpy
from contracts.decoding.decoder import Block, Decoder, Format
from contracts.odcs.tables import shipped
found = {"version": importlib.metadata.version("contract-pipeline")}
records = json.load(sys.stdin)
for name, table in shipped().items():
    decoder = Decoder(table, lambda: datetime.date(2026, 4, 1))
    done = decoder.decode(Block("s", Format.JSON, [json.dumps(records[name]).encode(), b"{"], numpy.arange(2)))
    found[name] = [json.loads(json.dumps(done.rows.to_dicts(), default=str)), [r.code.value for r in done.refusals]]
print(json.dumps(found))
"""
"""What a worker does first; -S keeps the checkout's own .pth out, so site-packages is named by hand."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, in a separate folder."""
    folder = tmp_path_factory.mktemp("built")
    sdist = Stager._build_setup_package(str(ROOT / "setup.py"), str(folder))
    target = folder / "installed"
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"),
            *("--no-index", "--no-build-isolation", "--target", str(target), sdist),
        ],
        check=True,
        cwd=folder,
        timeout=120,
    )
    return target


def test_a_record_of_each_shipped_contract_is_decoded_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    assert set(RECORDS) == set(shipped())
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", WORKER, str(installed), PACKAGES],
        cwd=tmp_path,
        input=json.dumps(RECORDS),
        capture_output=True,
        text=True,
        timeout=120,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("version")
    for name, ((row,), refused) in found.items():
        column, value = DERIVED[name]
        assert str(row[column]) == value, (name, row)
        assert refused == ["malformed_json"]


def test_the_package_has_every_file_of_the_code_that_is_no_python(installed: Path) -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"]
    listed = subprocess.run(["git", "ls-files", *packages], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    wanted = {line for line in listed.splitlines() if not line.endswith(".py")}
    assert wanted >= {"contracts/customers.odcs.yaml", "local/programs/kafka.toml", "local/java_worker.sh"}
    assert [name for name in sorted(wanted) if not (installed / name).exists()] == []


def command(installed: Path, packages: Path | str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The package's command, with `packages` next to it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["PYTHONPATH"] = f"{installed}{os.pathsep}{packages}"
    return subprocess.run(  # -S keeps the checkout's own .pth out
        [sys.executable, "-S", str(installed / "bin" / "contract-pipeline"), *arguments],
        cwd=installed.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_package_has_a_command(installed: Path) -> None:
    found = command(installed, PACKAGES, "query", "--help")
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.startswith("usage: launcher.py query ")
    found = command(installed, PACKAGES, "nothing")
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.startswith("error: unknown command 'nothing'")
    assert list(installed.glob("contract_pipeline-*.dist-info/licenses/NOTICE"))


def test_the_local_cloud_without_its_extra_says_what_to_install(installed: Path, tmp_path: Path) -> None:
    for path in Path(PACKAGES).iterdir():
        if not path.name.startswith(("bqemulator", "duckdb")):
            (tmp_path / path.name).symlink_to(path)
    found = command(installed, tmp_path, "query", "SELECT 1", "--local")
    assert (found.returncode, found.stdout) == (2, "")
    said = "error: the local cloud needs bqemulator, duckdb: pip install 'contract-pipeline[local]'\n"
    assert found.stderr == said
