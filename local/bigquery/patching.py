"""Replace functions of another package. Only the process of the local BigQuery does so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["patch"]


def patch(owner: object, name: str, make: Callable[[Any], Any]) -> None:
    """Replace `owner.name` by `make(original)`."""
    setattr(owner, name, make(getattr(owner, name)))
