"""docs/how-to/write-a-contract.md: its files, commands and outputs are what the tools make of them."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest

from operations.contracts.exported import FORMATS
from tests.deploy_docs import commands, shell_blocks
from tests.in_process import launch
from tests.test_docs import DOCS, blocks, rows

PAGE = "how-to/write-a-contract.md"


def test_the_page_is_what_its_commands_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, further = blocks(PAGE, "csv")
    draft, tests, _ = blocks(PAGE, "yaml")
    (output,) = blocks(PAGE, "text")
    Path("MY_FOLDER").mkdir()
    Path("MY_CONTRACTS/tests").mkdir(parents=True)
    Path("MY_FOLDER/stations.csv").write_text(first)
    contract = Path("MY_CONTRACTS/stations.odcs.yaml")
    assert launch(["contracts", "infer", "MY_FOLDER", "--output", str(contract)]).code == 0
    assert contract.read_text() == draft
    Path("MY_FOLDER/stations.csv").write_text(first + further)
    assert launch(["contracts", "try", str(contract), "MY_FOLDER"], {"COLUMNS": "80"}).stdout == output
    Path("MY_CONTRACTS/tests/stations.yaml").write_text(tests)
    assert launch(["contracts", "check", "MY_CONTRACTS"]).stdout.endswith("1 table; 3 tests passed\n")
    shutil.copytree("MY_CONTRACTS", "OLD_CONTRACTS")
    for line in (line for block in shell_blocks(DOCS / PAGE) for line in commands(block)):
        if " infer " not in line:
            assert launch(shlex.split(line)[2:]).code == 0, line


def test_the_page_lists_every_format_of_export() -> None:
    assert {name.strip("`") for name in rows(PAGE, "format")} == set(FORMATS)
