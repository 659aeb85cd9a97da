"""Every command of a document is run by a test, or is marked as not run here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.deploy_docs import DEPLOY, NOT_RUN, commands, shell_blocks
from tests.e2e.test_printed_commands import PRINTED

ROOT = Path(__file__).parents[1]
PAGES = [path for path in sorted((ROOT / "docs").rglob("*.md")) if path.parent not in (DEPLOY, ROOT / "docs/tutorial")]
"""Those whose commands are not run as a whole: tests/test_deploy_docs.py has the others."""
RUN_BY = {
    "python3 launcher.py stream status --local": "tests/e2e/test_flink_cluster.py",
    "python3 launcher.py dead-letters show ID --local": "tests/e2e/test_letters_command.py",
    "python3 launcher.py contracts infer --topic bike-events --local": "tests/e2e/test_contract_topics.py",
    "python3 launcher.py stream --runner PrismRunner --local --contracts MY_CONTRACTS --topic stock=stock": (
        "tests/e2e/test_updates.py"
    ),
}
"""Commands that other tests run, with other names."""
RUN_AS_A_WHOLE = {"write-a-contract.md": "tests/operations/test_contract_page.py"}


def run_here(page: Path) -> list[str]:
    blocks = [block for block in shell_blocks(page) if block.splitlines()[:1] != [NOT_RUN]]
    return [re.sub(r" +#.*", "", re.sub(r" {2,}", " ", line)) for block in blocks for line in commands(block)]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_a_command_of_a_page_is_one_that_a_test_runs(page: Path) -> None:
    found = run_here(page)
    if page.name in RUN_AS_A_WHOLE:
        assert f"how-to/{page.name}" in (ROOT / RUN_AS_A_WHOLE[page.name]).read_text()
        found = [line for line in found if " --topic " in line]
    for line in found:
        assert line in PRINTED or line in RUN_BY or line.startswith("make "), line


def test_the_tests_that_run_other_commands_exist() -> None:
    lines = [line for page in PAGES for line in run_here(page)]
    for line, path in RUN_BY.items():
        assert line in lines
        assert (ROOT / path).is_file()
