"""What the machine refuses is one line with a fix, and a traceback only with --debug."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

import launcher
from commands import query
from commands.machine_errors import MachineError, refused_by_the_machine
from connectors.files.storage import Storage
from console.terminal import Terminal
from contracts.errors import UsageError


def error_of(number: int, path: str | None) -> OSError:
    return OSError(number, os.strerror(number), path)


@pytest.mark.parametrize(
    ("number", "path", "kind", "message"),
    [
        (errno.ENOSPC, "/data/x", MachineError, "/data/x: no space is left on the disk; free some space, or give ano"),
        (errno.ENOSPC, None, MachineError, "no space is left on the disk; free some space"),
        (errno.EROFS, "/mnt/.local", UsageError, "/mnt/.local: the file system is read-only; give a folder that can"),
        (errno.EACCES, "/root/s.json", UsageError, "/root/s.json: permission denied; give another path, or change"),
        (errno.ENOENT, "no/s.json", UsageError, "no/s.json: there is no such file or folder; give another path"),
    ],
)
def test_a_refusal_names_the_path_and_a_fix(number: int, path: str | None, kind: type, message: str) -> None:
    known = refused_by_the_machine(error_of(number, path))
    assert type(known) is kind
    assert str(known).startswith(message)


@pytest.mark.parametrize("error", [error_of(errno.ENOENT, None), OSError("odd"), ValueError("x"), ConnectionError()])
def test_any_other_error_is_a_defect(error: Exception) -> None:
    assert refused_by_the_machine(error) is None


@pytest.mark.parametrize("debug", [False, True])
def test_a_traceback_is_printed_with_debug_only(
    debug: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(argv: list[str], terminal: Terminal) -> int:
        assert argv == ["SELECT 1"]
        raise error_of(errno.ENOSPC, "/data")

    monkeypatch.setattr(query, "run", full)
    assert launcher.main(["query", *["--debug"] * debug, "SELECT 1"]) == 1
    printed = capsys.readouterr().err
    assert ("Traceback" in printed) == debug
    assert printed.splitlines()[-1].startswith("error: /data: no space is left on the disk")


def test_a_folder_that_cannot_be_created_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    sizes = ["--customers=1", "--products=0", "--transactions=0", "--events=0"]
    assert launcher.main(["generate", f"--output={tmp_path}/file/raw", *sizes]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"error: {tmp_path}/file")
    assert printed.count("\n") == 1


def test_a_file_that_does_not_fit_on_the_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Path, data: bytes) -> int:
        raise error_of(errno.ENOSPC, None)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space") as raised:
        Storage().write(f"{tmp_path}/summary.json", b"{}")
    assert str(refused_by_the_machine(raised.value)).startswith(f"{tmp_path}/summary.json: no space is left")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("argv", "meant"),
    [
        (["bacth"], "did you mean batch?"),
        (["local", "upp"], "did you mean up?"),
        (["stream", "statsu"], "did you mean status?"),
        (["query", "SELECT 1", "--limt=5"], "did you mean --limit?"),
        (["batch", "--dryrun"], "did you mean --dry_run?"),
    ],
)
def test_a_mistyped_word_gets_a_suggestion(argv: list[str], meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert launcher.main(argv) == 2
    assert meant in capsys.readouterr().err


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert launcher.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("contract-pipeline 0.1.0, apache-beam 2.")
    assert launcher.main(["help"]) == 0
    assert capsys.readouterr().out.startswith("Files and Kafka into BigQuery")
