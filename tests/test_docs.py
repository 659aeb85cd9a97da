"""The documents say what the code does: their tables are compared with it, their examples are read."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import pytest
from open_data_contract_standard.model import OpenDataContractStandard, SchemaObject, SchemaProperty
from pydantic import BaseModel

from connectors.ledger_table import dead_letters_spec
from contracts import odcs, odcs_column
from contracts.documentation import tables
from contracts.odcs_options import LOGICAL, OPTIONS
from contracts.refusal import ErrorCode
from contracts.table import Table, UnknownFields, WriteDisposition

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
DOCUMENT = ("apiVersion", "id", "kind", "schema", "version")
CONSTRUCTS: dict[str, tuple[type[BaseModel], Collection[str], Collection[str]]] = {
    "document": (OpenDataContractStandard, DOCUMENT, OpenDataContractStandard.model_fields),
    "table": (SchemaObject, odcs.TABLE_SUPPORTED, odcs.TABLE_INFORMATIONAL),
    "column": (
        SchemaProperty,
        (*odcs_column.VALUE, *odcs_column.FIELD, *odcs_column.TABLE_COLUMN),
        odcs_column.INFORMATIONAL,
    ),
    "field of an object": (SchemaProperty, (*odcs_column.VALUE, *odcs_column.FIELD), odcs_column.INFORMATIONAL),
    "items of an array": (SchemaProperty, (*odcs_column.VALUE, *odcs_column.ITEM), odcs_column.INFORMATIONAL),
}
"""Of each level the standard's keys, those that are supported, those that are accepted unread."""


def rows(document: str, first: str) -> dict[str, list[str]]:
    """The rows of the table whose first heading is `first`, by their first cell."""
    lines = (DOCS / document).read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first} |"))
    found: dict[str, list[str]] = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        _, key, *cells, _ = re.split(r"\s*\|\s*", line)
        found[key] = cells
    return found


def names(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / document).read_text(), re.DOTALL)


@pytest.mark.parametrize("level", CONSTRUCTS)
def test_contracts_lists_every_construct_of_the_standard(level: str) -> None:
    model, supported, accepted = CONSTRUCTS[level]
    keys = {field.alias or name for name, field in model.model_fields.items()}
    documented = rows("contracts.md", "of")
    found = documented[level]
    assert names(found[0]) == set(supported)
    unread = documented["column"][1] if found[1] == "as a column" else found[1]
    aliases = {model.model_fields[name].alias or name for name in accepted if name in model.model_fields}
    assert names(unread) == (aliases | set(accepted)) & keys - set(supported)
    assert names(found[2]) == keys - set(supported) - names(unread)
    assert set(documented) == set(CONSTRUCTS)


def test_contracts_lists_every_type_and_option() -> None:
    documented = rows("contracts.md", "logicalType")
    assert {name.strip("`") for name in documented} == set(OPTIONS) == {*LOGICAL, "array"}
    for name, (kind, *options) in ((name.strip("`"), cells) for name, cells in documented.items()):
        assert kind == (LOGICAL[name].value if name in LOGICAL else "REPEATED")
        assert [names(cell) for cell in options] == [set(found) for found in OPTIONS[name]]


def test_contracts_lists_every_custom_property() -> None:
    documented = rows("contracts.md", "property")
    assert {name.strip("`") for name in documented} == {*odcs.TABLE_PROPERTIES, "source"}
    assert {each.value for each in WriteDisposition} <= names(documented["`writeDisposition`"][0])
    assert {each.value for each in UnknownFields} <= names(documented["`unknownFields`"][0])
    plain = Table("t", (), ())
    defaults = {"dataset": plain.dataset, "writeDisposition": plain.disposition.value}
    for name, default in {**defaults, "unknownFields": plain.unknown_fields.value}.items():
        assert documented[f"`{name}`"][1] == f"`{default}`"


def test_the_example_of_contracts_is_a_contract() -> None:
    (example,) = blocks("contracts.md", "yaml")
    table = odcs.load([("orders.odcs.yaml", example)])["orders"]
    assert (table.dataset, table.disposition) == ("sales", WriteDisposition.MERGE)
    assert [column.name for column in table.derived_columns] == ["to_pay"]


def test_tables_is_what_the_contracts_say() -> None:
    assert (DOCS / "tables.md").read_text() == tables(), "python -m contracts.documentation > docs/tables.md"


def test_dead_letters_lists_every_code() -> None:
    documented = rows("dead-letters.md", "code")
    assert {name.strip("`") for name in documented} == {code.value for code in ErrorCode}
    for code in ErrorCode:
        stage, recoverable, _ = documented[f"`{code.value}`"]
        assert (stage, recoverable) == (f"`{code.stage.value}`", "yes" if code.recoverable else "no")


def test_dead_letters_lists_every_column() -> None:
    documented = rows("dead-letters.md", "column")
    listed = [name for cell in documented for name in re.findall(r"`([^`]+)`", cell)]
    assert sorted(listed) == sorted(field.name for field in dead_letters_spec("d").schema)


def test_emulator_lists_every_mend() -> None:
    source = (ROOT / "local/bigquery_mends.py").read_text()
    public = set(re.findall(r"^def ([a-z]\w*)\(", source, re.MULTILINE)) - {"apply"}
    assert {name.strip("`") for name in rows("emulator.md", "mend")} == public


def test_emulator_names_tests_that_stand_in_for_each_difference() -> None:
    for where, cells in rows("emulator.md", "where").items():
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", cells[-1])
        assert named, where
        for path, name in named:
            assert f"\ndef {name}(" in (ROOT / path).read_text(), f"{path}::{name}"


def test_emulator_lists_every_difference_that_a_cloud_test_is_marked_with() -> None:
    documented = rows("emulator.md", "where")
    for path in (ROOT / "tests" / "cloud").glob("test_*.py"):
        for where, name in re.findall(r'mark\.differs\("([^"]+)".*\n(?:@.*\n)*def (\w+)\(', path.read_text()):
            assert f"`tests/cloud/{path.name}::{name}`" in documented[where][-1]


@pytest.mark.parametrize("document", [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))], ids=lambda path: path.name)
def test_links_lead_to_files_and_files_named_are_there(document: Path) -> None:
    text = document.read_text()
    for target in re.findall(r"\]\((?!https?://)([^)#]+)[^)]*\)", text):
        assert (document.parent / target).exists(), target
    for name in re.findall(
        r"\b((?:tests|local|contracts|connectors|transforms|pipelines|operations|docs)/[\w/]+\.\w+)", text
    ):
        assert (ROOT / name).exists(), name
