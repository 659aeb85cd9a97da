"""The documents agree with the code: their tables are compared with it, their examples are loaded."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from textwrap import dedent

import pytest
from open_data_contract_standard.model import OpenDataContractStandard, SchemaObject, SchemaProperty
from pydantic import BaseModel

from contracts import bookkeeping
from contracts.odcs import columns as odcs_column
from contracts.odcs import tables as odcs
from contracts.odcs.documentation import tables
from contracts.odcs.forms import OWN_PROPERTIES
from contracts.odcs.options import LOGICAL, OPTIONS
from contracts.refusal import ErrorCode
from contracts.table import Table, UnknownFields, WriteDisposition

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
DOCUMENT = ("apiVersion", "id", "kind", "schema", "slaDefaultElement", "slaProperties", "version")
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
"""For each level: the standard's model, the supported keys, the keys that are accepted and ignored."""


def rows(document: str, first: str) -> dict[str, list[str]]:
    """Return the rows of the table whose first heading is `first`, by their first cell."""
    lines = (DOCS / document).read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first} |"))
    table: dict[str, list[str]] = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        _, key, *cells, _ = re.split(r"\s*\|\s*", line)
        table[key] = cells
    return table


def names(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / document).read_text(), re.DOTALL)


@pytest.mark.parametrize("level", CONSTRUCTS)
def test_contracts_lists_every_construct_of_the_standard(level: str) -> None:
    model, supported, accepted = CONSTRUCTS[level]
    keys = {field.alias or name for name, field in model.model_fields.items()}
    documented = rows("reference/contracts.md", "of")
    cells = documented[level]
    assert names(cells[0]) == set(supported)
    unread = documented["column"][1] if cells[1] == "as a column" else cells[1]
    aliases = {model.model_fields[name].alias or name for name in accepted if name in model.model_fields}
    assert names(unread) == (aliases | set(accepted)) & keys - set(supported)
    assert names(cells[2]) == keys - set(supported) - names(unread)
    assert set(documented) == set(CONSTRUCTS)


def test_contracts_lists_every_type_and_option() -> None:
    documented = rows("reference/contracts.md", "logicalType")
    assert {name.strip("`") for name in documented} == set(OPTIONS) == {*LOGICAL, "array"}
    for name, (kind, *options) in ((name.strip("`"), cells) for name, cells in documented.items()):
        assert kind == (LOGICAL[name].value if name in LOGICAL else "REPEATED")
        assert [names(cell) for cell in options] == [set(options) for options in OPTIONS[name]]


def test_contracts_lists_every_custom_property() -> None:
    documented = rows("reference/contracts.md", "property")
    assert {name.strip("`") for name in documented} == set(OWN_PROPERTIES)
    assert {each.value for each in WriteDisposition} <= names(documented["`writeDisposition`"][0])
    assert {each.value for each in UnknownFields} <= names(documented["`unknownFields`"][0])
    plain = Table("t", (), ())
    defaults = {"dataset": plain.dataset, "writeDisposition": plain.disposition.value}
    for name, default in {**defaults, "unknownFields": plain.unknown_fields.value}.items():
        assert documented[f"`{name}`"][1] == f"`{default}`"


def test_the_example_in_contracts_is_a_valid_contract() -> None:
    (example,) = blocks("reference/contracts.md", "yaml")
    table = odcs.load([("orders.odcs.yaml", example)])["orders"]
    assert (table.dataset, table.disposition) == ("sales", WriteDisposition.MERGE)
    assert [column.name for column in table.derived_columns] == ["to_pay"]


@pytest.mark.parametrize(
    "document",
    [
        "reference/values.md",
        "reference/files.md",
        "reference/quality.md",
        "reference/sla.md",
        "reference/updates.md",
        "tutorial/own-files.md",
        "tutorial/own-topic.md",
    ],
)
def test_the_example_of_a_page_is_a_valid_contract(document: str) -> None:
    examples = blocks(document, "yaml")
    assert examples
    for example in examples:
        assert odcs.load([(document, dedent(example))])


def test_tables_is_generated_from_the_contracts() -> None:
    assert (DOCS / "reference/tables.md").read_text() == tables(), (
        "python -m contracts.odcs.documentation > docs/reference/tables.md"
    )


def test_bookkeeping_is_what_the_tables_are() -> None:
    written = (DOCS / "reference" / "bookkeeping.md").read_text()
    assert written == bookkeeping.documentation(), "python -m contracts.bookkeeping > docs/reference/bookkeeping.md"


def test_dead_letters_lists_every_code() -> None:
    documented = rows("reference/dead-letters.md", "code")
    assert {name.strip("`") for name in documented} == {code.value for code in ErrorCode}
    for code in ErrorCode:
        stage, recoverable, _ = documented[f"`{code.value}`"]
        assert (stage, recoverable) == (f"`{code.stage.value}`", "yes" if code.recoverable else "no")


def test_dead_letters_lists_every_column() -> None:
    documented = rows("reference/dead-letters.md", "column")
    listed = [name for cell in documented for name in re.findall(r"`([^`]+)`", cell)]
    assert sorted(listed) == sorted(field.name for field in bookkeeping.DEAD_LETTERS.fields)


def test_emulator_lists_every_patch() -> None:
    modules = [
        ROOT / f"local/bigquery/{name}.py" for name in ("patches", "jobs", "parsing", "structs", "access", "errors")
    ]
    public = {
        name for file in modules for name in re.findall(r"^def ([a-z]\w*)\(.*-> None:$", file.read_text(), re.MULTILINE)
    }
    public -= {"apply"}
    assert {name.strip("`") for name in rows("explanation/emulator.md", "patch")} == public


def test_emulator_names_tests_that_cover_each_difference() -> None:
    for where, cells in rows("explanation/emulator.md", "where").items():
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", cells[-1])
        assert named, where
        for path, name in named:
            assert f"\ndef {name}(" in (ROOT / path).read_text(), f"{path}::{name}"


def test_emulator_lists_every_difference_that_a_cloud_test_is_marked_with() -> None:
    documented = rows("explanation/emulator.md", "where")
    for path in (ROOT / "tests" / "cloud").glob("test_*.py"):
        for where, name in re.findall(r'mark\.differs\("([^"]+)".*\n(?:@.*\n)*def (\w+)\(', path.read_text()):
            assert f"`tests/cloud/{path.name}::{name}`" in documented[where][-1]


def test_security_names_a_test_or_a_limit_for_each_attack() -> None:
    sources = {path.name: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    for attack, (_, closed, limit) in rows("explanation/security.md", "id").items():
        named = re.findall(r"`(test_\w+\.py)::(\w+)`", closed)
        assert named or len(limit) > 1, attack
        for file, name in named:
            assert f"\ndef {name}(" in sources.get(file, ""), f"{file}::{name}"


@pytest.mark.parametrize("document", [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))], ids=lambda path: path.name)
def test_linked_and_named_files_exist(document: Path) -> None:
    text = document.read_text()
    for target in re.findall(r"\]\((?!https?://)([^)#]+)[^)]*\)", text):
        assert (document.parent / target).exists(), target
    for name in re.findall(
        r"\b((?:tests|local|contracts|connectors|transforms|pipelines|operations|docs)/[\w/]+\.\w+)", text
    ):
        assert (ROOT / name).exists(), name
