"""Jars: locked, fetched whole or not at all, once for a machine, and one jar that stands for them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import tomllib
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.processes import ServiceFailed
from local.programs import jars, maven
from local.programs.jars import pathing_jar
from local.programs.loopback_class import CLASS, on_loopback

ROOT = Path(__file__).parents[2]
PROGRAMS = ("flink", "kafka", "kafka-io")
FETCH = "import sys; from local.programs.jars import *; print(pathing_jar(sys.argv[1]))"
JAR = "org.example:a-jar:1.0"
BYTES = b"PK" + bytes(range(256)) * 4096


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_lock_file_is_its_programs(name: str) -> None:
    program = (ROOT / "local" / "programs" / f"{name}.toml").read_bytes()
    lock = tomllib.loads((ROOT / "local" / "programs" / f"{name}.lock.toml").read_text())
    assert lock["toml"] == hashlib.sha256(program).hexdigest(), "make lock"
    assert set(tomllib.loads(program.decode())["dependencies"]["coordinates"]) <= lock["sha256"].keys()
    projects = [coordinate.rsplit(":", 1)[0] for coordinate in lock["sha256"] if coordinate.count(":") == 2]
    assert len(projects) == len(set(projects)), "two versions of one jar"
    assert any(project == "org.slf4j:slf4j-simple" for project in projects)


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_a_pathing_jar_says_what_it_stands_for(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    jar = tmp_path_factory.mktemp("jar") / "all.jar"
    parts = [Path("/maven", name.replace("/", "_")) for name in names if not name.endswith(".jar")]
    jars._write(jar, "org.example.Main", parts)
    assert jars.class_path(jar) == parts
    assert all(len(line) <= 72 for line in jars.manifest(jar).splitlines())


class Repository(BaseHTTPRequestHandler):
    """A Maven repository with one jar, whose first answers are cut off."""

    cut, asked = 0, 0

    def do_GET(self) -> None:
        """Send the jar, or the beginning of it."""
        kind = type(self)
        kind.asked += 1
        if self.path != "/org/example/a-jar/1.0/a-jar-1.0.jar":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(BYTES)))
        self.end_headers()
        self.wfile.write(BYTES[: len(BYTES) // 2] if kind.asked <= kind.cut else BYTES)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def repository() -> Iterator[tuple[type[Repository], str]]:
    """One that runs: its class, and its URL."""
    kind = type("OneRepository", (Repository,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield kind, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def fetch(url: str, folder: Path, sha256: str = hashlib.sha256(BYTES).hexdigest(), jar: str = JAR) -> list[Path]:
    """Fetch the one jar."""
    return maven.fetch("a program", {jar: sha256}, folder, lambda line: None, url)


def test_a_download_that_is_cut_off_leaves_nothing(repository: tuple[type[Repository], str], tmp_path: Path) -> None:
    kind, url = repository
    kind.cut = 1
    with pytest.raises(ServiceFailed, match=r"^a program: its jars cannot be fetched: "):
        fetch(url, tmp_path)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []
    (file,) = fetch(url, tmp_path)
    assert file.read_bytes() == BYTES
    asked = kind.asked
    assert fetch(url, tmp_path) == [file]
    assert kind.asked == asked


def test_a_file_that_is_not_the_locked_one_is_refused(repository: tuple[type[Repository], str], tmp_path: Path) -> None:
    with pytest.raises(
        ServiceFailed, match=r"^org\.example:a-jar:.* the file in the repository is not the one in .*lock\.toml: "
    ):
        fetch(repository[1], tmp_path, sha256="00" * 32)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


def test_what_the_repository_does_not_have_is_named(repository: tuple[type[Repository], str], tmp_path: Path) -> None:
    with pytest.raises(ServiceFailed, match=r"^a program: its jars cannot be fetched: 404 .*b-jar-1\.0\.jar$"):
        fetch(repository[1], tmp_path, jar="org.example:b-jar:1.0")


def process(cache: Path, *, network: bool) -> subprocess.Popen[str]:
    """Another process that wants Kafka's jar."""
    environment = os.environ | {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(ROOT)}
    if not network:
        environment |= {"HTTPS_PROXY": "http://127.0.0.1:1", "https_proxy": "http://127.0.0.1:1"}
    command = [sys.executable, "-c", FETCH, "kafka"]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.e2e
def test_an_empty_cache_is_filled_once_by_two_processes_and_then_needs_no_network(tmp_path: Path) -> None:
    both = [process(tmp_path, network=True) for _ in range(2)]
    (first, said), (second, also_said) = (one.communicate(timeout=250) for one in both)
    assert first == second != "", said + also_said
    assert (said + also_said).count("fetching its 46 jars") == 1  # the other one waited
    jar = Path(first.strip())
    assert all(file.is_relative_to(tmp_path) and file.stat().st_size for file in jars.class_path(jar))
    assert list(tmp_path.rglob("*.part")) == []
    again, nothing = process(tmp_path, network=False).communicate(timeout=60)
    assert (again, nothing) == (first, "")


@pytest.mark.e2e
def test_no_network_is_one_line(tmp_path: Path) -> None:
    failed = process(tmp_path, network=False)
    _, said = failed.communicate(timeout=100)
    assert failed.returncode == 1
    assert "local.processes.ServiceFailed: Kafka: its jars must be fetched once, and https://" in said


@given(st.binary(max_size=200))
def test_what_is_no_class_is_not_changed(content: bytes) -> None:
    with pytest.raises(ValueError, match="no Java class"):
        on_loopback(content)


@pytest.mark.e2e
@pytest.mark.parametrize("name", ["flink", "kafka-io"])
def test_a_class_that_is_changed_stands_before_its_own(name: str) -> None:
    jar = pathing_jar(name)
    with zipfile.ZipFile(jar) as archive:
        found = {one: archive.read(one) for one in archive.namelist() if one.endswith(CLASS)}
    assert any("org/apache/beam/vendor/grpc" in one for one in found)
    for content in found.values():
        with pytest.raises(ValueError, match="0 of its methods"):  # there is nothing left to change
            on_loopback(content)
