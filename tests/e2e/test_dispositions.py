"""What a second run makes of keys that are there already, and of a contract with a new column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from connectors.storage import Storage
from pipelines.options import OperationsOptions
from pipelines.preflight import prepare
from tests.e2e.clouds import Cloud
from tests.e2e.offers import ADDED, FIRST, SECOND, contract, doors, put

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def runs(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The summaries of two runs; the second one's contract has a column more. The contracts are in the bucket."""
    folder, storage = tmp_path_factory.mktemp("runs"), Storage("local-project")
    storage.client.create_bucket("offers")
    found = []
    for name, records, added in (("first", FIRST, ""), ("second", SECOND, ADDED)):
        storage.write(f"gs://offers/contracts/offers_{name}.odcs.yaml", contract(added).encode())
        where = f"--contracts=gs://offers/contracts/*_{name}.odcs.yaml"
        found.append(cloud.batch(put(folder / name, records), where, f"--run_id={name}"))
    return found


def rows(cloud: Cloud, disposition: str) -> dict[str, dict[str, Any]]:
    found = cloud.rows(f"SELECT * FROM offers.offers_{disposition}")
    assert len({row["offer_id"] for row in found}) == len(found)
    return {row["offer_id"]: row for row in found}


@pytest.mark.parametrize(
    ("disposition", "ledger", "by_run"),
    [
        ("append", (3, 1, 2, 0), {"1": "first", "2": "first", "3": "first", "4": "second"}),
        ("merge", (3, 3, 0, 0), {"1": "first", "2": "second", "3": "second", "4": "second"}),
        ("replace", (3, 3, 0, 0), {"2": "second", "3": "second", "4": "second"}),
    ],
)
def test_a_second_run(
    disposition: str, ledger: tuple[int, ...], by_run: dict[str, str], cloud: Cloud, runs: list[dict[str, Any]]
) -> None:
    assert doors(runs[0], disposition) == (3, 3, 0, 0)
    assert doors(runs[1], disposition) == ledger
    found = rows(cloud, disposition)
    assert {key: row["_run_id"] for key, row in found.items()} == by_run
    assert found["3"]["tags"] == ([] if disposition == "append" else ["c"])
    # The added column is nullable in the table, since older rows have no value in it.
    assert {key: row["origin"] for key, row in found.items()} == {
        key: "b" if run == "second" else None for key, run in by_run.items()
    }
    assert found["2"]["_extra"] == {"other": {"x": [1, 2.5]}}


def test_a_row_that_differs_in_nothing_is_a_duplicate(cloud: Cloud, runs: list[dict[str, Any]], tmp_path: Path) -> None:
    before = rows(cloud, "merge")
    again = cloud.batch(
        put(tmp_path / "raw", SECOND), "--contracts=gs://offers/contracts/offers_second.odcs.yaml",
        "--tables=offers_merge", "--run_id=third",
    )  # fmt: skip
    assert doors(again, "merge") == (3, 0, 3, 0)
    assert rows(cloud, "merge") == before


def test_a_run_that_another_has_overtaken_is_refused(cloud: Cloud, runs: list[dict[str, Any]], tmp_path: Path) -> None:
    contracts = "--contracts=gs://offers/contracts/*_second.odcs.yaml"
    late, early = put(tmp_path / "late", [{**SECOND[2], "price": 7}]), put(tmp_path / "early", [SECOND[2]])
    begun = [contracts, f"--input={early}", "--tables=offers_merge", "--run_id=early", "--local"]
    prepare(PipelineOptions(begun).view_as(OperationsOptions), "local-project", print)  # and is interrupted here
    assert doors(cloud.batch(late, contracts, "--tables=offers_merge", "--run_id=late"), "merge") == (1, 1, 0, 0)
    found = cloud.batch(early, contracts, "--tables=offers_merge", "--run_id=early", code=2)
    assert (found["state"], doors(found, "merge")) == ("refused", (1, 0, 0, 0))
    assert "run late has written offers.offers_merge since this run began" in found["why"]
    assert rows(cloud, "merge")["4"]["price"] == 7
