"""Into real BigQuery as users do it: a batch, another over what it has written, and a stream that is killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from connectors.files.storage import join
from local import services
from local.engines import engines
from tests import oracle
from tests.cloud.places import Place
from tests.e2e.offers import ADDED, FIRST, SECOND, contract, doors, put
from tests.e2e.streams import StreamSite

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(1800)]
SIZES = ("--customers=50", "--products=20", "--transactions=300", "--events=500", "--dirty=0.1")


def test_a_batch(place: Place, tmp_path: Path) -> None:
    data, operations = place.datasets("batch")
    raw, here = join(place.folder, "raw"), tmp_path / "raw"
    for folder in (raw, str(here)):  # the same seed makes the same files
        place.launch("generate", f"--output={folder}", *SIZES)
    arguments = ("--max_dead_letter_ratio=1", place.run_option("first"))
    summary = place.batch("batch", raw, *arguments)
    assert summary["state"] == "done"
    for name, table in oracle.expected(here).items():
        counts = {door: summary["tables"][name][door] for door in ("read", "written", "duplicate", "dead_letter")}
        refused = sum(table.by_code.values())
        expected = {
            "read": table.read,
            "written": len(table.rows),
            "duplicate": table.duplicate,
            "dead_letter": refused,
        }
        assert counts == expected
        key = oracle.TABLES[name].key
        stored = place.warehouse.query(f"SELECT * FROM `{data}`.`{name}`")
        found = {row[key]: {column: value for column, value in row.items() if column[0] != "_"} for row in stored}
        assert len(found) == len(stored)
        assert found == table.rows
        codes = place.warehouse.query(
            f"SELECT error_code AS code, COUNT(*) AS n FROM `{operations}`.dead_letters WHERE `table` = @name"
            " GROUP BY 1",
            name=name,
        )
        assert {row["code"]: row["n"] for row in codes} == dict(table.by_code)
    # The same run again does nothing, another one finds that all is there.
    assert place.batch("batch", raw, *arguments)["tables"] == summary["tables"]
    second = place.batch("batch", raw, "--max_dead_letter_ratio=1", place.run_option("second"))
    assert {name: table["written"] for name, table in second["tables"].items()} == dict.fromkeys(oracle.TABLES, 0)
    left = [name for name in place.warehouse.tables(operations, "") if name.startswith("staging_")]
    assert left == []


def test_write_dispositions_with_nested_and_unknown_fields(place: Place, tmp_path: Path) -> None:
    data, _ = place.datasets("offers")
    summaries: list[dict[str, Any]] = []
    for name, records, added in (("first", FIRST, ""), ("second", SECOND, ADDED)):
        (tmp_path / f"{name}.odcs.yaml").write_text(contract(added))
        where = f"--contracts={tmp_path / name}.odcs.yaml"
        summaries.append(place.batch("offers", put(tmp_path / name, records), where, place.run_option(name)))
    expected = {
        "append": ((3, 1, 2, 0), {"1": "first", "2": "first", "3": "first", "4": "second"}),
        "merge": ((3, 3, 0, 0), {"1": "first", "2": "second", "3": "second", "4": "second"}),
        "replace": ((3, 3, 0, 0), {"2": "second", "3": "second", "4": "second"}),
    }
    for disposition, (ledger, by_run) in expected.items():
        assert doors(summaries[0], disposition) == (3, 3, 0, 0)
        assert doors(summaries[1], disposition) == ledger
        rows = place.warehouse.query(f"SELECT * FROM `{data}`.offers_{disposition}")
        found = {row["offer_id"]: row for row in rows}
        assert {key: row["_run_id"].removeprefix(f"{place.name}_") for key, row in found.items()} == by_run
        assert found["2"]["tags"] == ["a", "b"]
        assert found["2"]["seller"] == {"city": "Bonn"}
        assert found["2"]["_extra"] == {"other": {"x": [1, 2.5]}}
    # A row that differs in nothing is not written again.
    where = f"--contracts={tmp_path / 'second'}.odcs.yaml"
    third = place.batch("offers", tmp_path / "second", where, "--tables=offers_merge", place.run_option("third"))
    assert doors(third, "merge") == (3, 0, 3, 0)


def test_a_stream_that_is_killed(place: Place, tmp_path: Path) -> None:
    data, _ = place.datasets("stream")
    with services.running(tmp_path, ["kafka"]) as endpoints, engines("PrismRunner") as options:
        stream = StreamSite(
            tmp_path,
            endpoints,
            data,
            engines=options,
            warehouse=place.warehouse,
            environment={"GOOGLE_CLOUD_PROJECT": place.project},
        )
        feed = stream.feed()
        feed.send(3_000)
        start = stream.start()
        assert stream.written_by(start, 600) > 0
        start.kill()
        feed.send(500)
        summary = stream.start("--stop_when_idle=5").finish(900)
        stream.check(feed)
    assert summary["state"] == "done"
    counts = summary["tables"]["user_events_streaming"]
    assert counts["read"] == counts["written"] + counts["duplicate"] + counts["dead_letter"]
