"""The tutorials' data under their contracts: what they say becomes of each record."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

import pytest

from tests.in_process import launch
from tests.test_docs import DOCS


@pytest.mark.parametrize(
    ("page", "data", "table"), [("own-files.md", "orders.csv", "orders"), ("own-topic.md", "rides.ndjson", "rides")]
)
def test_the_records_of_a_tutorial_leave_by_the_doors_that_it_names(
    page: str, data: str, table: str, tmp_path: Path
) -> None:
    text = (DOCS / "tutorial" / page).read_text()
    language = {"orders.csv": "csv", "rides.ndjson": "json"}[data]
    for name, form in ((data, language), ("it.odcs.yaml", "yaml")):
        (block,) = re.findall(rf"```{form}\n(.*?)```", text, re.DOTALL)
        (tmp_path / name).write_text(dedent(block))
    done = launch(["contracts", "try", str(tmp_path / "it.odcs.yaml"), str(tmp_path / data)])
    assert done.code == 0
    counts = dict(re.findall(r"^(table|duplicate|dead letter)\b.*?(\d+)$", done.stdout, re.MULTILINE))
    assert counts == {"table": "2", "duplicate": "1", "dead letter": "1"}
    assert f"{table}: 4 records read" in done.stdout
    assert "4 read, 2 written, 1 duplicate, 1 dead letter" in text
