"""Two environments that share the operations dataset: what one has done does not count for the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.clouds import Cloud

pytestmark = pytest.mark.e2e


def test_two_datasets_with_one_ledger(cloud: Cloud, tmp_path: Path) -> None:
    header = "customer_id,email,first_name,last_name,country,signup_date,is_active\n"
    lines = "c1,a@example.com,A,B,DE,2026-01-02,true\nbroken,,,,,,\n"
    (tmp_path / "customers.csv").write_text(header + lines)
    counts = []
    for dataset in ("dev", "prod"):
        summary = cloud.batch(tmp_path, f"--dataset={dataset}", f"--run_id={dataset}", "--only_new")
        counts.append(summary["tables"]["customers"])
        rows = cloud.rows(f"SELECT COUNT(*) AS n FROM {dataset}.customers")
        assert [row["n"] for row in rows] == [summary["tables"]["customers"]["written"]]
    assert counts[0] == counts[1]
    assert counts[0]["written"] + counts[0]["dead_letter"] == 2
    letters = cloud.rows("SELECT COUNT(*) AS n FROM pipeline_operations.dead_letters")
    assert letters == [{"n": 2 * counts[0]["dead_letter"]}]
    done = cloud.launch(
        "batch", "--runner=DirectRunner", "--local", f"--input={tmp_path}", "--dataset=prod", "--run_id=dev", code=2
    )
    assert "--run_id: run dev has written dataset dev; give a new name" in done.stderr
