"""Names of partitions as sources: kafka://topic/partition."""

from __future__ import annotations

__all__ = ["topic_partition", "uri"]


def uri(topic: str, partition: int) -> str:
    """Return the source that names a partition."""
    return f"kafka://{topic}/{partition}"


def topic_partition(source: str) -> tuple[str, int]:
    """Return the topic and the partition of a source."""
    topic, _, partition = source.removeprefix("kafka://").rpartition("/")
    return topic, int(partition)
