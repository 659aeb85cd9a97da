"""Maven artifacts by jgo: resolved into lock files once, fetched from there by several connections, checked.

jgo 3.2 takes half a minute of computing to resolve what Beam needs, since it reads every BOM again for every POM that
imports it. So that is done when the coordinates change: `make lock` runs this module, which writes
`<name>.lock.toml` beside each `<name>.toml`. jgo's own download writes a file into its place as it comes, where a
broken one would count as whole from then on; here a file takes its place when it is what the lock file says.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import requests
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.env import EnvironmentBuilder, EnvironmentSpec
from jgo.maven import MavenContext, PythonResolver
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from local.processes import ServiceFailed

if TYPE_CHECKING:
    from jgo.maven import Artifact

    from local.jars import Say

__all__ = ["fetch", "lock"]

CONNECTIONS = 8
RETRIES = Retry(total=5, connect=2, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504))
TIMEOUT_SECONDS = 30.0
PIECE_BYTES = 1 << 18
SECONDS_BETWEEN_LINES = 5.0


def fetch(
    title: str, locked: Mapping[str, str], repository: Path, say: Say, remote: str = MAVEN_CENTRAL_URL
) -> list[Path]:
    """The jars of `locked`, a SHA-256 by coordinate (`group:artifact:version[:classifier]`), in its order.

    Those that `repository`, a folder laid out as Maven's, does not have are fetched into it, with lines of progress
    to `say`. Another process may do so at the same time. Raises ServiceFailed, in one line, if one cannot be had.
    """
    context = MavenContext(repo_cache=repository, remote_repos={"central": remote})
    progress = _Progress(title, len(locked), say)
    try:
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            return list(pool.map(lambda one: _fetched(_artifact(context, one[0]), one[1], progress), locked.items()))
    except requests.ConnectionError as error:
        url = error.request.url if error.request is not None else "the repository"
        raise ServiceFailed(f"{title}: its jars are fetched once, and {url!s} cannot be reached") from None
    except requests.RequestException as error:
        raise ServiceFailed(f"{title}: its jars cannot be fetched: {error}") from None


def lock(toml: Path) -> str:
    """The lock file of the coordinates in `toml`: every jar that they need, with its SHA-256, as TOML."""
    with TemporaryDirectory() as folder:
        context = MavenContext(repo_cache=Path(folder))
        builder = EnvironmentBuilder(context=context, cache_dir=Path(folder))
        named, needed = PythonResolver().resolve(builder.spec_to_dependencies(EnvironmentSpec.load(toml)))
        artifacts = {one.artifact.key: one.artifact for one in [*named, *needed] if one.scope in ("compile", "runtime")}
        lines = [
            f"# Made by `make lock` from {toml.name}: every jar of the class path, with its SHA-256.",
            f'toml = "{hashlib.sha256(toml.read_bytes()).hexdigest()}"',
            "",
            "[sha256]",
        ]
        for group, name, version, classifier, _ in artifacts:
            coordinate = ":".join(filter(None, (group, name, version, classifier)))
            file = _artifact(context, coordinate).resolve()
            lines.append(f'"{coordinate}" = "{hashlib.sha256(file.read_bytes()).hexdigest()}"')
    return "\n".join(lines) + "\n"


def _artifact(context: MavenContext, coordinate: str) -> Artifact:
    group, name, version, *classifier = coordinate.split(":")
    return context.project(group, name).at_version(version).artifact(*classifier)


def _fetched(artifact: Artifact, sha256: str, progress: _Progress) -> Path:
    """The artifact's file, whole, in its place in the repository's folder."""
    place = artifact.cached_path
    assert place is not None
    if place.exists():
        progress.have(0)
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f"{place.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        digest = _save(artifact, part)
        if digest != sha256:
            raise ServiceFailed(f"{artifact}: the repository has another file than local/*.lock.toml says: {digest}")
        progress.have(part.stat().st_size)
        os.replace(part, place)
    finally:
        part.unlink(missing_ok=True)
    return place


def _save(artifact: Artifact, part: Path) -> str:
    """Fetch a file; its SHA-256."""
    (root,) = artifact.context.remote_repos.values()
    url = f"{root}/{artifact.component.path_prefix.as_posix()}/{artifact.filename}"
    digest = hashlib.sha256()
    with _session().get(url, stream=True, timeout=TIMEOUT_SECONDS) as answer, part.open("wb") as file:
        answer.raise_for_status()
        for piece in answer.iter_content(PIECE_BYTES):
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


_of_thread = threading.local()


def _session() -> requests.Session:
    """This thread's connections, kept open from file to file. (requests says nothing of sharing them.)"""
    if not hasattr(_of_thread, "session"):
        _of_thread.session = requests.Session()
        for scheme in ("https://", "http://"):
            _of_thread.session.mount(scheme, HTTPAdapter(max_retries=RETRIES))
    session: requests.Session = _of_thread.session
    return session


class _Progress:
    """Says now and then how much there is."""

    def __init__(self, title: str, files: int, say: Say) -> None:
        self._title, self._of, self._say = title, files, say
        self._lock, self._said = threading.Lock(), time.monotonic()
        self._files = self._bytes = 0
        say(f"{title}: fetching its {files} jars, once for this machine")

    def have(self, size: int) -> None:
        """One file more is there; `size` bytes of it were fetched."""
        with self._lock:
            self._files += 1
            self._bytes += size
            if self._files == self._of or time.monotonic() - self._said > SECONDS_BETWEEN_LINES:
                self._said = time.monotonic()
                self._say(f"{self._title}: {self._files} of {self._of} jars, {self._bytes / 1e6:.0f} MB")


def main() -> None:
    """Make the lock files of those programs whose coordinates have changed."""
    for toml in sorted(Path(__file__).parent.glob("*.toml")):
        made = toml.with_suffix(".lock.toml")
        if toml.name.endswith(".lock.toml"):
            continue
        if made.exists() and hashlib.sha256(toml.read_bytes()).hexdigest() in made.read_text():
            continue
        made.write_text(lock(toml))
        print(f"{made.name} made")


if __name__ == "__main__":
    main()
