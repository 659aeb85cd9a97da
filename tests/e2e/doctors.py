"""`launcher.py doctor` in this process, as its tests use it."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass

import pytest

import launcher
from local.programs.java import java

__all__ = ["Doctor", "closed_port", "doctor"]


@dataclass
class Doctor:
    """Runs the command in this process."""

    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str, code: int = 0) -> dict[str, tuple[str, str, str]]:
        """Mark, what it says and what fixes it, by what was checked."""
        got = launcher.main(["doctor", "--format=json", *arguments])
        said = self.capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        found = json.loads(said.out)
        findings = found["findings"]
        assert got == code, [one for one in findings if one["mark"] == "wrong"]
        assert found["wrong"] == sum(one["mark"] == "wrong" for one in findings)
        assert found["warnings"] == sum(one["mark"] == "warning" for one in findings)
        assert all("\n" not in one["message"] + one["fix"] for one in findings)
        assert code == (1 if found["wrong"] else 0)
        return {one["about"]: (one["mark"], one["message"], one["fix"]) for one in findings}

    def all(self, *arguments: str) -> dict[str, list[tuple[str, str]]]:
        """The same, for several findings of one thing."""
        launcher.main(["doctor", "--format=json", *arguments])
        found: dict[str, list[tuple[str, str]]] = {}
        for one in json.loads(self.capsys.readouterr().out)["findings"]:
            found.setdefault(one["about"], []).append((one["mark"], one["message"]))
        return found


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """The command, on a machine that has a Java where Beam looks."""
    monkeypatch.setenv("JAVA_HOME", str(java().parent.parent))
    return Doctor(capsys)


def closed_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return int(closed.getsockname()[1])
