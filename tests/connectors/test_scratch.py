"""Folders for what a run keeps on this machine: removed at its end, or by the next run."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from connectors.files.scratch import remove_leftovers, scratch_folder


@pytest.fixture(autouse=True)
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The disk for scratch folders."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


def test_a_folder_is_private_and_goes_with_its_block(disk: Path) -> None:
    with scratch_folder() as folder:
        (Path(folder) / "some").write_bytes(b"rows")
        assert Path(folder).parent == disk
        assert stat.S_IMODE(Path(folder).stat().st_mode) == 0o700
    assert list(disk.iterdir()) == []


def test_a_folder_goes_although_the_block_fails(disk: Path) -> None:
    with pytest.raises(ValueError, match="of the run"), scratch_folder():
        raise ValueError("of the run")
    assert list(disk.iterdir()) == []


def test_the_next_run_removes_what_a_killed_one_has_left_and_nothing_else(disk: Path) -> None:
    left, other = disk / "contract-pipeline-left", disk / "contract-pipelines"
    for folder in (left, other):
        folder.mkdir()
        (folder / "some.arrow").write_bytes(b"rows")
    with scratch_folder() as running:
        assert not left.exists()
        assert other.exists()
        with scratch_folder():
            assert Path(running).exists(), "its run has not ended"
        assert remove_leftovers() == 0
    left.mkdir()
    assert remove_leftovers() == 1
    assert [path.name for path in disk.iterdir()] == ["contract-pipelines"]


def test_a_link_is_not_followed(disk: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    precious = tmp_path_factory.mktemp("precious")
    (disk / "contract-pipeline-link").symlink_to(precious)
    assert remove_leftovers() == 0
    assert precious.exists()


def test_without_tmpdir_it_is_a_disk_and_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMPDIR")
    with scratch_folder() as folder:
        assert folder.startswith("/var/tmp/")
