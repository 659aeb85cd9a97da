"""Maven artifacts: resolved into lock files by jgo, and fetched and checked from there.

jgo 3.2 needs half a minute to resolve what Beam needs, since it reads every BOM again for every POM that imports it.
So `make lock` runs this module only when coordinates change, and it writes `<name>.lock.toml` next to each
`<name>.toml`. jgo's own download writes directly to the final path, where a broken file counts as complete. Here a
file gets its final path only after its hash agrees with the lock file.
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

    from local.programs.cache import Say

__all__ = ["fetch", "lock"]

CONNECTIONS = 8
RETRIES = Retry(total=5, connect=2, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504))
TIMEOUT_SECONDS = 30.0
PIECE_BYTES = 1 << 18
SECONDS_BETWEEN_LINES = 5.0


def fetch(
    title: str, locked: Mapping[str, str], repository: Path, say: Say, remote: str = MAVEN_CENTRAL_URL
) -> list[Path]:
    """Return the jars of `locked` (SHA-256 by coordinate `group:artifact:version[:classifier]`), in its order.

    Fetch those that `repository`, a folder in Maven's layout, does not have, with lines of progress to `say`. Other
    processes may do the same at the same time. Raises ServiceFailed, in one line, if a jar cannot be fetched.
    """
    context = MavenContext(repo_cache=repository, remote_repos={"central": remote})
    progress = _Progress(title, len(locked), say)
    try:
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            return list(
                pool.map(lambda entry: _fetch(_artifact(context, entry[0]), entry[1], progress), locked.items())
            )
    except requests.ConnectionError as error:
        url = error.request.url if error.request is not None else "the repository"
        raise ServiceFailed(f"{title}: its jars must be fetched once, and {url!s} cannot be reached") from None
    except requests.RequestException as error:
        raise ServiceFailed(f"{title}: its jars cannot be fetched: {error}") from None


def lock(toml: Path) -> str:
    """Return the lock file of the coordinates in `toml`, as TOML: every jar that they need, with its SHA-256."""
    with TemporaryDirectory() as folder:
        context = MavenContext(repo_cache=Path(folder))
        builder = EnvironmentBuilder(context=context, cache_dir=Path(folder))
        named, needed = PythonResolver().resolve(builder.spec_to_dependencies(EnvironmentSpec.load(toml)))
        artifacts = {
            dependency.artifact.key: dependency.artifact
            for dependency in [*named, *needed]
            if dependency.scope in ("compile", "runtime")
        }
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


def _fetch(artifact: Artifact, sha256: str, progress: _Progress) -> Path:
    """Return the artifact's complete file in the repository's folder; fetch it if it does not exist."""
    place = artifact.cached_path
    assert place is not None
    if place.exists():
        progress.add_file(0)
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f"{place.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        digest = _save(artifact, part)
        if digest != sha256:
            raise ServiceFailed(
                f"{artifact}: the file in the repository is not the one in local/programs/*.lock.toml: {digest}"
            )
        progress.add_file(part.stat().st_size)
        os.replace(part, place)
    finally:
        part.unlink(missing_ok=True)
    return place


def _save(artifact: Artifact, part: Path) -> str:
    """Fetch a file; return its SHA-256."""
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
    """Return the session of this thread, whose connections stay open. (requests does not promise thread safety.)"""
    if not hasattr(_of_thread, "session"):
        _of_thread.session = requests.Session()
        for scheme in ("https://", "http://"):
            _of_thread.session.mount(scheme, HTTPAdapter(max_retries=RETRIES))
    session: requests.Session = _of_thread.session
    return session


class _Progress:
    """Prints from time to time how much is fetched."""

    def __init__(self, title: str, files: int, say: Say) -> None:
        self._title, self._of, self._say = title, files, say
        self._lock, self._last_line = threading.Lock(), time.monotonic()
        self._files = self._bytes = 0
        say(f"{title}: fetching its {files} jars, once for this machine")

    def add_file(self, size: int) -> None:
        """Count one more file, of which `size` bytes were fetched."""
        with self._lock:
            self._files += 1
            self._bytes += size
            if self._files == self._of or time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
                self._last_line = time.monotonic()
                self._say(f"{self._title}: {self._files} of {self._of} jars, {self._bytes / 1e6:.0f} MB")


def main() -> None:
    """Write the lock files of the programs whose coordinates have changed."""
    for toml in sorted(Path(__file__).parent.glob("*.toml")):
        lock_file = toml.with_suffix(".lock.toml")
        if toml.name.endswith(".lock.toml"):
            continue
        if lock_file.exists() and hashlib.sha256(toml.read_bytes()).hexdigest() in lock_file.read_text():
            continue
        lock_file.write_text(lock(toml))
        print(f"{lock_file.name} written")


if __name__ == "__main__":
    main()
