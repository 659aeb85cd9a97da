"""Every command that README, `--help` and the demo print, typed as it is printed, by a newcomer, on one local cloud.

The first is a newcomer's first: nothing is named, nothing runs, there is no data. Whatever `python3` is, it lacks the
packages.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from commands.default_place import LOCAL_BY_DEFAULT, VARIABLES
from launcher import COMMANDS, main
from tests import launching
from tests.e2e.clouds import ROOT
from tests.printed_commands import printed, run_order, stream_helps

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

RUN_ELSEWHERE = {"python3 launcher.py demo": "tests/e2e/test_batch.py"}
"""Commands that another test runs."""
LAST = "python3 launcher.py local down"
FIRST = ["make install", "make demo"]
NO_PLACE = ["python3 launcher.py batch --runner DirectRunner", "python3 launcher.py stream --runner PrismRunner"]
"""Commands without an option that names a place."""


def helps() -> Iterator[str]:
    """What every `--help` prints."""
    for arguments in [*([name, "--help"] for name in COMMANDS), *stream_helps()]:
        text = io.StringIO()
        with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
            main(arguments)
        assert text.getvalue().startswith("usage: ")
        yield text.getvalue()


PRINTED = printed(helps())


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkout of which only .local is its own, with the files that the documents ask for."""
    folder = tmp_path_factory.mktemp("checkout")
    for path in ROOT.iterdir():
        if path.name not in (".git", ".local", ".airflow"):
            (folder / path.name).symlink_to(path)
    (folder / "MY_FOLDER").mkdir()
    (folder / "MY_FOLDER" / "orders.csv").write_text(of_tutorial("own-files.md", "csv"))
    (folder / "MY_FOLDER" / "a\x1b]0;title\x07\nerror: forged.csv").write_text("nobody's\n")
    (folder / "rides.ndjson").write_text(of_tutorial("own-topic.md", "json"))
    (folder / "OLD_CONTRACTS").mkdir()
    (folder / "OLD_CONTRACTS" / "orders.odcs.yaml").write_text(of_tutorial("own-files.md", "yaml"))
    (folder / "OLD_CONTRACTS" / "rides.odcs.yaml").write_text(of_tutorial("own-topic.md", "yaml"))
    shutil.copytree(folder / "OLD_CONTRACTS", folder / "MY_CONTRACTS")
    (folder / "bin").mkdir()
    python = folder / "bin" / "python3"
    python.write_text(f'#!/bin/sh\nexec {os.path.realpath(sys.executable)} -S "$@"\n')
    python.chmod(0o755)
    yield folder
    subprocess.run(plain(folder, LAST), cwd=folder, env=environment(folder), check=True, timeout=120)


def of_tutorial(name: str, language: str) -> str:
    """Return the only block of a language in a tutorial: its data or its contract."""
    (block,) = re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs/tutorial" / name).read_text(), re.DOTALL)
    return dedent(block)


def environment(folder: Path) -> dict[str, str]:
    """A plain shell's."""
    kept = {name: value for name, value in os.environ.items() if name not in (*VARIABLES, "VIRTUAL_ENV")}
    return {**kept, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "COLUMNS": "80"}


def plain(folder: Path, command: str) -> list[str]:
    """The command as a shell is given it, in the shell's place: signals reach what it runs."""
    return ["bash", "-c", f"exec {command}"]


def typed(folder: Path, command: str) -> subprocess.Popen[str]:
    """The command in a shell, by the `python3` that lacks the packages."""
    return subprocess.Popen(
        plain(folder, command),
        cwd=folder,
        env=environment(folder),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def forked(folder: Path, command: str) -> launching.Launched:
    """The command by the launcher that is imported already, with the words that a shell makes of the line."""
    words = subprocess.check_output(["bash", "-c", f"printf '%s\\0' {command}"], cwd=folder, text=True)
    python, program, *arguments = words.split("\0")[:-1]
    assert (python, program) == ("python3", "launcher.py")
    return launching.start(arguments, environment(folder), folder)


def test_readme_begins_with_the_two_commands_and_every_make_target_is_there() -> None:
    assert PRINTED[: len(FIRST)] == FIRST
    makefile = (ROOT / "Makefile").read_text()
    for line in PRINTED:
        if line.startswith("make "):
            assert f"\n{line.split()[1]}: " in makefile, line
    for line, path in RUN_ELSEWHERE.items():
        assert line in PRINTED
        assert '.launch("demo")' in (ROOT / path).read_text()


def test_what_the_demo_prints_last_fits_a_terminal() -> None:
    from operations.demo import next_steps

    assert max(map(len, next_steps("--local"))) <= 80


@pytest.mark.parametrize("command", [line for line in run_order(PRINTED) if line not in (*RUN_ELSEWHERE, LAST)])
def test_a_printed_command_works_as_printed(checkout: Path, command: str) -> None:
    if draft := re.search(r"contracts infer .* --output (\S+)", command):
        (checkout / draft[1]).unlink(missing_ok=True)  # infer writes over no file
    if "contracts diff" in command:  # of the drafts that the commands before have made
        shutil.rmtree(checkout / "OLD_CONTRACTS")
        shutil.copytree(checkout / "MY_CONTRACTS", checkout / "OLD_CONTRACTS")
    until_stopped = " --serve " in command or (" stream " in command and "--stop_when_idle" not in command)
    process = typed(checkout, command) if command in NO_PLACE else forked(checkout, command)
    said = ""
    if until_stopped:
        assert process.stderr is not None
        for line in process.stderr:
            said += line
            if re.search(r", written [1-9]|^serving the report at ", line):
                process.send_signal(signal.SIGINT)
                break
    out, err = process.communicate(timeout=240)
    said += err
    assert process.returncode == 0, out + said
    assert "Traceback" not in said
    assert "\x1b" not in out + said
    assert "error: " not in [line[:7] for line in said.splitlines()]
    if command in NO_PLACE:
        assert said.splitlines()[0] == LOCAL_BY_DEFAULT
        assert re.search(r"\nno (raw files|topic user-events).* made .*dirty on purpose\n", said)
        written = {"batch": r"transactions +10,000 +9,7", "stream": r"user_events_streaming +\d+,\d+ +10,000"}
        assert re.search(written[command.split()[2]], out), out
    for table, key in {"FROM sales.orders": "o1", "FROM bikes.rides": "r1"}.items():
        assert key in out or table not in command


def test_the_first_command_again_makes_no_data(checkout: Path) -> None:
    done = subprocess.run(
        plain(checkout, f"{NO_PLACE[0]} --only_new"),
        cwd=checkout,
        env=environment(checkout),
        text=True,
        capture_output=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "sample data" not in done.stderr


@pytest.mark.parametrize("given", [["--input="], ["--input", ""], ["--project="], ["--location", ""]])
def test_an_empty_value_is_no_reason_to_run_here(
    given: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert main(["batch", "--runner", "DirectRunner", *given]) == 2
    said = "error: --project, --location, --input, --processed, --dead_letters are missing"
    assert capsys.readouterr().err.startswith(said)


MISSING = {
    "SELECT * FROM nowhere.t": "there is no dataset nowhere; there are bikes, ecommerce_data, ",
    "SELECT * FROM ecommerce_dat.customers": "no dataset ecommerce_dat (did you mean ecommerce_data?); there are ",
    "SELECT * FROM ecommerce_data.custmers": "table ecommerce_data.custmers (did you mean ecommerce_data.customers?)",
    "SELECT * FROM customers": "name the dataset of customers too (did you mean ecommerce_data.customers?)",
    "SELECT custmer_id FROM ecommerce_data.customers": 'column "custmer_id" not found',
    "SELEC 1": 'Unexpected identifier "SELEC" at [1:7]',
    "SELECT CAST('x' AS INT64)": "Could not convert string 'x'",
}


@pytest.mark.parametrize("sql", MISSING)
def test_what_bigquery_refuses_is_one_line_that_says_what_there_is(checkout: Path, sql: str) -> None:
    done = launching.run(["query", sql, "--local"], environment(checkout), checkout)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: query: ")
    assert done.stderr.count("\n") == 1
    assert MISSING[sql] in done.stderr
    for noise in ("Job ID", "Location", "reason:", "LINE 1", "__ecommerce_data", "http://"):
        assert noise not in done.stderr


@pytest.mark.parametrize(("rows", "form", "lines"), [(250, "table", 100), (250, "csv", 250), (100, "table", 100)])
def test_a_table_has_the_first_rows_and_a_program_gets_all(checkout: Path, rows: int, form: str, lines: int) -> None:
    sql = f"SELECT CONCAT('row ', n) AS a FROM UNNEST(GENERATE_ARRAY(1, {rows})) AS n"
    done = launching.run(["query", sql, "--format", form, "--local"], environment(checkout), checkout)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"\brow \d", done.stdout)) == lines
    said = "the first 100 of 250 rows; --format csv or json has all of them"
    assert (said in done.stdout) == (lines < rows)


def test_the_local_cloud_is_stopped(checkout: Path) -> None:
    assert LAST in PRINTED
    done = subprocess.run(
        plain(checkout, LAST),
        cwd=checkout,
        env=environment(checkout),
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.match(r"stopped .*bigquery.*kafka", done.stderr)
