"""Every command of docs/how-to/deploy is run by a test, or is marked as not run here."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.airflow import airflows
from tests.deploy_docs import DEPLOY, run_here

ROOT = Path(__file__).parents[1]


def runs(source: str) -> Iterator[tuple[str, str]]:
    """Yield each test of a module that runs a document, and the document."""
    for function in ast.parse(source).body:
        if isinstance(function, ast.FunctionDef) and function.name.startswith("test_"):
            for node in ast.walk(function):
                match node:
                    case ast.Call(func=ast.Name(id="run_here"), args=[ast.Constant(value=str(name))]):
                        yield function.name, name


def test_every_document_with_a_command_that_is_not_marked_has_a_test_that_runs_it() -> None:
    tested = {name for path in (ROOT / "tests").rglob("test_*.py") for _, name in runs(path.read_text())}
    assert tested == {path.name for path in DEPLOY.glob("*.md") if run_here(path.name)}


@pytest.mark.parametrize("fence", ["```", "```sh", "   ```bash", "```console"])
def test_a_new_command_is_noticed(tmp_path: Path, fence: str) -> None:
    closing = fence.rstrip("abcdefghijklmnopqrstuvwxyz")
    text = f"# In a new place\n\n{fence}\n# as root\nmake \\\n    new\n\nmake old\n{closing}\n"
    text += "```yaml\nmake: nothing\n```\n```sh\n# not run here\nmake money\n```\n"
    (tmp_path / "new.md").write_text(text)
    assert run_here("new.md", tmp_path) == ["make new", "make old"]


def test_a_test_that_runs_a_document_is_found() -> None:
    source = "def test_one(x):\n    for line in run_here('a.md'):\n        pass\ndef other():\n    run_here('b.md')\n"
    assert list(runs(source)) == [("test_one", "a.md")]


def recipe(target: str) -> tuple[list[str], list[str]]:
    """Return the prerequisites of a Makefile target and the lines that it runs."""
    rule = re.search(rf"^{target}:([^#\n]*).*\n((?:\t.*\n)*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert rule
    return rule[1].split(), [line.strip().removeprefix("@") for line in rule[2].splitlines()]


def test_make_airflow_is_the_command_that_the_tests_of_the_dags_start() -> None:
    # The tests use an existing interpreter and their own folders.
    assert run_here("airflow.md") == ["make airflow"]
    assert recipe("airflow") == (["airflow-install"], [f"$(BIN)/python {' '.join(airflows.COMMAND)}"])
    assert recipe("airflow-install") == (["install"], ["tools/install_airflow.sh $(BIN)/python"])
