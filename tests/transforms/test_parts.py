"""Parts of buckets while they are shuffled: read back as they were written, wherever they are."""

from __future__ import annotations

import pickle
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from transforms.parts import PartsInElements, PartsInFiles

TEXTS = st.lists(st.none() | st.text(max_size=40), min_size=1, max_size=20)


@given(parts=st.lists(TEXTS, min_size=1, max_size=5))
def test_parts_are_read_as_they_were_written(tmp_path_factory: pytest.TempPathFactory, parts: list[str | None]) -> None:
    frames = [pl.DataFrame({"text": part, "number": range(len(part or ""))}) for part in parts]
    for store in (PartsInElements(), PartsInFiles(str(tmp_path_factory.mktemp("parts")))):
        written = store.write(frames)
        elsewhere = pickle.loads(pickle.dumps(store))  # as a step in another process has it
        for frame, part in zip(frames, written, strict=True):
            assert_frame_equal(elsewhere.read(part), frame)


def test_what_is_shuffled_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    store = PartsInFiles(str(tmp_path))
    rows = pl.DataFrame({"n": range(100_000)})
    parts = store.write([rows, rows])
    assert max(map(len, parts)) < 60
    assert len(list(tmp_path.iterdir())) == 1


def test_an_error_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No such file or directory: '.*/missing/[0-9a-f]+\.arrow'"):
        PartsInFiles(str(tmp_path / "missing")).write([pl.DataFrame({"n": [1]})])
