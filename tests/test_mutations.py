"""The mutations of CONTRIBUTING.md fit the code: each line and each test that the table names exists."""

from __future__ import annotations

import pytest

from tests.mutations import ROOT, Mutation, mutations

STEPS = 8


def test_every_row_of_the_table_is_read() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    section = text.partition("## Mutations")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    assert len(mutations()) == len(rows) - 2 >= STEPS


@pytest.mark.parametrize("mutation", mutations(), ids=lambda mutation: mutation.path)
def test_a_mutation_fits_the_code(mutation: Mutation) -> None:
    before = mutation.file.read_text()
    changed = mutation.apply(before)
    assert changed != before
    compile(changed, mutation.path, "exec")
    path, _, name = mutation.test.partition("::")
    assert f"\ndef {name}(" in (ROOT / path).read_text()
