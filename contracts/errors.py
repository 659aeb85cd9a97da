"""What a user can mend: a misuse or a configuration that is refused before anything starts."""

from __future__ import annotations

__all__ = ["Misuse"]


class Misuse(Exception):
    """A user's mistake, said in one line; the launcher prints it and exits with 2."""
