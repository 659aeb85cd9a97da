"""The contracts that a run works under."""

from __future__ import annotations

import fnmatch

from google.api_core.exceptions import NotFound

from connectors.files.storage import FileChanged, Storage
from contracts.errors import UsageError
from contracts.odcs.tables import load, shipped
from contracts.table import Table

__all__ = ["load_contracts"]

ANY_CONTRACT = "*.odcs.y*ml"
"""The files of a folder that are contracts: .odcs.yaml and .odcs.yml."""


def load_contracts(storage: Storage, where: str | None) -> dict[str, Table]:
    """Return the tables of a folder, a glob or one file of contracts; None means those of this package.

    Raises UsageError if there is none, or one is not readable or not valid.
    """
    if where is None:
        return shipped()
    if "*" not in where and where.endswith((".yaml", ".yml")):
        return load([_contract(storage, where)])
    folder, _, pattern = where.rpartition("/") if "*" in where else (where, "", ANY_CONTRACT)
    folder = folder or "."
    try:
        uris = [file.uri for file in storage.list(folder) if fnmatch.fnmatch(file.uri.rsplit("/", 1)[-1], pattern)]
    except NotFound:
        raise UsageError(f"--contracts: there is no folder {folder}") from None
    if not uris:
        shown = "*.odcs.yaml" if pattern == ANY_CONTRACT else pattern
        raise UsageError(f"--contracts: no {shown} in {folder}")
    return load([_contract(storage, uri) for uri in uris])


def _contract(storage: Storage, uri: str) -> tuple[str, str]:
    """Return a contract's file name and text."""
    name = uri.rsplit("/", 1)[-1]
    try:
        return name, storage.read(uri).decode()
    except FileChanged:
        raise UsageError(f"--contracts: there is no file {uri}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{name}: not readable: byte {error.start} is not UTF-8") from None
