"""Options that a command cannot do without."""

from __future__ import annotations

from collections.abc import Mapping

from contracts.errors import UsageError

__all__ = ["check_required"]


def check_required(values: Mapping[str, object], hint: str) -> None:
    """Raise UsageError if an option of `values` has no value: it names them all, and ends with `hint`."""
    missing = [option for option, value in values.items() if not value]
    if missing:
        raise UsageError(f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing{hint}")
