"""The search for a planted word finds it in whatever form."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import tarfile
import urllib.parse
import zipfile
import zlib
from pathlib import Path

import pyarrow as pa
import pytest
from apache_beam.internal import pickler
from hypothesis import given
from hypothesis import strategies as st

from tests.planted import found_in, found_in_files

WORD = "pl4ntedW0rdOf24Characters"
PLAIN = f'{{"password": "ü {WORD}"}}'.encode()


def zipped(compression: int) -> bytes:
    """An archive that holds it."""
    with zipfile.ZipFile(out := io.BytesIO(), "w", compression) as archive:
        archive.writestr("a/b.json", PLAIN)
    return out.getvalue()


def tarred() -> bytes:
    """A source distribution that holds it."""
    with tarfile.open(fileobj=(out := io.BytesIO()), mode="w:gz") as archive:
        member = tarfile.TarInfo("a/b.json")
        member.size = len(PLAIN)
        archive.addfile(member, io.BytesIO(PLAIN))
    return out.getvalue()


def snappy() -> bytes:
    """As Beam serializes Java objects; the word is in two pieces, since its first half was there before."""
    chunk = pa.compress(f"{WORD[:12]} and then {WORD}".encode(), "snappy", asbytes=True)
    assert WORD.encode() not in chunk
    return b"\x82SNAPPY\0" + b"\0\0\0\1" * 2 + len(chunk).to_bytes(4, "big") + chunk


@pytest.mark.parametrize(
    ("data", "how"),
    [
        (PLAIN, "text"),
        (json.dumps({"text": PLAIN.decode()}).encode(), "text"),
        (WORD.encode("utf-16"), "UTF-16"),
        ("".join(f"%{byte:02X}" for byte in PLAIN).encode(), "percent"),
        (urllib.parse.quote(PLAIN).encode(), "text"),
        (PLAIN.hex().encode(), "text in hex"),
        (b"before " + bz2.compress(PLAIN) + b" behind", "text in bzip2"),
        (b"\0" + zlib.compress(PLAIN) + b"\0", "text in zlib"),
        (b"before" + gzip.compress(PLAIN, mtime=0), "text in zlib"),
        (b"before" + snappy() + b"behind", "text in snappy"),
        (zipped(zipfile.ZIP_DEFLATED), "text in zip, a/b.json"),
        (tarred(), "text in zlib"),
        (base64.b64encode(gzip.compress(PLAIN, mtime=0)), "text in zlib in base64"),
        (base64.b64encode(base64.b64encode(PLAIN)), "base64 in base64"),
        (b"A" + pickler.dumps({"password": WORD}), "text in bzip2 in base64"),
    ],
)
def test_a_form(data: bytes, how: str) -> None:
    assert found_in(data, WORD) == how
    assert found_in(data, WORD[::-1]) is None


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_base64_of_any_surroundings(before: bytes, behind: bytes) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert found_in(encode(before + WORD.encode() + behind), WORD) == "base64"


@given(st.binary())
def test_what_is_anything_else(data: bytes) -> None:
    assert found_in(data, WORD) is None


def test_files(tmp_path: Path) -> None:
    (tmp_path / "clean").write_text("nothing")
    (tmp_path / "log.txt").write_bytes(PLAIN)
    (tmp_path / f"about-{WORD}").touch()
    found = found_in_files(tmp_path, WORD)
    assert found == {str(tmp_path / "log.txt"): "text", str(tmp_path / f"about-{WORD}"): "text in its name"}
