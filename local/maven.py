"""What a TOML file of Maven coordinates stands for: resolved by jgo, fetched by several connections, checked.

jgo 3.2 by itself writes a download into its place as it comes, so a broken one would count as whole from then on,
only warns of a wrong checksum, and opens a connection for every file. Here a file takes its place when it is
whole and its SHA-1 is what the repository says.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import requests
from jgo.env import EnvironmentBuilder, EnvironmentSpec
from jgo.maven import MavenContext, PythonResolver
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from local.processes import ServiceFailed

if TYPE_CHECKING:
    from jgo.maven import Artifact

    from local.jars import Say

__all__ = ["fetch"]

CONNECTIONS = 8
RETRIES = Retry(total=5, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504))
TIMEOUT_SECONDS = 30.0
PIECE_BYTES = 1 << 18
SECONDS_BETWEEN_LINES = 5.0


def fetch(toml: Path, repository: Path, say: Say) -> list[Path]:
    """The jars of the file's coordinates and of all that they need, in the order of a class path.

    Those that `repository`, a folder laid out as Maven's, does not have are fetched into it. Lines of progress go to
    `say`. Raises ServiceFailed, in one line, if something cannot be had.
    """
    spec = EnvironmentSpec.load(toml)
    began, resolver = time.monotonic(), _Fetcher(f"{spec.name}", say)
    context = MavenContext(resolver=resolver, repo_cache=repository)
    try:
        wanted = EnvironmentBuilder(context=context, cache_dir=repository).spec_to_dependencies(spec)
        named, needed = resolver.resolve(wanted)
        artifacts = {one.artifact.key: one.artifact for one in [*named, *needed] if one.scope in ("compile", "runtime")}
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            found = list(pool.map(lambda artifact: artifact.resolve(), artifacts.values()))
    except requests.ConnectionError as error:
        url = str(error.request.url) if error.request is not None else "the Maven repository"
        raise ServiceFailed(f"{spec.name}: its jars are fetched once, and {url} cannot be reached") from None
    except (requests.RequestException, RuntimeError) as error:
        raise ServiceFailed(f"{spec.name}: its jars cannot be fetched: {error}") from None
    say(f"{spec.name}: {len(found)} jars after {time.monotonic() - began:.0f} s")
    return found


class _Fetcher(PythonResolver):
    """jgo's resolver in pure Python, with a download of our own."""

    def __init__(self, title: str, say: Say) -> None:
        super().__init__()
        self._title, self._say = title, say
        self._threads = threading.local()
        self._lock = threading.Lock()
        self._bytes, self._said = 0, 0.0

    def download(self, artifact: Artifact) -> Path:
        """Fetch one file into its place in the repository's folder. Another process may do so at the same time."""
        place = artifact.cached_path
        assert place is not None
        place.parent.mkdir(parents=True, exist_ok=True)
        missing = ""
        for root in artifact.context.remote_repos.values():
            url = f"{root}/{artifact.component.path_prefix.as_posix()}/{artifact.filename}"
            part = place.with_name(f"{place.name}.{os.getpid()}.{threading.get_ident()}.part")
            try:
                if self._save(url, part):
                    os.replace(part, place)
                    return place
            finally:
                part.unlink(missing_ok=True)
            missing = url
        raise RuntimeError(f"{artifact} is not there: {missing}")

    def _save(self, url: str, part: Path) -> bool:
        """Fetch a file and check it; False if the repository does not have it."""
        with self._session.get(url, stream=True, timeout=TIMEOUT_SECONDS) as answer:
            if answer.status_code == 404:
                return False
            answer.raise_for_status()
            digest = hashlib.sha1(usedforsecurity=False)
            with part.open("wb") as file:
                for piece in answer.iter_content(PIECE_BYTES):
                    digest.update(piece)
                    file.write(piece)
                    self._count(len(piece))
        answer = self._session.get(f"{url}.sha1", timeout=TIMEOUT_SECONDS)
        answer.raise_for_status()
        if answer.text.split()[:1] != [digest.hexdigest()]:
            raise RuntimeError(f"what came is not what {url}.sha1 says")
        return True

    @property
    def _session(self) -> requests.Session:
        """This thread's connections: requests says nothing of sharing them."""
        if not hasattr(self._threads, "session"):
            self._threads.session = requests.Session()
            self._threads.session.mount("https://", HTTPAdapter(max_retries=RETRIES))
        session: requests.Session = self._threads.session
        return session

    def _count(self, size: int) -> None:
        with self._lock:
            self._bytes += size
            now = time.monotonic()
            if now - self._said < SECONDS_BETWEEN_LINES:
                return
            self._said = now
        self._say(f"{self._title}: fetching its jars, {self._bytes / 1e6:.0f} MB so far")
