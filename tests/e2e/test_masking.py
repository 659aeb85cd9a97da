"""Values of classified columns are planted in files; no command shows one unless it is asked to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.clouds import Cloud
from tests.people import CLEAN, CONTRACT, NUMBER, WORD, broken

pytestmark = pytest.mark.e2e

CSV = f"""person_id,email,age,city
c1,{WORD}@x.com,30,Bonn
c2,{WORD},30,Bonn
c3,{WORD}@x.com,{NUMBER},Bonn
c4,{WORD}@x.com
"""
HEADLESS = f"c5,{WORD}@x.com,30,Bonn\n"


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The contract and the folder of files."""
    folder = tmp_path_factory.mktemp("people")
    (folder / "people.odcs.yaml").write_text(CONTRACT)
    raw = folder / "raw" / "people"
    raw.mkdir(parents=True)
    records = [{**CLEAN, "person_id": f"p{number}"} for number in range(3)]
    records += [{**record, "email": record["email"]} for record in broken()]
    (raw / "a.ndjson").write_text("".join(json.dumps(record) + "\n" for record in records) + f'{{"email": "{WORD}\n')
    (raw / "b.csv").write_text(CSV)
    (raw / "c.csv").write_text(HEADLESS)
    return folder / "people.odcs.yaml", raw


def test_a_planted_value_is_shown_on_request_only(cloud: Cloud, people: tuple[Path, Path]) -> None:
    contract, raw = people
    contracts = f"--contracts={contract}"
    said = {}

    def launch(*arguments: str) -> str:
        done = cloud.launch(*arguments)
        said[" ".join(arguments)] = done.stdout + done.stderr
        return done.stdout

    launch(
        "batch",
        "--runner=DirectRunner",
        "--local",
        f"--input={raw.parent}",
        contracts,
        "--max_dead_letter_ratio=1",
        "--keep_duplicates",
    )
    launch("contracts", "try", str(contract), str(raw), "--table=people")
    launch("contracts", "try", str(contract), str(raw / "c.csv"), "--table=people")
    listed = json.loads(launch("dead-letters", "list", contracts, "--local", "--limit=500", "--format=json"))
    launch("dead-letters", "list", contracts, "--local", "--limit=500")
    letter = next(each["dead_letter_id"] for each in listed if each["source"].endswith("b.csv"))
    shown = launch("dead-letters", "show", letter, contracts, "--local")
    launch("dead-letters", "show", letter, "--local")  # under the shipped contracts, which have no such table
    launch("replay", "--dry_run", contracts, "--local")
    launch("runs", "--local")
    for command, text in said.items():
        for planted in (WORD, NUMBER):
            assert planted not in text, command
    assert len(listed) > 40
    assert "Bonn" in shown
    unmasked = cloud.launch("dead-letters", "show", letter, contracts, "--local", "--unmasked").stdout
    assert WORD in unmasked
    stored = cloud.rows("SELECT raw, error_message FROM pipeline_operations.dead_letters")
    assert all(WORD.encode() in row["raw"] for row in stored)
    assert any(WORD in row["error_message"] for row in stored)
