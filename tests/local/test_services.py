"""Services start once, stop when they should, and leave neither a process nor a loss behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from google.api_core.exceptions import NotFound
from google.cloud import bigquery

from local import gcs, services
from local.processes import Process, ServiceFailed, free_port, start_time
from local.services import Endpoints, down, running, status, up
from tests.local.clients import PROJECT, bigquery_client, rows_of, storage_client
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
HOLD = """
# Inside `running`, with one child by fork and one by exec that live on when this process dies.
import os, subprocess, sys, time
from pathlib import Path
from local.services import running
with running(Path(sys.argv[1]), sys.argv[2:]) as endpoints:
    print(*(one.process.pid for one in endpoints.services.values()), flush=True)
    child = os.fork()
    if child:
        other = subprocess.Popen(["sleep", "60"], close_fds=False)
        print(child, other.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state folder of the test's own; what still runs there is stopped."""
    yield tmp_path / "state"
    down(tmp_path / "state")


def pids(endpoints: Endpoints) -> dict[str, int]:
    """The services' pids."""
    return {name: one.process.pid for name, one in endpoints.services.items()}


@dataclass(frozen=True)
class Holder:
    """Another process that is inside `running`: itself, the services that it has, its other children."""

    process: subprocess.Popen[str]
    services: list[int]
    children: list[int]


@pytest.fixture
def hold(state: Path) -> Iterator[Callable[..., Holder]]:
    """Starts Holders."""
    made: list[Holder] = []

    def start(*names: str, home: str | None = None) -> Holder:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)} | ({"HOME": home} if home else {})
        arguments = [sys.executable, "-c", HOLD, str(state), *names]
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        services, children = ([int(pid) for pid in process.stdout.readline().split()] for _ in range(2))
        made.append(Holder(process, services, children))
        return made[-1]

    yield start
    for holder in made:
        for pid in holder.children:
            os.kill(pid, signal.SIGKILL)
        holder.process.kill()
        holder.process.communicate()


def test_up_starts_once_and_down_stops(state: Path) -> None:
    with ThreadPoolExecutor(2) as pool:  # at the same time, as two commands would
        first, second = pool.map(lambda _: up(state, ["gcs", "bigquery"]), range(2))
    assert pids(first) == pids(second) == pids(up(state, ["gcs"])) == pids(status(state))
    shown = json.loads(json.dumps(status(state).status()))
    assert set(shown) == {"gcs", "bigquery"}
    assert set(shown["gcs"]) == {"address", "pid", "folder"}
    assert set(shown["bigquery"]) == {"rest", "grpc", "pid", "folder"}
    assert first.environment() == {
        "GOOGLE_CLOUD_PROJECT": PROJECT,
        "STORAGE_EMULATOR_HOST": shown["gcs"]["address"],
        "BIGQUERY_EMULATOR_HOST": shown["bigquery"]["rest"],
        "BIGQUERY_STORAGE_EMULATOR_HOST": shown["bigquery"]["grpc"],
    }
    assert sorted(down(state)) == ["bigquery", "gcs"]
    assert [start_time(pid) for pid in pids(first).values()] == [None, None]
    assert down(state) == []
    assert status(state).status() == {}


def test_data_and_ports_survive_a_kill_of_the_servers(state: Path) -> None:
    before = up(state, ["gcs", "bigquery"])
    storage_client(before).create_bucket("lake").blob("raw/a b.csv").upload_from_string(b"id\n1\n")
    client = bigquery_client(before)
    client.create_dataset("kept")
    client.create_table(bigquery.Table(f"{PROJECT}.kept.events", [bigquery.SchemaField("id", "INTEGER")]))
    client.query("INSERT INTO kept.events (id) VALUES (1), (2)", job_id="kept", job_retry=None).result()
    generation = storage_client(before).bucket("lake").get_blob("raw/a b.csv").generation
    for pid in pids(before).values():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: status(state).status() == {})
    after = up(state, ["gcs", "bigquery"])
    assert set(pids(after).values()).isdisjoint(pids(before).values())
    assert after.environment() == before.environment()
    assert rows_of(bigquery_client(after), "SELECT id FROM kept.events ORDER BY id") == [(1,), (2,)]
    job = bigquery_client(after).get_job("kept")
    assert isinstance(job, bigquery.QueryJob)
    assert job.num_dml_affected_rows == 2
    blob = storage_client(after).bucket("lake").get_blob("raw/a b.csv")
    assert (blob.generation, blob.download_as_bytes()) == (generation, b"id\n1\n")


def test_a_statement_that_a_kill_cuts_off_has_no_effect_and_no_record(state: Path) -> None:
    before = up(state, ["bigquery"])
    client = bigquery_client(before)
    client.create_dataset("cut")
    client.create_table(bigquery.Table(f"{PROJECT}.cut.numbers", [bigquery.SchemaField("id", "INTEGER")]))
    insert = (
        "INSERT INTO cut.numbers SELECT MAX(a * b) FROM UNNEST(GENERATE_ARRAY(1, 1000000)) AS a"
        " CROSS JOIN UNNEST(GENERATE_ARRAY(1, 100000)) AS b GROUP BY MOD(a, 7)"
    )
    config = {"query": {"query": insert, "useLegacySql": False}}
    job = {"jobReference": {"projectId": PROJECT, "jobId": "cut"}, "configuration": config}
    url = f"{before.environment()['BIGQUERY_EMULATOR_HOST']}/bigquery/v2/projects/{PROJECT}/jobs"
    with pytest.raises(requests.ReadTimeout):  # it is at it
        requests.post(url, json=job, timeout=1.5)
    os.kill(pids(before)["bigquery"], signal.SIGKILL)
    wait_until(lambda: status(state).status() == {})
    client = bigquery_client(up(state, ["bigquery"]))
    assert rows_of(client, "SELECT COUNT(*) FROM cut.numbers") == [(0,)]
    with pytest.raises(NotFound):
        client.get_job("cut")


def test_running_uses_what_is_up_and_stops_only_its_own(state: Path) -> None:
    kept = pids(up(state, ["gcs"]))
    with running(state, ["gcs", "bigquery"]) as endpoints:
        assert pids(endpoints)["gcs"] == kept["gcs"]
        started = pids(endpoints)["bigquery"]
        with running(state, ["bigquery"]) as inner:
            assert pids(inner)["bigquery"] == started
        assert set(status(state).services) == {"gcs", "bigquery"}  # the inner one started nothing
    assert start_time(started) is None
    assert pids(status(state)) == kept


def test_down_leaves_what_a_running_process_uses(state: Path) -> None:
    with running(state, ["gcs"]) as endpoints:
        assert down(state) == []
        assert pids(status(state)) == pids(endpoints)


def test_running_stops_its_own_when_the_block_is_interrupted(state: Path) -> None:
    with pytest.raises(KeyboardInterrupt), running(state, ["gcs"]) as endpoints:
        raise KeyboardInterrupt
    assert start_time(pids(endpoints)["gcs"]) is None
    assert not (state / "services.json").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_what_a_process_started_ends_with_it(state: Path, hold: Callable[..., Holder], number: signal.Signals) -> None:
    holder = hold("gcs")
    holder.process.send_signal(number)
    holder.process.wait(timeout=15)
    wait_until(lambda: start_time(holder.services[0]) is None)
    assert all(start_time(pid) for pid in holder.children)  # so they hold no end of the pipe
    assert status(state).status() == {}


def test_a_service_that_loses_its_starter_is_not_used_again(state: Path, hold: Callable[..., Holder]) -> None:
    holder = hold("gcs", "bigquery")
    before = holder.services
    holder.process.kill()
    holder.process.wait()
    with running(state, ["gcs", "bigquery"]) as endpoints:  # at once, while the old ones are being stopped
        assert set(pids(endpoints).values()).isdisjoint(before)
        assert [start_time(pid) for pid in before] == [None, None]
        assert rows_of(bigquery_client(endpoints), "SELECT 1") == [(1,)]


def test_bigquery_needs_no_home_folder(state: Path, hold: Callable[..., Holder]) -> None:
    hold("bigquery", home="/dev/null/none")
    assert rows_of(bigquery_client(status(state)), "SELECT 1") == [(1,)]


def test_a_service_that_cannot_start_is_named_with_its_log(state: Path) -> None:
    (state / "bigquery").mkdir(parents=True)
    (state / "bigquery" / "bqemulator.duckdb").write_text("not a database\n" * 1000)
    with pytest.raises(ServiceFailed) as failure:
        up(state, ["gcs", "bigquery"])
    message = str(failure.value)
    assert message.startswith(f"bigquery ended before it was ready; its log is {state / 'logs' / 'bigquery.log'}")
    assert "not a valid DuckDB database file" in message
    assert status(state).status() == {}  # what it had started goes too


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for folder, why in ((file, "File exists"), (file / "below", "Not a directory")):
        with pytest.raises(ServiceFailed, match=f"^no local cloud can be in .*/{folder.name}: {why}$"):
            up(folder, ["bigquery"])


def test_a_service_that_never_answers_is_stopped(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "READY_SECONDS", 0.0)
    with pytest.raises(ServiceFailed, match="bigquery was not ready after 0 s"):
        up(state, ["bigquery"])
    assert status(state).status() == {}


def test_a_pid_that_belongs_to_another_process_is_left_alone(state: Path) -> None:
    up(state, ["gcs"])
    file = state / "services.json"
    known = json.loads(file.read_text())
    os.kill(known["gcs"]["process"][0], signal.SIGKILL)
    known["gcs"]["process"][0] = os.getpid()
    file.write_text(json.dumps(known))
    assert status(state).status() == {}
    assert down(state) == []
    assert Process.current().alive


def test_a_machine_without_fake_gcs_server_is_told_where_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcs, "WHEEL", "no_such_wheel")
    with pytest.raises(ServiceFailed, match=r"^gcs: fake-gcs-server is neither on PATH nor in the wheel .* PATH$"):
        gcs.executable(path="")


def test_fake_gcs_server_on_the_path_comes_first(tmp_path: Path) -> None:
    program = tmp_path / "fake-gcs-server"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert gcs.executable(path=str(tmp_path)) == str(program)


def test_a_port_is_kept_only_while_it_is_free() -> None:
    port = free_port(0, [])
    assert port < 32_768  # or the system may give it away before its service listens
    assert free_port(port, []) == port
    assert free_port(port, [port]) != port


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_nobody_else_may_look_into_the_state(tmp_path: Path, umask: int) -> None:
    directory, wide = tmp_path / "new" / "state", tmp_path / "wide"
    (wide / "gcs").mkdir(parents=True)
    (wide / "logs").mkdir()
    (wide / "ports.json").write_text("{}")  # as an earlier version has left it
    for folder in (wide, wide / "gcs", wide / "logs"):
        folder.chmod(0o755)
    before = os.umask(umask)
    try:
        for state in (directory, wide):
            try:
                up(state, ["gcs"])
            finally:
                down(state)
    finally:
        os.umask(before)
    for folder in (directory, directory / "gcs", directory / "logs", wide, wide / "gcs", wide / "logs"):
        assert folder.stat().st_mode & 0o777 == 0o700, folder


def test_a_folder_of_everybodys_stays_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    try:
        up(tmp_path, ["gcs"])
    finally:
        down(tmp_path)
    assert tmp_path.stat().st_mode & 0o7777 == 0o1777
    assert (tmp_path / "gcs").stat().st_mode & 0o777 == 0o700
