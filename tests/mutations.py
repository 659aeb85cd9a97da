"""Break each step of a protocol, and show that a test fails: `make mutations`. CONTRIBUTING.md has the table."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Mutation", "mutations"]

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"^\| (.+?) \| `(.+?)` \| `(.+?)` \| `(.+?)` \| `(tests/.+?)` \|$", re.MULTILINE)


@dataclass(frozen=True)
class Mutation:
    """A row of the table."""

    step: str
    path: str
    line: str
    changed: str
    test: str

    @property
    def file(self) -> Path:
        """The file that is changed."""
        return ROOT / self.path

    def apply(self, text: str) -> str:
        """Return the text of the file with the line changed; AssertionError unless the file has it exactly once."""
        lines = text.split("\n")
        (at,) = (number for number, line in enumerate(lines) if line.strip() == self.line)
        lines[at] = lines[at].replace(self.line, self.changed)
        return "\n".join(lines)

    def is_detected(self) -> bool:
        """Apply the change, run the test, restore the file; return whether the test failed."""
        text = self.file.read_text()
        try:
            self.file.write_text(self.apply(text))
            command = [sys.executable, "-m", "pytest", "-q", "--exitfirst", "--tb=no", self.test]
            ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
        finally:
            self.file.write_text(text)
        return ended.returncode == 1


def mutations() -> list[Mutation]:
    """The rows of the table in CONTRIBUTING.md."""
    return [Mutation(*row) for row in ROW.findall((ROOT / "CONTRIBUTING.md").read_text())]


def main() -> int:
    """Try all of them; return 1 if a test passes that should fail."""
    passed = 0
    for mutation in mutations():
        detected = mutation.is_detected()
        passed += not detected
        print(f"{'detected' if detected else 'NOT DETECTED'}: {mutation.step}: {mutation.test}", flush=True)
    return 1 if passed else 0


if __name__ == "__main__":
    sys.exit(main())
