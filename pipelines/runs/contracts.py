"""The contracts that a run works under."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping

from google.api_core.exceptions import NotFound

from connectors.files.readers import ReadFailed
from connectors.files.storage import FileChanged, Storage
from contracts.errors import UsageError
from contracts.odcs.tables import load, shipped
from contracts.table import Table

__all__ = ["check_table", "contract_texts", "load_contracts"]

ANY_CONTRACT = "*.odcs.y*ml"
"""The files of a folder that are contracts: .odcs.yaml and .odcs.yml."""


def load_contracts(storage: Storage, where: str | None) -> dict[str, Table]:
    """Return the tables of a folder, a glob or one file of contracts; None means those of this package.

    Raises UsageError if there is none, or one is not readable or not valid.
    """
    if where is None:
        return shipped()
    return load([(uri.rsplit("/", 1)[-1], text) for uri, text in contract_texts(storage, where)])


def check_table(option: str, name: str, tables: Mapping[str, Table]) -> None:
    """Raise UsageError if `name`, which an option gives, is none of the tables of the contracts."""
    if name not in tables:
        raise UsageError(f"{option}: no contract has a table {name}; there are {', '.join(sorted(tables))}")


def contract_texts(storage: Storage, where: str, option: str = "--contracts") -> list[tuple[str, str]]:
    """Return the URIs and texts of a folder, a glob or one file of contracts. Raises UsageError as `load_contracts`.

    `option` is what messages call `where`.
    """
    if "*" not in where and where.endswith((".yaml", ".yml")):
        return [(where, _text(storage, where, option))]
    folder, _, pattern = where.rpartition("/") if "*" in where else (where, "", ANY_CONTRACT)
    folder = folder or "."
    try:
        uris = [file.uri for file in storage.list(folder) if fnmatch.fnmatch(file.uri.rsplit("/", 1)[-1], pattern)]
    except NotFound:
        raise UsageError(f"{option}: there is no folder {folder}") from None
    if not uris:
        shown = "*.odcs.yaml" if pattern == ANY_CONTRACT else pattern
        raise UsageError(f"{option}: no {shown} in {folder}")
    return [(uri, _text(storage, uri, option)) for uri in uris]


def _text(storage: Storage, uri: str, option: str) -> str:
    try:
        return storage.read(uri).decode()
    except FileChanged:
        raise UsageError(f"{option}: there is no file {uri}") from None
    except ReadFailed as error:  # such as a folder with the name of a contract
        raise UsageError(f"{option}: {uri} cannot be read: {error.__cause__ or error}; name a file") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{uri.rsplit('/', 1)[-1]}: not readable: byte {error.start} is not UTF-8") from None
