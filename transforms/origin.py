"""Where the records of a topic come from and go to: what tells equal names apart."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Origin"]


class Origin(NamedTuple):
    """The table of a topic, and the ids by which Kafka tells clusters and topics of the same name apart."""

    table: str
    dataset: str
    cluster: str
    topic_id: str
