"""The problems of a value, with the messages that all readers of values share."""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal

from contracts.decoding.json_text import Number
from contracts.refusal import ErrorCode, NotClean

__all__ = ["invalid", "quoted", "wrong_type"]


def wrong_type(path: str, value: object, wanted: str) -> NotClean:
    """Return the problem that a value cannot be read as what its column holds."""
    return NotClean(ErrorCode.WRONG_TYPE, f"{path}: {quoted(value)} is not {wanted}", path)


def invalid(path: str, value: object, rule: str) -> NotClean:
    """Return the problem that a value can be read, and breaks a rule: `rule` continues the sentence."""
    return NotClean(ErrorCode.INVALID_VALUE, f"{path}: {quoted(value)} {rule}", path)


def quoted(value: object) -> str:
    """Return the value for a message: on one line, at most 60 characters."""
    text = str(value) if isinstance(value, (Number, datetime, date, Decimal)) else json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
