"""Check contracts: every problem of every file in one run, and the tests next to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from google.api_core.exceptions import NotFound

from connectors.files.storage import Storage, join
from contracts.errors import ReportedError
from contracts.odcs.tables import load, shipped_files
from contracts.table import Table
from operations.contracts.examples import examples_of, outcome
from pipelines.runs.contracts import contract_texts

__all__ = ["Checked", "TestsFailed", "check_contracts"]

TESTS = "tests"


@dataclass(frozen=True, slots=True)
class Checked:
    """What was checked: the tables, how many tests of contracts passed, and what a run would note."""

    tables: Mapping[str, Table]
    tests: int


class TestsFailed(ReportedError):
    """Tests of contracts failed; one line for each."""

    @property
    def lines(self) -> list[str]:
        return str(self).split("\n")


def check_contracts(storage: Storage, places: Sequence[str]) -> Checked:
    """Check the contracts of files, folders and globs, and run their tests; no place means the shipped contracts.

    Raises ContractError with all problems of all files, UsageError for tests that are none, TestsFailed.
    """
    by_folder: dict[str, list[tuple[str, str]]] = {}
    for folder, name, text in _contracts(storage, places):
        by_folder.setdefault(folder, []).append((name, text))
    tables = load([contract for contracts in by_folder.values() for contract in contracts])
    passed, failed = 0, []
    for folder, contracts in by_folder.items():
        own = load(contracts) if len(by_folder) > 1 else tables
        for file, text in _tests(storage, folder):
            for example in examples_of(file, text, own):
                differences = list(outcome(example))
                failed += [f"{example.where}: {difference}" for difference in differences]
                passed += not differences
    if failed:
        raise TestsFailed("\n".join(" ".join(line.split()) for line in failed))
    return Checked(tables, passed)


def _contracts(storage: Storage, places: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield folder ('' for this package), name and text of each contract."""
    if not places:
        for name, text in shipped_files():
            yield "", name, text
    seen: set[str] = set()
    for place in places:
        for uri, text in contract_texts(storage, place, "contracts check"):
            folder, slash, name = uri.rpartition("/")
            if uri not in seen:
                yield folder or ("/" if slash else "."), name, text
            seen.add(uri)


def _tests(storage: Storage, folder: str) -> Iterator[tuple[str, str]]:
    """Yield file and text of the tests next to the contracts of a folder."""
    if not folder:
        listed = resources.files("contracts") / TESTS
        for entry in sorted(listed.iterdir(), key=lambda entry: entry.name):
            yield f"{TESTS}/{entry.name}", entry.read_text(encoding="utf-8")
        return
    try:
        uris = [file.uri for file in storage.list(join(folder, TESTS))]
    except NotFound:
        return
    for uri in uris:
        if uri.endswith((".yaml", ".yml")):
            yield f"{TESTS}/{uri.rsplit('/', 1)[-1]}", storage.read(uri).decode(errors="replace")
