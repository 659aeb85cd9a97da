"""How many processes a batch has: as many as its input pays for, and as the machine has cores and memory for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import UsageError
from pipelines.batch.direct import worker_count
from pipelines.engines import machine
from pipelines.runs.command_line import CommandLine
from pipelines.runs.settings import BatchSettings

MB = 1 << 20
GB = 1 << 30
PLACE = ("--project=p", "--location=EU", "--input=raw", "--processed=gs://b/p", "--dead_letters=gs://b/d")


def test_a_small_input_has_one_process() -> None:
    assert worker_count(0, 16, None) == 1
    assert worker_count(60 * MB, 16, None) == 1


def test_a_large_input_has_all_cores() -> None:
    assert worker_count(4 * GB, 2, None) == 2
    assert worker_count(4 * GB, 16, 64 * GB) == 16


def test_a_small_machine_has_fewer() -> None:
    assert worker_count(4 * GB, 16, 2 * GB) == 4
    assert worker_count(4 * GB, 16, 100 * MB) == 1


@given(st.integers(0, 1 << 50), st.integers(1, 256), st.none() | st.integers(0, 1 << 45))
def test_the_number_is_within_its_limits(size: int, most: int, memory: int | None) -> None:
    assert 1 <= worker_count(size, most, memory) <= most


def test_a_container_has_fewer_cores_and_less_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr(machine, "MEMORY", tmp_path / "meminfo")
    cores = machine.usable_cores()
    assert machine.available_memory() is None
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert machine.usable_cores() == cores
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert machine.usable_cores() == 1
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    4000 kB\n")
    assert machine.available_memory() == 4000 << 10
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    assert machine.available_memory() == 2_000_000


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--workers=0"], "--workers must be from 1 to 256"),
        (["--workers=257"], "--workers must be from 1 to 256"),
        (["--workers=2", "--runner=FlinkRunner"], "--workers is an option of DirectRunner, not of FlinkRunner"),
    ],
)
def test_what_is_refused(options: list[str], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        BatchSettings.of(CommandLine.parse([*PLACE, *options]))


def test_the_option_is_a_number_or_not_given() -> None:
    assert BatchSettings.of(CommandLine.parse([*PLACE, "--workers=3"])).workers == 3
    assert BatchSettings.of(CommandLine.parse(PLACE)).workers is None
