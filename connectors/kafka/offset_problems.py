"""What a committed offset says of a topic that has changed since."""

from __future__ import annotations

__all__ = ["recreated", "removed_unread"]


def recreated(source: str, committed: int, end: int, group: str) -> str | None:
    """Return the problem of a group that has committed an offset above the end of a source, else None."""
    if committed <= end:
        return None
    return (
        f"{source} ends at offset {end}, group {group} has committed {committed}: the topic was recreated; give another"
        " --group_id, or delete the group"
    )


def removed_unread(source: str, committed: int, beginning: int) -> str | None:
    """Return the problem of a group whose next offsets the broker has removed from a source, else None."""
    if committed >= beginning:
        return None
    return f"{source}: offsets {committed} to {beginning - 1} were removed by the broker before they were read"
