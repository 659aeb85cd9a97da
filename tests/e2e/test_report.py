"""What a person sees of a batch: the report, with the warehouse's figures, and no value of a classified column."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from operations.report.window import Window
from tests.e2e.clouds import Cloud
from tests.people import CLEAN, CONTRACT, NUMBER, WORD, broken

pytestmark = pytest.mark.e2e

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"),
)
AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
"""`npm install --no-save axe-core` puts it there."""
TABLE = re.compile(r'aria-label="(?P<title>[^"]+)"[^>]*><thead>(?P<head>.*?)</thead><tbody>(?P<body>.*?)</tbody>')


CSV = f"""person_id,email,age,city
c1,{WORD}@x.com,30,Bonn
c2,{WORD},30,Bonn
c3,{WORD}@x.com,{NUMBER},Bonn
c4,{WORD}@x.com
"""
HEADLESS = f"c5,{WORD}@x.com,30,Bonn\n"


@dataclass(frozen=True)
class People:
    """A table with classified columns that a batch has loaded, with records of every door."""

    contract: Path
    raw: Path
    said: str
    """What the batch printed."""

    @property
    def contracts(self) -> str:
        """The option that names the contract."""
        return f"--contracts={self.contract}"


@pytest.fixture(scope="module")
def people(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> People:
    folder = tmp_path_factory.mktemp("people")
    (folder / "people.odcs.yaml").write_text(CONTRACT)
    raw = folder / "raw" / "people"
    raw.mkdir(parents=True)
    records = [{**CLEAN, "person_id": f"p{number % 5}"} for number in range(8)]
    records += [*broken(), {**CLEAN, "floor": "<script>alert(1)</script>"}]
    lines = [*map(json.dumps, records), f'{{"email": "{WORD}']
    (raw / "a.ndjson").write_text("\n".join(lines))
    (raw / "b.csv").write_text(CSV)
    (raw / "c.csv").write_text(HEADLESS)
    found = People(folder / "people.odcs.yaml", raw, "")
    options = ("--runner=DirectRunner", "--local", f"--input={raw.parent}", "--max_dead_letter_ratio=1")
    done = cloud.launch("batch", *options, "--keep_duplicates", found.contracts)
    return replace(found, said=done.stdout + done.stderr)


@pytest.fixture(scope="module")
def report(cloud: Cloud, people: People) -> Path:
    """The page."""
    output = people.raw.parent / "report.html"
    cloud.launch("report", f"--output={output}", "--since=24h", people.contracts, "--local")
    return output


def test_a_planted_value_is_shown_on_request_only(cloud: Cloud, people: People, report: Path) -> None:
    said = {"batch": people.said, "report": report.read_text()}

    def launch(*arguments: str) -> str:
        done = cloud.launch(*arguments)
        said[" ".join(arguments)] = done.stdout + done.stderr
        return done.stdout

    launch("contracts", "try", str(people.contract), str(people.raw), "--table=people")
    launch("contracts", "try", str(people.contract), str(people.raw / "c.csv"), "--table=people")
    listed = json.loads(launch("dead-letters", "list", people.contracts, "--local", "--limit=500", "--format=json"))
    launch("dead-letters", "list", "--local", "--limit=500")  # under the shipped contracts, which have no such table
    letter = next(each["dead_letter_id"] for each in listed if each["source"].endswith("b.csv"))
    shown = launch("dead-letters", "show", letter, people.contracts, "--local")
    launch("replay", "--dry_run", people.contracts, "--local")
    for command, text in said.items():
        for planted in (WORD, NUMBER):
            assert planted not in text, command
    assert len(listed) > 40
    assert "Bonn" in shown
    assert WORD in cloud.launch("dead-letters", "show", letter, people.contracts, "--local", "--unmasked").stdout
    stored = cloud.rows("SELECT raw, error_message FROM pipeline_operations.dead_letters")
    assert all(WORD.encode() in row["raw"] for row in stored)
    assert any(WORD in row["error_message"] for row in stored)


def cells(row: str) -> list[str]:
    return [html.unescape(re.sub(r"<[^>]+>", "", cell)) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)]


def tables(page: str) -> dict[str, list[dict[str, str]]]:
    """The tables of the page, by their label: a dictionary for each row."""
    found = {}
    for match in TABLE.finditer(page):
        head = cells(match["head"])
        rows = [cells(row) for row in re.findall(r"<tr>(.*?)</tr>", match["body"])]
        found[match["title"]] = [dict(zip(head, row, strict=True)) for row in rows]
    return found


def queried(cloud: Cloud, sql: str) -> list[dict[str, object]]:
    found = json.loads(cloud.launch("query", sql, "--format=json", "--local").stdout)
    assert isinstance(found, list)
    return found


def test_the_figures_are_those_of_the_warehouse(cloud: Cloud, report: Path) -> None:
    page = report.read_text()
    found = tables(page)
    (doors,) = queried(
        cloud,
        "SELECT SUM(`read`) AS r, SUM(written) AS w, SUM(duplicate) AS d, SUM(dead_letter) AS l"
        " FROM pipeline_operations.ledger_current WHERE kind = 'loaded'",
    )
    (of_table,) = found["Records by table"]
    assert [of_table[name] for name in ("table", "read", "written", "duplicate", "dead letter")] == [
        "ecommerce_data.people",
        *(str(doors[name]) for name in "rwdl"),
    ]
    (run,) = found["The newest runs"]
    assert [run[name] for name in ("state", "read", "written")] == ["done", str(doors["r"]), str(doors["w"])]
    letters = queried(
        cloud,
        r"SELECT error_code, IFNULL(REGEXP_REPLACE(field, r'\[[0-9]+\]', '[]'), '') AS place, COUNT(*) AS n"
        " FROM pipeline_operations.dead_letters WHERE error_code != 'duplicate' GROUP BY 1, 2",
    )
    shown = {(row["code"], row["field"]): int(row["dead letters"]) for row in found["By table, code and field"]}
    assert shown == {(row["error_code"], row["place"]): row["n"] for row in letters}
    assert sum(shown.values()) == doors["l"]
    refused = re.search(r"<code>email</code></th>.*?<td>([^<]*)</td></tr>", page)
    assert refused is not None
    assert refused[1] == ", ".join(
        f"{code} {number}"
        for (code, field), number in sorted(shown.items(), key=lambda item: (-item[1], item[0]))
        if field == "email"
    )


def test_no_markup_of_the_data_is_on_the_page(report: Path) -> None:
    page = report.read_text()
    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in page
    assert "email: *** breaks a rule of the contract: an e-mail address" in page


@pytest.mark.parametrize("days", [0.03, 1, 30, 400])
def test_bigquery_has_the_same_steps(cloud: Cloud, report: Path, days: float) -> None:
    until = datetime(2026, 5, 20, 12, 34, 56, tzinfo=UTC)
    window = Window(until - timedelta(days=days), until)
    moments = [*window.starts, window.since, until, until - timedelta(days=9_999)]
    terms = ", ".join(f"TIMESTAMP '{each:%Y-%m-%d %H:%M:%S}+00'" for each in moments)
    rows = cloud.rows(f"SELECT at, {window.truncated('at')} AS step FROM UNNEST([{terms}]) AS at")
    assert {row["at"]: row["step"] for row in rows} == {
        each: max(window.step.begin(each), window.starts[0]) for each in moments
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--operations_dataset=nowhere", "--output=/tmp/r.html"], "there is no ledger in the dataset nowhere: "),
        (["--output=/no/such/folder/r.html"], "--output: /no/such/folder/r.html cannot be written: No such file"),
    ],
)
def test_what_is_wrong_is_one_line(cloud: Cloud, report: Path, arguments: list[str], said: str) -> None:
    done = cloud.launch("report", *arguments, "--local", code=2)
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


PROBE = """<pre id="probe"></pre><script>addEventListener('load', async () => {
  const drawn = svg => svg.getBoundingClientRect().height > 50 && svg.querySelector('rect,circle');
  const found = {
    charts: [...document.querySelectorAll('figure')].map(each =>
      [...each.querySelectorAll('svg.chart')].filter(drawn).length + each.querySelectorAll('.empty').length),
    wider: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    text: getComputedStyle(document.body).color,
    axe: window.axe ? (await axe.run()).violations.map(v => v.id + ' ' + v.nodes[0].html.slice(0, 150)) : [],
  };
  document.getElementById('probe').textContent = JSON.stringify(found);
})</script></body>"""


def browse(path: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(CHROMIUM), *QUIET, f"--user-data-dir={folder / 'profile'}", *options, f"file://{path}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_browser_opens_it_without_an_error(report: Path, tmp_path: Path) -> None:
    opened = browse(report, tmp_path, "--window-size=1400,2000", f"--screenshot={tmp_path / 'page.png'}")
    assert "CONSOLE" not in opened.stderr
    assert (tmp_path / "page.png").stat().st_size > 20_000


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_every_chart_is_drawn_and_nothing_is_wider_than_the_page(report: Path, tmp_path: Path) -> None:
    """In the dark theme, with all details open; axe, if it is there, has nothing to say."""
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", report.read_text())
    axe = f"<script>{AXE.read_text()}</script>" if AXE.exists() else ""
    probed = tmp_path / "probed.html"
    probed.write_text(page.replace("<details", "<details open").replace("</body>", axe + PROBE))
    options = ("--window-size=500,2000", "--virtual-time-budget=15000", "--blink-settings=preferredColorScheme=0")
    dumped = browse(probed, tmp_path, *options, "--dump-dom").stdout
    found = json.loads(html.unescape(re.findall(r'<pre id="probe">(.*?)</pre>', dumped)[0]))
    assert found == {"charts": [1] * 8, "wider": 0, "text": "rgb(230, 233, 236)", "axe": []}
