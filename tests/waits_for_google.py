"""What this process waits for, without Kafka: a client that another test has left keeps its broker's address."""

from __future__ import annotations

from transforms import waits

__all__ = ["waits_for_google"]


def waits_for_google() -> list[str]:
    """The lines of all waits but those for Kafka."""
    return [line for line in waits.lines() if not line.startswith("Kafka ")]
