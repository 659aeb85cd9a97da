"""Doctor's checks of the machine, and how checks are run: each to its end or its limit, whatever the others do."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.errors import UsageError
from operations.doctor.findings import Check, Finding, Mark, examine
from operations.doctor.machine import check_disk, check_python


def raising(error: Exception) -> Iterator[Finding]:
    """One finding, then an error."""
    yield Finding("first", Mark.OK, "there")
    raise error


def test_what_one_check_raises_hides_nothing() -> None:
    found = examine(
        [
            Check("defect", lambda: raising(ValueError("of\nours")), "tell us"),
            Check("misuse", lambda: raising(UsageError("a mistake")), "fix it"),
            Check("fine", lambda: [Finding("fine", Mark.OK, "well")]),
        ]
    )
    first = Finding("first", Mark.OK, "there")
    assert found == [
        first,
        Finding("defect", Mark.WRONG, "ValueError: of ours", "tell us"),
        first,
        Finding("misuse", Mark.WRONG, "a mistake", "fix it"),
        Finding("fine", Mark.OK, "well"),
    ]


def test_a_check_that_does_not_end_is_told_of_with_what_it_had_found() -> None:
    never = threading.Event()

    def waits() -> Iterator[Finding]:
        yield Finding("half", Mark.OK, "done")
        never.wait()

    began = time.monotonic()
    found = examine(
        [Check("slow", waits, "wait longer"), Check("fine", lambda: [Finding("fine", Mark.OK, "well")])], 0.3
    )
    assert time.monotonic() - began < 5
    never.set()
    assert found == [
        Finding("half", Mark.OK, "done"),
        Finding("slow", Mark.WRONG, "no answer within 0.3 s", "wait longer"),
        Finding("fine", Mark.OK, "well"),
    ]


def test_this_python_fits() -> None:
    (found,) = check_python(("local",))
    assert found.mark is Mark.OK
    assert "packages that fit" in found.message


@pytest.mark.parametrize("version", ["3.10.13", "3.15.0"])
def test_a_python_that_does_not_fit(version: str) -> None:
    (found,) = check_python((), version)
    assert (found.mark, found.about) == (Mark.WRONG, "python")
    assert f"Python {version}" in found.message
    assert "3.11" in found.message
    assert "make install" in found.fix


def test_packages_that_do_not_fit() -> None:
    wanted = [
        "polars>=999",
        "no-such-package>=1",
        "pyarrow",
        "other-package; extra == 'local'",
        "third; extra == 'dev'",
    ]
    found = list(check_python(("local",), None, wanted))
    assert [(one.about, one.mark) for one in found] == [
        ("package polars", Mark.WRONG),
        ("package no-such-package", Mark.WRONG),
        ("package other-package", Mark.WRONG),
    ]
    assert found[0].message.endswith("is installed, the project needs >=999")
    assert "python -m pip install 'polars>=999'" in found[0].fix
    assert found[1].message == "it is not installed, the project needs >=1"


@pytest.mark.parametrize(
    ("least", "enough", "mark"), [(1, 1, Mark.OK), (1, 1 << 60, Mark.WARNING), (1 << 60, 1 << 60, Mark.WRONG)]
)
def test_room_on_the_disk(tmp_path: Path, least: int, enough: int, mark: Mark) -> None:
    (found,) = check_disk({"data": tmp_path / "not" / "there" / "yet"}, least, enough)
    assert found.mark is mark
    assert found.message.endswith(f"GB free at {tmp_path}/not/there/yet (data)")
    assert bool(found.fix) == (mark is not Mark.OK)
    assert not (tmp_path / "not").exists()
