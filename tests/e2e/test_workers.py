"""`--workers`: the same with any number of processes, and nothing is left however one of them ends."""

from __future__ import annotations

import gzip
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks.events import write_events
from connectors.files.storage import Storage
from local.services import Endpoints
from sample_data.generate import generate
from tests.e2e.batch_site import Site
from tests.e2e.listening import watching
from tests.e2e.reconciled import reconciled
from tests.launching import Launched
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
EVENTS, COPIES = 2_000, 40
"""More than two workers process before this test stops them, and few rows to compare."""
INTERRUPTED = "interrupted; no table is half written, and the same --run_id continues the run\n"
KILLED = "a worker process has ended by SIGKILL; the same --run_id continues the run, with fewer --workers if"


@pytest.fixture(scope="module")
def site(local_cloud: tuple[Path, Endpoints], tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Files of four tables in several forms, with keys that come in several files."""
    raw = tmp_path_factory.mktemp("raw")
    sizes = {"customers": 200, "products": 100, "transactions": 1000}
    generate(write=lambda name, data: (raw / name).write_bytes(data) and None, events=1500, dirty=0.05, seed=7, **sizes)
    events = (raw / "user_events.json").read_bytes()
    for number in (2, 9, 10):
        (raw / f"user_events_{number}.ndjson").write_bytes(b"".join(events.splitlines(keepends=True)[number::2]))
    (raw / "user_events_11.ndjson.gz").write_bytes(gzip.compress(events))
    write_events(raw / "user_events_12.ndjson", EVENTS)
    (raw / "user_events_12.ndjson").write_bytes((raw / "user_events_12.ndjson").read_bytes() * COPIES)
    Storage("local-project").client.create_bucket("bucket")
    return Site(local_cloud[1], raw)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """The folder for what runs keep on this machine."""
    folder = tmp_path / "disk"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def alone(site: Site) -> str:
    """A run in one process."""
    site.finish("alone", "--workers=1")
    return "alone"


@pytest.mark.parametrize("workers", [2, 5])
def test_any_number_of_processes_leaves_the_same(site: Site, alone: str, workers: int, disk: Path) -> None:
    name = f"workers_{workers}"
    with watching() as listeners, site.start(name, f"--workers={workers}", TMPDIR=str(disk)) as process:
        _, errors = process.communicate(120)
    assert process.returncode == 0, errors
    assert f"DirectRunner: running in {workers} processes" in errors
    assert not [line for line in errors.splitlines() if "WARNING" in line or "warn" in line]
    assert all(one.loopback for one in listeners())
    assert site.contents(name) == site.contents(alone)
    assert scratch(disk) == []
    reconciled(site.directory, name)


@pytest.fixture
def stopped(site: Site, disk: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, Launched]]:
    """A run whose two workers are stopped in the middle of their work."""
    name = re.sub(r"\W", "_", request.node.name)
    process = site.start(name, "--workers=2", TMPDIR=str(disk))
    for worker in wait_until(lambda: workers_of(process), process=process, pause=0.01):
        worker.suspend()
    yield name, process
    process.kill_group()
    wait_until(lambda: not [one for one in psutil.process_iter() if of_session(one, process.pid)], 20)


def workers_of(process: Launched) -> list[psutil.Process]:
    """The workers of a launcher, [] until all are there."""
    servers = psutil.Process(process.pid).children()
    workers = [worker for server in servers for worker in server.children()]
    return workers if len(workers) == 2 else []


def scratch(disk: Path) -> list[Path]:
    """What runs keep on this machine; Beam has folders of its own."""
    return list(disk.glob("contract-pipeline-*"))


def assert_continues(site: Site, name: str, alone: str, disk: Path) -> None:
    """The same run ends as if it had not been killed, and removes what that has left."""
    site.finish(name, "--workers=2", TMPDIR=str(disk))
    assert site.contents(name) == site.contents(alone)
    assert scratch(disk) == []


def of_session(process: psutil.Process, session: int) -> bool:
    try:
        return os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


def test_a_worker_that_is_killed_ends_the_run(
    stopped: tuple[str, Launched], disk: Path, site: Site, alone: str
) -> None:
    name, process = stopped
    killed, other = workers_of(process)
    killed.kill()
    said, errors = process.communicate(60)
    assert process.returncode == 1, errors
    assert KILLED in said + errors
    assert "Traceback" not in said + errors
    assert scratch(disk) == []
    assert not other.is_running()
    assert_continues(site, name, alone, disk)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["sigint", "sigterm"])
def test_a_signal_to_all_processes_ends_the_run(
    stopped: tuple[str, Launched], disk: Path, number: signal.Signals
) -> None:
    _, process = stopped
    os.killpg(process.pid, number)  # as a terminal does, or a container
    _, errors = process.communicate(60)
    assert process.returncode == 1, errors
    assert errors.endswith(INTERRUPTED)
    assert scratch(disk) == []


@pytest.mark.parametrize("who", ["launcher", "server"])
def test_a_killed_process_leaves_none_behind(
    stopped: tuple[str, Launched], disk: Path, who: str, site: Site, alone: str
) -> None:
    name, process = stopped
    workers = workers_of(process)
    for worker in workers:
        worker.resume()
    if who == "launcher":
        process.kill()
    else:
        psutil.Process(process.pid).children()[0].kill()
    _, errors = process.communicate(60)
    assert process.returncode == (-signal.SIGKILL if who == "launcher" else 1), errors
    assert "Traceback" not in errors
    wait_until(lambda: not any(worker.is_running() for worker in workers), 20)
    assert len(scratch(disk)) == (1 if who == "launcher" else 0), "the next run removes it"
    if who == "launcher":
        assert_continues(site, name, alone, disk)


def test_an_error_of_a_step_is_one_line(stopped: tuple[str, Launched], site: Site) -> None:
    _, process = stopped
    file = site.raw / "user_events_12.ndjson"
    content, status = file.read_bytes(), file.stat()
    file.write_bytes(content + b"{}\n")
    for worker in workers_of(process):
        worker.resume()
    said, errors = process.communicate(60)
    file.write_bytes(content)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert process.returncode == 1, errors
    assert "was changed while the run was reading it" in said + errors
    assert "Traceback" not in said + errors
