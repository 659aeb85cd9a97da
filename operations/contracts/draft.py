"""A draft as YAML: what the contract says, with its evidence as comments."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from console.printable import printable
from operations.contracts.fields import Field

__all__ = ["DraftTable", "contract_text"]

PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./+-]*( [A-Za-z0-9_./+-]+)*")


class DraftTable:
    """A table of the draft: its head as a property mapping, its remarks, and its fields."""

    def __init__(
        self, name: str, properties: Mapping[str, Any], remarks: Sequence[str], fields: Sequence[Field]
    ) -> None:
        self.name = name
        self.properties = dict(properties)
        self.remarks = list(remarks)
        self.fields = list(fields)


def contract_text(name: str, remarks: Sequence[str], tables: Sequence[DraftTable]) -> str:
    """Return the contract of the tables."""
    lines = [f"# {printable(remark)}" for remark in remarks]
    lines += [
        "apiVersion: v3.1.0",
        "kind: DataContract",
        f"id: {_scalar(name)}",
        "version: 0.1.0",
        "status: draft",
        "schema:",
    ]
    for table in tables:
        lines += [f"  # {printable(remark)}" for remark in table.remarks]
        lines.append(f"  - name: {_scalar(table.name)}")
        if table.properties:
            lines.append("    customProperties:")
            lines += [
                f"      - {{property: {name}, value: {_flow(value)}}}" for name, value in table.properties.items()
            ]
        lines.append("    properties:")
        lines += [f"      {line}" for each in table.fields for line in _field(each)]
    return "\n".join(lines) + "\n"


def _field(made: Field) -> Iterator[str]:
    """Yield the lines of a property, an entry of a list."""
    for remark in made.evidence:
        yield f"# {printable(remark)}"
    first = True
    for key, value in made.definition.items():
        begin = "- " if first else "  "
        first = False
        if key == "items":
            yield f"{begin}items:"
            for inner, given in value.items():
                yield f"    {inner}: {_flow(given)}"
            if made.fields:
                yield "    properties:"
                for each in made.fields:
                    yield from (f"      {line}" for line in _field(each))
        else:
            yield f"{begin}{key}: {_flow(value)}"
    if made.fields and "items" not in made.definition:
        yield "  properties:"
        for each in made.fields:
            yield from (f"    {line}" for line in _field(each))


def _flow(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(value)


def _scalar(value: object) -> str:
    """Return a value as YAML that is read as the same value."""
    if not isinstance(value, str):
        return json.dumps(value)
    if PLAIN.fullmatch(value) and yaml.safe_load(value) == value:
        return value
    return "".join(_escaped(character) for character in json.dumps(value, ensure_ascii=False))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    return f"\\u{ord(character):04x}" if character < "\U00010000" else f"\\U{ord(character):08x}"
