"""The benchmark itself: small runs of all three implementations, and what it says when one loses a record."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from benchmarks.batch import Requirement, main
from benchmarks.events import write_events
from benchmarks.outcome import differences
from benchmarks.outcome import main as compare
from benchmarks.workers import main as workers_main
from benchmarks.workers import more_cores

pytestmark = pytest.mark.slow

COUNT = 2_000


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `--check` leaves behind, and that it ends well."""
    folder = tmp_path_factory.mktemp("bench")
    assert main(["--check", "--folder", str(folder)]) == 0
    return folder / "outputs" / str(COUNT)


def test_all_implementations_agree_on_events_that_hold_duplicates_and_broken_ones(outputs: Path) -> None:
    assert differences(outputs) == []
    refused = pl.read_parquet(outputs / "polars_script" / "refused.parquet").height
    keys = pl.read_parquet(outputs / "polars_script" / "clean.parquet").height
    assert refused > 0
    assert keys + refused < COUNT


@pytest.mark.parametrize(("file", "lost"), [("clean.parquet", "keys"), ("refused.parquet", "refused")])
def test_an_implementation_that_loses_a_record_fails_the_comparison(outputs: Path, file: str, lost: str) -> None:
    path = outputs / "polars_script" / file
    whole = pl.read_parquet(path)
    try:
        whole.slice(1).write_parquet(path)
        (found,) = differences(outputs)
        assert found.startswith("polars_script:")
        assert lost in found
        assert compare(str(outputs)) == 1
    finally:
        whole.write_parquet(path)


def test_a_key_that_comes_twice_fails_the_comparison(outputs: Path) -> None:
    path = outputs / "polars_script" / "clean.parquet"
    whole = pl.read_parquet(path)
    try:
        pl.concat([whole, whole.head(1)]).write_parquet(path)
        assert "polars_script: 1 keys more than once" in differences(outputs)
    finally:
        whole.write_parquet(path)


def test_any_number_of_workers_returns_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert workers_main(["--check", "--folder", str(tmp_path)]) == 0
    assert "by Amdahl's law" in capsys.readouterr().out
    (shard,) = (tmp_path / "outputs" / "2000" / "pipeline_2").glob("processed/**/*.parquet")
    assert pl.read_parquet(shard).height > 1_900


def test_more_cores_divide_what_is_not_serial() -> None:
    assert more_cores(10.0, 6.0, (4, 8)) == {4: 4.0, 8: 3.0}
    assert more_cores(10.0, 5.0, (4,)) == {4: 2.5}


def test_the_same_seed_makes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_events(tmp_path / name, 500, seed=3)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes().count(b"\n") == 500


def test_a_requirement_is_met_on_its_own_side_of_the_limit() -> None:
    assert Requirement("speed", 6, 6, at_least=True).met
    assert not Requirement("speed", 5.9, 6, at_least=True).met
    assert Requirement("memory", 4.5, 4.5, at_least=False).met
    assert not Requirement("memory", 4.6, 4.5, at_least=False).met
