"""Java programs from Maven coordinates: fetched once a machine, then one jar that stands for all of a program's.

A program is a TOML file of this folder, `<name>.toml`, in jgo's form: coordinates, exclusions, main class. Its jars
are kept in the cache folder, which all checkouts and processes share: every file in it is whole or not there.

What comes of it is a pathing jar, which holds nothing but a manifest with the class path and the main class. Beam
takes one wherever it would otherwise download a shaded jar of its own.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from local.processes import ServiceFailed

__all__ = ["ADD_OPENS", "Say", "cache_folder", "class_path", "exclusive", "pathing_jar", "say_on_stderr"]

Say = Callable[[str], None]
"""Takes one line of progress."""
MANIFEST = "META-INF/MANIFEST.MF"
ADD_OPENS = (
    "java.io java.lang java.lang.invoke java.lang.reflect java.math java.net java.nio java.text java.time java.util"
    " java.util.concurrent sun.nio.ch"
)
"""Packages of java.base that Beam, Flink and jamm reach into by reflection."""
LINE_BYTES = 72
"""What a line of a manifest may have; what is longer goes on in the next one, after a space."""


def say_on_stderr(line: str) -> None:
    """Say it where progress goes."""
    print(line, file=sys.stderr, flush=True)


def cache_folder() -> Path:
    """The folder of what is fetched and built: `shop-pipeline` in the user's cache folder ($XDG_CACHE_HOME)."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "shop-pipeline"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def exclusive(name: str) -> Iterator[None]:
    """One process at a time does `name` in the cache folder; a lock that a killed one held is free again."""
    with open(cache_folder() / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def pathing_jar(name: str, say: Say = say_on_stderr) -> Path:
    """The jar of the program `<name>.toml`: the one of last time, else made now, with lines of progress to `say`.

    Raises ServiceFailed, in one line, if its parts cannot be fetched.
    """
    program = Path(__file__).with_name(f"{name}.toml").read_bytes()
    locked = Path(__file__).with_name(f"{name}.lock.toml").read_bytes()
    jar = cache_folder() / f"{name}-{hashlib.sha256(program + locked).hexdigest()[:12]}.jar"
    if _whole(jar):
        return jar
    what, lock = tomllib.loads(program.decode()), tomllib.loads(locked.decode())
    if lock["toml"] != hashlib.sha256(program).hexdigest():
        raise ServiceFailed(f"local/{name}.toml has changed since its lock file was made: make lock")
    try:
        from local.maven import fetch
    except ImportError as error:
        raise ServiceFailed(f"{error.name} is not installed: pip install 'shop-pipeline[local]'") from None
    with exclusive(name):
        if not _whole(jar):
            parts = fetch(what["environment"]["name"], lock["sha256"], jar.parent / "maven", say)
            _write(jar, what["entrypoints"]["main"], parts)
    return jar


def class_path(jar: Path) -> list[Path]:
    """The files that a pathing jar stands for."""
    lines = manifest(jar).replace("\n ", "").splitlines()
    uris = next(line for line in lines if line.startswith("Class-Path: ")).split()[1:]
    return [Path(unquote(urlsplit(uri).path)) for uri in uris]


def manifest(jar: Path) -> str:
    """The manifest as it stands, in lines of at most 72 bytes."""
    with zipfile.ZipFile(jar) as archive:
        return archive.read(MANIFEST).decode()


def _whole(jar: Path) -> bool:
    return jar.exists() and all(file.exists() for file in class_path(jar))


def _write(jar: Path, main_class: str, parts: Sequence[Path]) -> None:
    headers = {
        "Manifest-Version": "1.0",
        "Main-Class": main_class,
        "Add-Opens": " ".join(f"java.base/{package}" for package in ADD_OPENS.split()),
        "Class-Path": " ".join(part.as_uri() for part in parts),
    }
    new = jar.with_suffix(".new")
    with zipfile.ZipFile(new, "w") as archive:
        archive.writestr(MANIFEST, "".join(_folded(f"{name}: {value}") for name, value in headers.items()) + "\n")
    os.replace(new, jar)


def _folded(line: str) -> str:
    """The header over as many lines as it takes. ASCII, since file: URIs are."""
    room = LINE_BYTES - 2
    return line[:room] + "".join(f"\n {line[at : at + room - 1]}" for at in range(room, len(line), room - 1)) + "\n"
