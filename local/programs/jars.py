"""Java programs from Maven coordinates: fetched once for this machine, then run by one small jar.

A program is a TOML file of this folder, `<name>.toml`, in jgo's format: coordinates, exclusions, main class. Its jars
are in the cache folder, which all checkouts and processes share. Every file there is complete or does not exist.

The small jar is a pathing jar. It has a manifest with class path and main class, and the gRPC class that
loopback_class.py changes, which hides the original on the class path. Beam accepts a pathing jar instead of the
shaded jar that it would download.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from local.processes import ServiceFailed
from local.programs.cache import Say, cache_folder, exclusive, say_on_stderr
from local.programs.loopback_class import CLASS, on_loopback

__all__ = ["ADD_OPENS", "class_path", "pathing_jar"]

MANIFEST = "META-INF/MANIFEST.MF"
ADD_OPENS = (
    "java.io java.lang java.lang.invoke java.lang.reflect java.math java.net java.nio java.text java.time java.util"
    " java.util.concurrent sun.nio.ch"
)
"""Packages of java.base that Beam, Flink and jamm reach into by reflection."""
FORM = b"2"
"""The version of the content of a pathing jar, apart from its program's files: a new version makes a new jar."""
LINE_BYTES = 72
"""The longest line of a manifest. A longer header continues on the next line, after a space."""


def pathing_jar(name: str, say: Say = say_on_stderr) -> Path:
    """Return the jar of the program `<name>.toml`; create it if it does not exist, with lines of progress to `say`.

    Raises ServiceFailed, in one line, if its parts cannot be fetched.
    """
    program = Path(__file__).with_name(f"{name}.toml").read_bytes()
    locked = Path(__file__).with_name(f"{name}.lock.toml").read_bytes()
    jar = cache_folder() / f"{name}-{hashlib.sha256(FORM + program + locked).hexdigest()[:12]}.jar"
    if _whole(jar):
        return jar
    description, lock = tomllib.loads(program.decode()), tomllib.loads(locked.decode())
    if lock["toml"] != hashlib.sha256(program).hexdigest():
        raise ServiceFailed(f"local/programs/{name}.toml has changed since its lock file was written: make lock")
    try:
        from local.programs.maven import fetch
    except ImportError as error:
        raise ServiceFailed(f"{error.name} is not installed: pip install 'contract-pipeline[local]'") from None
    with exclusive(name):
        if not _whole(jar):
            parts = fetch(description["environment"]["name"], lock["sha256"], jar.parent / "maven", say)
            _write(jar, description["entrypoints"]["main"], parts)
    return jar


def class_path(jar: Path) -> list[Path]:
    """Return the files of the class path of a pathing jar."""
    lines = manifest(jar).replace("\n ", "").splitlines()
    uris = next(line for line in lines if line.startswith("Class-Path: ")).split()[1:]
    return [Path(unquote(urlsplit(uri).path)) for uri in uris]


def manifest(jar: Path) -> str:
    """Return the text of the manifest, in lines of at most 72 bytes."""
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
        for name, content in _changed_classes(parts):
            archive.writestr(name, content)
    os.replace(new, jar)


def _changed_classes(parts: Sequence[Path]) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each class that hides one of the parts."""
    for part in parts:
        if "grpc" in part.name and part.suffix == ".jar":
            with zipfile.ZipFile(part) as archive:
                for name in archive.namelist():
                    if name.endswith(CLASS):
                        try:
                            yield name, on_loopback(archive.read(name))
                        except ValueError as error:
                            raise ServiceFailed(f"{part.name}: {name} cannot be kept to 127.0.0.1: {error}") from None


def _folded(line: str) -> str:
    """Return the header, folded into lines. It is ASCII, as file: URIs are."""
    room = LINE_BYTES - 2
    return line[:room] + "".join(f"\n {line[at : at + room - 1]}" for at in range(room, len(line), room - 1)) + "\n"
