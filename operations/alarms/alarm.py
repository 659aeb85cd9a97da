"""An alarm: something that a person must look at, as the warehouse shows it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from connectors.bookkeeping.notices import About

__all__ = ["Alarm", "Kind"]


class Kind(enum.Enum):
    """What is wrong. The names are stable; docs/how-to/operate.md has a section on each."""

    RUN_FAILED = "run_failed"
    """The newest run of a pipeline into some tables has failed."""
    RUN_WITHOUT_END = "run_without_end"
    """The newest run was killed: it has recorded no end, and is not alive."""
    LEDGER_UNBALANCED = "ledger_unbalanced"
    """A run has ended because its ledger does not balance, or a line of the ledger does not."""
    TOO_MANY_DEAD_LETTERS = "too_many_dead_letters"
    """Too large a share of a table's records was refused."""
    QUALITY_BROKEN = "quality_broken"
    """The newest run has loaded all, and a quality rule is broken or could not be checked."""
    SERVICE_LEVEL_BROKEN = "service_level_broken"
    """A table is older, or its rows come later, than its contract promises; or this cannot be measured."""


FIXES = {
    Kind.RUN_FAILED: "launcher.py runs {run} says why; the same --run_id continues it",
    Kind.RUN_WITHOUT_END: "start it again; a batch with --run_id {run} continues",
    Kind.LEDGER_UNBALANCED: "launcher.py reconcile finds what contradicts the ledger",
    Kind.TOO_MANY_DEAD_LETTERS: "launcher.py dead-letters list --table {table} shows them",
    Kind.QUALITY_BROKEN: "launcher.py report shows the rule, and what it measured",
    Kind.SERVICE_LEVEL_BROKEN: "launcher.py sla measures again; see whether the runs of the table have ended well",
}
"""What to type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One alarm. It holds no value of a record, for it leaves the house."""

    kind: Kind
    about: str
    """A pipeline and its tables, a table, or a table and a level: alarms of one kind about one thing are the same."""
    says: str
    """What was seen, in one sentence."""
    run: str = ""
    """The run that it is about, if it is about one."""
    table: str = ""

    @property
    def identity(self) -> About:
        """What `notices` knows it by."""
        return self.kind.value, self.about

    @property
    def fix(self) -> str:
        """What helps, in one line."""
        return FIXES[self.kind].format(run=self.run, table=self.table)

    def row(self) -> dict[str, str]:
        """What a program gets."""
        return {"alarm": self.kind.value, "about": self.about, "says": self.says, "fix": self.fix}
