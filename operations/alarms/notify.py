"""Send each alarm once when it is there, and once when it is over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from connectors.bookkeeping.notices import About, Notices, NoticeState
from connectors.notifier import Notifier
from operations.alarms.alarm import Alarm

__all__ = ["Sent", "notify"]


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent by one check."""

    new: Sequence[Alarm]
    over: Sequence[About]


def notify(
    alarms: Sequence[Alarm], sees: Callable[[About], bool], notices: Notices, notifier: Notifier, place: str
) -> Sent:
    """Send the alarms that are new, and those that are over, in one notice; nothing if there is neither.

    An alarm is over if it is not among them and `sees` says that it would be. `place` says where, in the title.
    Raises Unavailable if the notice is not taken: then the next check sends it.
    """
    known = notices.open()
    identities = {alarm.identity for alarm in alarms}
    new = [alarm for alarm in alarms if alarm.identity not in known and notices.claim(alarm.identity, NoticeState.OPEN)]
    over = [alarm for alarm in sorted(filter(sees, known - identities)) if notices.claim(alarm, NoticeState.OVER)]
    if new or over:
        try:
            notifier.send(_title(place, len(new), len(over)), _text(new, over))
        except BaseException:
            for alarm in new:
                notices.give_back(alarm.identity, NoticeState.OPEN)
            for about in over:
                notices.give_back(about, NoticeState.OVER)
            raise
    return Sent(new, over)


def _title(place: str, new: int, over: int) -> str:
    parts = [f"{new} new alarm{'s' if new > 1 else ''}"] if new else []
    parts += [f"{over} over"] if over else []
    return f"{place}: {', '.join(parts)}"


def _text(new: Sequence[Alarm], over: Sequence[About]) -> str:
    lines = [f"{alarm.kind.value}: {alarm.says}\n  {alarm.fix}" for alarm in new]
    return "\n".join([*lines, *(f"over: {kind}, {about}" for kind, about in over)])
